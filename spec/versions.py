"""Versions of the language: which one is the least that can say a record, so that old readers keep reading.

A word that came later says so where it is defined: a record by the class attribute ``SINCE``, a field by its
metadata ``{"since": 2}``, the values of a field by ``{"since_of": {"value": 2}}``. All else is as old as the language.

A check that gives way brings no word and raises no version: what was valid means what it meant, and an older reader
refuses what it could not check, by its place. (``accumulate`` once took stages of one output only.)
"""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from .errors import SpecError
from .strict_cattrs import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .json_text import Json

VERSION: Final = 2
"""The latest version of the language: the highest that this autosched reads and writes."""


def same_words(content: dict[str, Json]) -> dict[str, Json]:
    """The upgrade to a version that only adds words: what was said before is said the same way."""
    return content


UPGRADES: Final[dict[int, Callable[[dict[str, Json]], dict[str, Json]]]] = {1: same_words}
"""Version → what turns a file of that version into one of the next; each comes with an old file in tests/data/specs.

What a file holds is under ``task``, ``schedule`` and ``claims``; in bundles the parts come one by one.
"""


def upgraded(content: dict[str, Json], version: Json) -> tuple[int, dict[str, Json]]:
    """`version`, and what was written in it in the form of the latest version; SpecError for one that is not known."""
    if type(version) is not int or version < 1:
        raise SpecError(f"found {described(version)}; allowed: a whole number from 1 to {VERSION}", "version")
    if version > VERSION:
        reads = f"file is version {version}, this autosched reads up to {VERSION}"
        raise SpecError(f"{reads}; upgrade autosched or ask for a version {VERSION} file", "version")
    for older in range(version, VERSION):
        content = UPGRADES[older](content)
    return version, content


def check_words(record: object, version: int) -> None:
    """Raises SpecError where a file has words of a later version than it says: an older reader could not read it."""
    if version_needed(record) <= version:
        return
    for since, place in later_words(record):
        if since > version:
            raise SpecError(f'found {version}, but {place} is of version {since}; write "version": {since}', "version")


def version_needed(record: object) -> int:
    """The lowest version of the language that can say `record`: every file that is read or written comes by here."""
    if type(record) is tuple:
        return max(map(version_needed, record), default=1)
    if not attrs.has(cls := type(record)):
        return 1
    needed = getattr(cls, "SINCE", 1)
    for field in _fields(cls):
        if (value := getattr(record, field.name)) != field.default:
            since = max(field.since, field.since_of.get(value, 1) if field.since_of else 1)
            needed = max(needed, since, version_needed(value))
    return needed


def later_words(record: object, path: str = "") -> Iterator[tuple[int, str]]:
    """What in a record is not of version 1: the version that brought it, and its place (``nests[0].bind[1].to``)."""
    if isinstance(record, tuple):
        for position, item in enumerate(record):
            yield from later_words(item, f"{path}[{position}]")
    elif attrs.has(cls := type(record)):
        since = getattr(cls, "SINCE", 1)
        if since > 1:
            yield since, path
        for field in _fields(cls):
            yield from _later_in_field(field, getattr(record, field.name), path)


def _later_in_field(field: _Field, value: object, path: str) -> Iterator[tuple[int, str]]:
    if value == field.default:
        return
    place = f"{path}.{field.name}".removeprefix(".").removesuffix("_")
    if field.since > 1:
        yield field.since, place
    if field.since_of and field.since_of.get(value, 1) > 1:
        yield field.since_of[value], place
    yield from later_words(value, place)


class _Field(NamedTuple):
    """A field that may hold a word that came later: the version of the field itself, and of some of its values."""

    name: str
    default: object
    since: int
    since_of: Mapping[object, int]


@functools.cache
def _fields(cls: type[attrs.AttrsInstance]) -> tuple[_Field, ...]:
    """Only those that may hold a later word: a file's workload, which is most of it, is passed over as one."""
    found = (f for f in _resolved(cls) if f.metadata or any(_may_be_later(inner) for inner in _records_in(f.type)))
    return tuple(_Field(f.name, f.default, f.metadata.get("since", 1), f.metadata.get("since_of", {})) for f in found)


@functools.cache
def _may_be_later(cls: type[attrs.AttrsInstance]) -> bool:
    """True where a record, or one that it may hold, however deep, has a word that came later."""
    waiting, seen = [cls], {cls}
    while waiting:
        latest = waiting.pop()
        if getattr(latest, "SINCE", 1) > 1 or any(field.metadata for field in _resolved(latest)):
            return True
        inner = {record for field in _resolved(latest) for record in _records_in(field.type)} - seen
        seen |= inner
        waiting += inner
    return False


def _resolved(cls: type[attrs.AttrsInstance]) -> tuple[attrs.Attribute[Any], ...]:
    """The fields of a record, their types no longer text."""
    attrs.resolve_types(cls)
    return tuple(attrs.fields(cls))


def _records_in(kind: Any) -> Iterator[type[attrs.AttrsInstance]]:
    """The records in a type: of ``tuple[Split, ...] | None``, Split."""
    if attrs.has(kind):
        yield kind
    for part in typing.get_args(kind):
        yield from _records_in(part)
