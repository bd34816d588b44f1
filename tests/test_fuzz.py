"""`make fuzz` itself, and a short run of it: whatever the loader is given, only a SpecError comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import run_fuzz
from run_fuzz import run_share, samples, text_of

if TYPE_CHECKING:
    import pytest


def test_only_a_spec_error_comes_out() -> None:
    share = run_share(12345, range(600))
    assert share.findings == ()
    assert share.refused > 500
    assert share.read > 2


def test_a_text_is_the_same_every_time() -> None:
    texts = samples()
    assert [text_of(1, n, texts) for n in range(50)] == [text_of(1, n, texts) for n in range(50)]
    assert len({text_of(1, n, texts) for n in range(50)}) > 45


def test_what_else_comes_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: bytes) -> None:
        raise RecursionError(text[:3])

    monkeypatch.setattr(run_fuzz, "spec_from_text", broken)
    share = run_share(0, range(4))
    assert [finding.number for finding in share.findings] == [0, 1, 2, 3]
    assert share.findings[0].what.startswith("RecursionError")
