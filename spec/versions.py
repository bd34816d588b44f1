"""Versions of the language: which one is the least that can say a record, so that old readers keep reading.

A word that came later says so where it is defined: a record by the class attribute ``SINCE``, a field by its
metadata ``{"since": 2}``, the values of a field by ``{"since_of": {"value": 2}}``. All else is as old as the language.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .json_text import Json

VERSION: Final = 2
"""The latest version of the language: the highest that this autosched reads and writes."""


def same_words(content: dict[str, Json]) -> dict[str, Json]:
    """The upgrade to a version that only adds words: what was said before is said the same way."""
    return content


UPGRADES: Final[dict[int, Callable[[dict[str, Json]], dict[str, Json]]]] = {1: same_words}
"""Version → what turns a file of that version into one of the next; each comes with an old file in tests/data/specs."""


def version_needed(record: object) -> int:
    """The lowest version of the language that can say `record`."""
    return max((version for version, _ in later_words(record)), default=1)


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


def _later_in_field(field: attrs.Attribute[Any], value: object, path: str) -> Iterator[tuple[int, str]]:
    if value == field.default:
        return
    place = f"{path}.{field.name}".removeprefix(".").removesuffix("_")
    since = field.metadata.get("since", 1)
    if since > 1:
        yield since, place
    of_values: Mapping[object, int] = field.metadata.get("since_of", {})
    if of_values.get(value, 1) > 1:
        yield of_values[value], place
    yield from later_words(value, place)


@functools.lru_cache(maxsize=256)
def _fields(cls: type[attrs.AttrsInstance]) -> tuple[attrs.Attribute[Any], ...]:
    """Only those that may hold a later word: plain values without metadata are passed over."""
    return tuple(f for f in attrs.fields(cls) if f.metadata or str(f.type) not in ("str", "int", "bool", "float"))
