"""Hypothesis profiles: `dev` while working, `ci` in `make test` (HYPOTHESIS_PROFILE chooses); ``--accept-goldens``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

# Both are random from run to run, so that CI sees more over time; a failure prints what reproduces it.
settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None, max_examples=50)
settings.register_profile("dev", derandomize=False, print_blob=True, deadline=None, max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--accept-goldens``: what test_language.py compares with is written anew."""
    parser.addoption("--accept-goldens", action="store_true", help="write down what is printed and lowered as right")
