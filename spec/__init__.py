"""The compiler: records, checks, text form and lowering of schedules."""
