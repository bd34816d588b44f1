"""Spec files that must not load: tests/rejected/ holds each, and beside it the one message that it must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from autosched.spec.errors import SpecError
from autosched.spec.spec_file import load_spec

FOLDER = Path(__file__).parent / "rejected"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_rejected_with_its_message(path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == path.with_suffix(".txt").read_text(encoding="utf-8").rstrip("\n")


def test_every_message_has_its_file() -> None:
    assert len(FILES) >= 100
    assert {path.stem for path in FOLDER.iterdir()} == {path.stem for path in FILES}


def test_every_message_is_one_line_for_people() -> None:
    for path in FILES:
        message = path.with_suffix(".txt").read_text(encoding="utf-8")
        assert message.count("\n") == 1, path.stem
        assert not any(word in message for word in ("Traceback", "attrs", "cattrs", "NoneType", "dict")), path.stem
