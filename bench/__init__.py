"""The benchmarks: suites of figures against peers, each contender in a process of its own."""
