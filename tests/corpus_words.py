"""Every word that a spec file may hold: its records, their fields, and the values that a field chooses from.

Read from the records themselves, so that a word added to the language is here without anybody's doing, and has no file
in tests/data/specs until someone writes one.
"""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any, Final

import attrs

from autosched.spec import algorithm, dtypes, expr, schedule, workload
from autosched.spec.spec_file import SpecFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Word: typing.TypeAlias = tuple[str, str, object]
"""Record, field, and the value where the field chooses from words; ("BindLoop", "to", "parallel")."""

VOCABULARIES: Final[dict[tuple[str, str], Collection[object]]] = {
    ("Algorithm", "accuracy"): algorithm.ALGORITHM_ACCURACY,
    ("Split", "tail"): schedule.TAILS,
    ("BindLoop", "to"): schedule.BINDINGS,
    ("BindFused", "to"): (),
    ("Nest", "scope"): schedule.SCOPES,
    ("Reducer", "op"): workload.REDUCERS,
    ("Workload", "index_dtype"): ("int32", "int64"),
    ("Buffer", "dtype"): dtypes.DTYPES,
    ("Binary", "op"): expr.BINARY_OPS,
    ("Compare", "op"): expr.COMPARE_OPS,
    ("Logic", "op"): expr.LOGIC_OPS,
    ("Call", "name"): expr.CALLS,
}
"""The fields that choose from a list of words, and the list: a binding of one loop or of several fused is one word."""

WRITTEN_WHOLE: Final = frozenset({"Protocol"})
"""Records whose fields are in a file even where they say what is usual."""


def records(root: type[Any] = SpecFile) -> dict[str, type[attrs.AttrsInstance]]:
    """Every record that a spec file may hold, by name."""
    found: dict[str, type[attrs.AttrsInstance]] = {}
    waiting = [root]
    while waiting:
        cls = waiting.pop()
        if attrs.has(cls) and cls.__name__ not in found:
            found[cls.__name__] = cls
            hints = typing.get_type_hints(cls)
            waiting += [inner for field in attrs.fields(cls) for inner in _classes(hints[field.name])]
    return found


def _classes(hint: Any) -> Iterator[type[Any]]:
    """The classes that a type is made of: of ``tuple[Split, ...] | None``, Split and None's."""
    parts = typing.get_args(hint)
    if not parts and isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        yield hint
    for part in parts:
        yield from _classes(part)


def all_words() -> set[Word]:
    """The words of the language."""
    fields = {(name, field.name, "") for name, cls in records().items() for field in attrs.fields(cls)}
    return fields | {(cls, field, value) for (cls, field), values in VOCABULARIES.items() for value in values}


def words_in(record: object) -> set[Word]:
    """The words that a record says: fields that are not left out, and what they choose."""
    said: set[Word] = set()
    waiting = [record]
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting += one
        elif attrs.has(type(one)):
            name = type(one).__name__
            for field in attrs.fields(type(one)):
                value = getattr(one, field.name)
                if value != field.default or name in WRITTEN_WHOLE:
                    said.add((name, field.name, ""))
                if (name, field.name) in VOCABULARIES:
                    said.add(("BindLoop" if name == "BindFused" else name, field.name, value))
                waiting.append(value)
    return said
