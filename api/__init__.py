"""The public names of autosched: look up, tune, check, share and lower schedules."""
