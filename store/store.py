"""The store: what was learned of tasks on machines, in a folder that many processes read and write at once."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from ..spec.claim import ACCURACY_CLASSES, Machine, Protocol
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError, StoreError
from ..spec.outline import outline_from_json
from ..spec.task import Task
from .entries import Entries
from .folder import store_folder
from .keys import KEY_DIGITS, machine_key, protocol_key, record_key, slot, task_key
from .leaders import best_record, rank
from .machine import this_machine
from .ranking import Ranking
from .records import Record, SearchState, check_record, further, united
from .shelf import Shelf
from .speeds import Speeds, speeds_key, speeds_place
from .stored import check_version, read_stored, record_from_stored, stored_from_record, versioned

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from ..spec.json_text import Json
    from ..spec.outline import Outline
    from ..spec.schedule import Schedule

DEFAULT_ALLOW: Final = ("exact", "reassociated")
"""The accuracy classes that are served to who asks for none."""


class Store:
    """Records and search states in a folder: `path`, else AUTOSCHED_STORE, else ~/.cache/autosched.

    Reading never makes anything on the disk: a store that does not exist yet is empty. Each `put`, `finish_search` and
    `delete` is one transaction: who is killed loses at most the one under way, and many processes may write at once.
    Where a machine is not given, it is this one; where a protocol is not, the default one with the task's threads.
    StoreError is raised where the folder cannot be used; a damaged entry is logged once and counts as absent.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._entries = Entries(store_folder(path))
        self._tasks = Shelf(self._entries, "task", Task, task_key)
        self._machines = Shelf(self._entries, "machine", Machine, machine_key)
        self._protocols = Shelf(self._entries, "protocol", Protocol, protocol_key)
        self._ranking = Ranking(self._entries, self._tasks)
        self._speeds = Shelf(self._entries, "speeds", Speeds, speeds_key)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._entries.folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def close(self) -> None:
        """Closes this thread's connection; a later use opens it again."""
        self._entries.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def best(
        self,
        task: Task,
        machine: Machine | None = None,
        protocol: Protocol | None = None,
        allow: Collection[str] = DEFAULT_ALLOW,
    ) -> Record | None:
        """The fastest verified record of an allowed accuracy class, in the names of `task`; None if there is none.

        A record that is only claimed is given where nothing was timed here: see its `origin`.
        """
        for accuracy in allow:
            if accuracy not in ACCURACY_CLASSES:
                raise SpecError(f"unknown accuracy {accuracy!r}; allowed: {', '.join(ACCURACY_CLASSES)}", "allow")
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        place = slot(task, machine, protocol)
        asked = (task, machine, protocol)
        best = functools.partial(best_record, asked, tuple(allow))
        found = self._entries.read_sealed(f"best/{place}", best)
        if found is not None:
            return found[0]
        if self._entries.has(f"best/{place}"):
            # Damaged, which was logged, or led by what a later version wrote: the records are still there to rank.
            leaders = [leader for leader in self._ranking.ranked(place) if leader.accuracy in allow]
            if leaders:
                return record_from_stored(min(leaders, key=rank).record, *asked)
        return None

    def get(
        self, task: Task, schedule: Schedule, machine: Machine | None = None, protocol: Protocol | None = None
    ) -> Record | None:
        """What is known of one schedule, be it a time or a failure; None where it was never tried."""
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        stored = self._entries.read(record_key(task, machine, protocol, schedule), read_stored)
        return None if stored is None else record_from_stored(stored, task, machine, protocol)

    def records(
        self, task: Task | None = None, machine: Machine | None = None, protocol: Protocol | None = None
    ) -> Iterator[Record]:
        """Every record, or those of a task; of these, those on `machine` and under `protocol` where they are given.

        In the names of `task`, or else of each task as it was first put. Sorted by keys, which means nothing but is
        always the same.
        """
        here = machine and machine_key(machine)
        how = protocol and protocol_key(protocol)
        prefix = "record/" if task is None else f"record/{task_key(task)}/"
        if task is not None and here is not None:
            prefix += f"{here}/"
        for key, stored in self._entries.scan(prefix, read_stored):
            _, task_part, machine_part, protocol_part, _ = key.split("/")
            if here in (None, machine_part) and how in (None, protocol_part):
                named = task or self._tasks.get(task_part, key)
                found, way = self._machines.get(machine_part, key), self._protocols.get(protocol_part, key)
                if named is not None and found is not None and way is not None:
                    yield record_from_stored(stored, named, found, way)

    def digests(self, machine: Machine, protocol: Protocol, *, but: str = "") -> dict[str, tuple[str, ...]]:
        """Task key → the digests of its schedules with records on `machine` under `protocol`, both sorted.

        Without the task whose key is `but`. Nothing but keys is read.
        """
        place = f"/{machine_key(machine)}/{protocol_key(protocol)}/"
        found: dict[str, list[str]] = {}
        for key in self._entries.keys("record/"):
            before, _, digest = key.partition(place)
            if digest and (task := before.partition("/")[2]) != but:
                found.setdefault(task, []).append(digest)
        return {task: tuple(digests) for task, digests in found.items()}

    def records_of(
        self, task: Task, machine: Machine, protocol: Protocol, digests: Collection[str]
    ) -> Iterator[Record]:
        """The records of the schedules with these digests, in their order; those that cannot be read are left out."""
        place = slot(task, machine, protocol)
        for digest in digests:
            stored = self._entries.read(f"record/{place}/{digest}", read_stored)
            if stored is not None:
                yield record_from_stored(stored, task, machine, protocol)

    def task(self, key: str) -> Task | None:
        """The task with a key, or the only one whose key begins with `key` (6 digits or more); None if there is none.

        In the names of who put it first.
        """
        if not re.fullmatch(rf"[0-9a-f]{{6,{KEY_DIGITS}}}", key):
            raise StoreError(f"{key!r} is not a task's key; allowed: 6 to {KEY_DIGITS} digits of 0-9a-f")
        if len(key) < KEY_DIGITS:
            found = self._tasks.keys(key)
            if len(found) > 1:
                raise StoreError(
                    f"{len(found)} tasks have keys that begin with {key}; give more digits: {found[0]}, ..."
                )
            if not found:
                return None
            key = found[0]
        return self._tasks.get(key)

    def tasks(self) -> Iterator[tuple[str, Task]]:
        """Key and task of every task the store has heard of, in the names of who put it first."""
        return self._tasks.values()

    def outlines(self) -> Iterator[tuple[str, Outline]]:
        """Key and outline of every task, by key; much faster than the tasks."""
        for key, outline in self._entries.scan("task/", outline_from_json):
            yield key.partition("/")[2], outline

    def count_tasks(self) -> int:
        """How many tasks the store has heard of."""
        return len(self._tasks.keys())

    def machines_of(self, task: Task, protocol: Protocol | None = None) -> tuple[Machine, ...]:
        """The machines on which some record of a task leads, under `protocol` or under any, by key."""
        how = protocol and protocol_key(protocol)
        places = (key.split("/")[2:] for key in self._entries.keys(f"best/{task_key(task)}/"))
        wanted = dict.fromkeys(machine for machine, under in places if how in (None, under))
        found = (self._machines.get(key) for key in wanted)
        return tuple(machine for machine in found if machine is not None)

    def tasks_of(self, ops: Collection[str]) -> Iterator[Task]:
        """The tasks of operators with these names; of no name, every task."""
        for _, task in self.tasks():
            if not ops or (task.op is not None and task.op.name in ops):
                yield task

    def machines(self) -> tuple[Machine, ...]:
        """Every machine the store has heard of."""
        return tuple(machine for _, machine in self._machines.values())

    def speeds(self, machine: Machine, threads: int) -> Speeds | None:
        """What was measured of a machine with so many threads; None where nothing was."""
        return self._speeds.get(speeds_place(machine_key(machine), threads))

    def search_state(
        self, task: Task, machine: Machine | None = None, protocol: Protocol | None = None
    ) -> SearchState | None:
        """How far the search for a task came; None where none was finished yet, whatever records there are."""
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        return self._entries.read(f"search/{slot(task, machine, protocol)}", _read_state)

    def searches(self, task: Task | None = None) -> Iterator[tuple[Task, Machine, Protocol, SearchState]]:
        """Every search state, or those of a task, with what it is about; sorted by keys."""
        prefix = "search/" if task is None else f"search/{task_key(task)}/"
        for key, state in self._entries.scan(prefix, _read_state):
            _, task_part, machine_part, protocol_part = key.split("/")
            named, machine = task or self._tasks.get(task_part, key), self._machines.get(machine_part, key)
            protocol = self._protocols.get(protocol_part, key)
            if named is not None and machine is not None and protocol is not None:
                yield named, machine, protocol, state

    def slots(self, task: Task) -> Iterator[tuple[Machine, Protocol]]:
        """Where a task has a best record: each machine with each protocol, sorted by keys."""
        for key in self._entries.keys(f"best/{task_key(task)}/"):
            *_, machine_part, protocol_part = key.split("/")
            machine, protocol = self._machines.get(machine_part, key), self._protocols.get(protocol_part, key)
            if machine is not None and protocol is not None:
                yield machine, protocol

    def all_speeds(self) -> Iterator[Speeds]:
        """What was measured of each machine, sorted by keys."""
        for _, speeds in self._speeds.values():
            yield speeds

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, record: Record) -> Record:
        """Adds a record to what is known of its schedule, in one transaction; what is known then, in the task's names.

        Measurements are united with those of before, each once, so putting a record twice is putting it once.
        SpecError where the record contradicts itself, or its schedule does not fit its task; StoreError where a later
        version has written there.
        """
        check_record(record)
        task, machine, protocol = record.task, record.machine, record.protocol
        place, key = slot(task, machine, protocol), record_key(task, machine, protocol, record.schedule)
        new = stored_from_record(record)
        with self._entries.transaction():
            self._introduce(task, machine, protocol)
            self._entries.read(key, check_version)
            old = self._entries.read(key, read_stored)
            stored = new if old is None else versioned(united(old, new))
            self._entries.write(key, unstructure(stored))
            self._ranking.lead(place, key.rpartition("/")[2], stored)
        return record_from_stored(stored, task, machine, protocol)

    def finish_search(
        self, task: Task, state: SearchState, machine: Machine | None = None, protocol: Protocol | None = None
    ) -> SearchState:
        """Notes how far a search came, united with what was noted before; what is noted then."""
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        key = f"search/{slot(task, machine, protocol)}"
        with self._entries.transaction():
            self._introduce(task, machine, protocol)
            old = self._entries.read(key, _read_state)
            state = state if old is None else further(old, state)
            self._entries.write(key, unstructure(state))
        return state

    def put_speeds(self, speeds: Speeds) -> None:
        """Keeps what was measured of a machine, over what was measured before."""
        with self._entries.transaction():
            self._speeds.replace(speeds)

    def delete(self, record: Record) -> bool:
        """Forgets one schedule of a task on a machine under a protocol; False where it was not known."""
        place = slot(record.task, record.machine, record.protocol)
        key = record_key(record.task, record.machine, record.protocol, record.schedule)
        with self._entries.transaction():
            found = self._entries.delete(key)
            if found:
                self._ranking.write(place, self._ranking.ranked(place, without=key.rpartition("/")[2]))
        return found

    def delete_task(self, task: Task) -> int:
        """Forgets a task, all its records and searches; the number of records."""
        key = task_key(task)
        with self._entries.transaction():
            records = self._entries.keys(f"record/{key}/")
            rest = [entry for kind in ("best", "search") for entry in self._entries.keys(f"{kind}/{key}/")]
            for entry in (*records, *rest, f"task/{key}"):
                self._entries.delete(entry)
        return len(records)

    def merge(self, other: Store) -> int:
        """Puts all of another store of one's own into this one, origins included; the number of records.

        What comes from others comes as claims instead (`record_from_claim`).
        """
        records = 0
        for record in other.records():
            self.put(record)
            records += 1
        for task, machine, protocol, state in other.searches():
            self.finish_search(task, state, machine, protocol)
        for speeds in other.all_speeds():
            if self._speeds.get(speeds_key(speeds)) is None:
                self.put_speeds(speeds)
        return records

    def check(self, repair: bool = False) -> tuple[str, ...]:
        """What is wrong with the store, a line each; `repair` removes damaged entries and ranks the leaders anew.

        Where the database itself is damaged, a repair puts what is whole into a new one and keeps the old file: the
        lines then also say how much was saved, and the keys of what was lost.
        """
        found = list(self._entries.problems())
        lines = [f"{key or 'database'}: {reason}" for key, reason in found]
        if any(not key for key, _ in found):
            if not repair:
                return tuple(lines)
            self._entries.forget()
            from .salvage import salvage  # here: no lookup must pay for it

            lines += salvage(self.path).lines
        elif repair and found:
            with self._entries.transaction():
                for key, _ in found:
                    # Others write meanwhile: what one of them has mended since it was looked at stays.
                    if self._entries.is_damaged(key):
                        self._entries.delete(key)
        stale = list(self._ranking.stale_places())
        if repair:
            for place in stale:
                self._ranking.rank_anew(place)
        return (*lines, *(f"best/{place}: is not the best record" for place in stale))

    def _introduce(self, task: Task, machine: Machine, protocol: Protocol) -> None:
        """Writes what the store lacks of the three; a task stays as it is, but learns the name of its operator."""
        self._tasks.add(task)
        self._machines.add(machine)
        self._protocols.add(protocol)
        known = self._tasks.get(task_key(task)) if task.op is not None else None
        if known is not None and known.op is None:
            self._tasks.replace(task)


def _read_state(entry: Json) -> SearchState:
    return structure(entry, SearchState)
