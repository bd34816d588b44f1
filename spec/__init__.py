"""The schedule-spec compiler: records, checks, text form, rewriting and lowering."""
