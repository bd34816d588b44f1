"""Specs that broke a promise once: tests/data/counterexamples/ holds each, and beside it what was wrong.

The first line of the .txt is the reason; where the fix was a check, the second is its message. A spec without a second
line must lower, build and compute its workload.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from autosched.spec.errors import SpecError
from autosched.spec.spec_file import load_spec
from autosched.spec.testing import assert_lowers_correctly, assert_rewrites_correctly

FOLDER = Path(__file__).parent / "data" / "counterexamples"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_was_broken_holds_now(path: Path) -> None:
    reason, *refused = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    assert len(reason) > 20
    if refused:
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert [f"refused: {caught.value}"] == refused
        return
    spec = load_spec(path)
    assert_rewrites_correctly(spec.schedule, spec.task)
    assert_lowers_correctly(spec.schedule, spec.task)


def test_each_says_why() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {path.stem for path in FILES}
    assert len(FILES) >= 20
