"""The contenders: a module each with `open_contender`, imported in a process of its own and nowhere else."""
