"""The suites: a module each with `run`, named in `autosched.bench.suite`."""
