"""Tasks, machines and protocols as entries of their own: kept once, however many records speak of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ..spec.convert import structure, unstructure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..spec.json_text import Json
    from .entries import Entries

Part = TypeVar("Part")


class Shelf(Generic[Part]):
    """All parts of one kind, under ``<kind>/<key>``; each is read once.

    The key is made from the content (`key_of`), so content that was changed under its key is found out.
    """

    def __init__(self, entries: Entries, kind: str, cls: type[Part], key_of: Callable[[Part], str]) -> None:
        self._entries = entries
        self._kind = kind
        self._cls = cls
        self._key_of = key_of
        self._known: dict[str, Part] = {}

    def get(self, key: str, needed_by: str = "") -> Part | None:
        """The part with a key; None, with a warning where the entry `needed_by` needs it, if it is not to be had."""
        part = self._known.get(key) or self._entries.read(f"{self._kind}/{key}", self._parse)
        if part is not None and self._key_of(part) != key:
            self._entries.warn(f"{self._kind}/{key}", "its content has another key")
            part = None
        if part is not None:
            self._known[key] = part
        elif needed_by:
            self._entries.warn(needed_by, f"its {self._kind} is not in the store")
        return part

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of this kind that begin with `prefix`, sorted."""
        return [key.partition("/")[2] for key in self._entries.keys(f"{self._kind}/{prefix}")]

    def values(self) -> Iterator[tuple[str, Part]]:
        """Key and part of each, by key."""
        for key in self.keys():
            part = self.get(key)
            if part is not None:
                yield key, part

    def add(self, part: Part) -> None:
        """Writes the part where it is missing or damaged; inside a transaction."""
        key = self._key_of(part)
        if not self._entries.has(f"{self._kind}/{key}") or self.get(key) is None:
            self.replace(part)

    def replace(self, part: Part) -> None:
        """Writes the part, over what there was; inside a transaction."""
        key = self._key_of(part)
        self._entries.write(f"{self._kind}/{key}", unstructure(part))
        self._known.pop(key, None)

    def _parse(self, entry: Json) -> Part:
        return structure(entry, self._cls)
