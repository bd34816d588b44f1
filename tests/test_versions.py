"""Versions of the language: later words are found wherever they stand, and what is not said costs nothing."""

from __future__ import annotations

from typing import ClassVar

import attrs

from autosched.spec.versions import later_words, version_needed


@attrs.frozen(kw_only=True)
class Late:
    """A record that came with version 3."""

    SINCE: ClassVar[int] = 3
    name: str = "a"


@attrs.frozen(kw_only=True)
class Loop:
    """A record of version 1 with a field of version 2, and words that came one after another."""

    to: str = attrs.field(default="serial", metadata={"since_of": {"serial": 1, "thread": 2, "cluster": 4}})
    scope: str | None = attrs.field(default=None, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Loops:
    """A list of records, and one that may be there."""

    loops: tuple[Loop, ...] = ()
    late_: Late | None = None


def test_what_is_as_old_as_the_language_needs_version_1() -> None:
    assert version_needed(Loops(loops=(Loop(), Loop(to="serial")))) == 1
    assert list(later_words(Loops())) == []


def test_a_later_field_counts_where_it_is_said() -> None:
    assert list(later_words(Loops(loops=(Loop(), Loop(scope="shared"))))) == [(2, "loops[1].scope")]


def test_a_later_value_of_an_old_field_counts() -> None:
    record = Loops(loops=(Loop(to="thread"), Loop(to="cluster", scope="shared")))
    assert list(later_words(record)) == [(2, "loops[0].to"), (4, "loops[1].to"), (2, "loops[1].scope")]
    assert version_needed(record) == 4


def test_a_later_record_counts_and_its_key_has_no_underscore() -> None:
    assert list(later_words(Loops(late_=Late()))) == [(3, "late")]
