"""Who leads among the records of a slot: kept up to date with each put, made anew from the records where it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.convert import unstructure
from .leaders import (
    Leader,
    entry_from_leaders,
    is_named_well,
    leader_from_stored,
    leaders_of,
    rank,
    read_later_leaders,
    read_leaders,
)
from .stored import read_stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..spec.task import Task
    from .entries import Entries
    from .shelf import Shelf
    from .stored import StoredRecord


class Ranking:
    """The leaders of all slots of a store, as entries ``best/<slot>``."""

    def __init__(self, entries: Entries, tasks: Shelf[Task]) -> None:
        self._entries = entries
        self._tasks = tasks

    def lead(self, place: str, digest: str, stored: StoredRecord) -> None:
        """Updates the leaders of a slot after one of its records became `stored`; inside a transaction."""
        key = f"best/{place}"
        kept = self._entries.read(key, read_leaders)
        if kept is None and not self._entries.has(key):
            kept = ()
        new = leader_from_stored(stored, digest)
        before = [leader for leader in kept or () if leader.digest == digest]
        if kept is None or any(new is None or new.accuracy != old.accuracy or rank(new) > rank(old) for old in before):
            # The leaders are damaged, or one may have fallen behind a record that is not among them.
            leaders = leaders_of([new, *self.ranked(place, without=digest)])
        else:
            leaders = leaders_of([new, *(leader for leader in kept if leader.digest != digest)])
        if leaders != kept:
            self.write(place, leaders)

    def ranked(self, place: str, without: str = "") -> tuple[Leader, ...]:
        """The leaders among the committed records of a slot, but for the one with the digest `without`."""
        found = self._entries.scan(f"record/{place}/", read_stored)
        digests = ((key.rpartition("/")[2], stored) for key, stored in found)
        return leaders_of(leader_from_stored(stored, digest) for digest, stored in digests if digest != without)

    def write(self, place: str, leaders: tuple[Leader, ...]) -> None:
        """Writes the leaders of a slot, and beside them those that only a later version reads; in a transaction."""
        later = self._entries.read(f"best/{place}", read_later_leaders) or ()
        if leaders or later:
            task = self._task(place)
            self._entries.write(
                f"best/{place}", entry_from_leaders(leaders, later, None if task is None else task.names)
            )
        else:
            self._entries.delete(f"best/{place}")

    def stale_places(self) -> Iterator[str]:
        """The slots whose leaders are not the best of their records."""
        places = {key.split("/", 1)[1].rpartition("/")[0] for key in self._entries.keys("record/")}
        places |= {key.split("/", 1)[1] for key in self._entries.keys("best/")}
        for place in sorted(places):
            kept = self._entries.read(f"best/{place}", read_leaders)
            if sorted(kept or (), key=rank) != sorted(self.ranked(place), key=rank) or not self._is_named_well(place):
                yield place

    def _is_named_well(self, place: str) -> bool:
        task = self._task(place)
        if task is None:
            return True
        return self._entries.read(f"best/{place}", lambda entry: is_named_well(entry, task.names)) is not False

    def _task(self, place: str) -> Task | None:
        return self._tasks.get(place.partition("/")[0])

    def rank_anew(self, place: str) -> None:
        """Writes the leaders of a slot anew; a leader holds its record whole, so one that was lost comes back."""
        with self._entries.transaction():
            for leader in self._entries.read(f"best/{place}", read_leaders) or ():
                key = f"record/{place}/{leader.digest}"
                if not self._entries.has(key):
                    self._entries.write(key, unstructure(leader.record))
        with self._entries.transaction():
            self.write(place, self.ranked(place))
