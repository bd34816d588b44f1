"""Hypothesis profiles: `dev` while working, `ci` in `make test` (HYPOTHESIS_PROFILE chooses)."""

from __future__ import annotations

import os

from hypothesis import settings

# Both are random from run to run, so that CI sees more over time; a failure prints what reproduces it.
settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None, max_examples=50)
settings.register_profile("dev", derandomize=False, print_blob=True, deadline=None, max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
