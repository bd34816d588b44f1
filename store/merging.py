"""Files merged by meaning: the same schedule of the same task once, with the claims of all, whoever named its axes.

Neither the order of the files shows in the result nor a file given twice: of several people's names for a task, those
are taken that come first as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..spec.claim import Machine, Protocol
from ..spec.convert import unstructure
from ..spec.errors import SpecError
from ..spec.files import write_at_once
from ..spec.json_text import compact_json
from ..spec.rename import schedule_digest, schedule_from_canonical, schedule_to_canonical
from ..spec.spec_file import SpecFile, check_spec, load_spec, text_from_spec
from .bundle import Searched, bundle_lines, is_bundle
from .importing import Refused, read_entries
from .keys import slot, task_key
from .records import SearchState, further, united
from .speeds import Speeds, speeds_key
from .stored import StoredRecord, record_from_stored, stored_from_record, versioned

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ..spec.task import Task
    from .bundle import Entry


@attrs.frozen(kw_only=True)
class Merged:
    """What a merge wrote: so many schedules of so many tasks, in a bundle or in a spec file."""

    schedules: int
    tasks: int
    is_bundle: bool


def merge_files(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Merged:
    """Writes what spec files and bundles say together to the file `output`, which may be one of them.

    A spec file, where all are spec files of one schedule of one task; else a bundle. Where anything in a file cannot be
    read nothing is written, and SpecError names the file: no claim is lost.
    """
    spec = _one_spec(paths)
    if spec is not None:
        check_spec(spec)
        write_at_once(Path(output), (text_from_spec(spec),))
        return Merged(schedules=1, tasks=1, is_bundle=False)
    pool = Pool()
    for path in paths:
        for entry in _all_of(path):
            pool.add(entry)
    write_at_once(Path(output), bundle_lines(pool.entries()))
    return Merged(schedules=pool.schedules, tasks=pool.tasks, is_bundle=True)


def merged_spec(specs: Sequence[SpecFile]) -> SpecFile:
    """One spec file for several of the same schedule of the same task: each claim once, by date, ties by content."""
    task = min((spec.task for spec in specs), key=_name_order)
    schedule = schedule_from_canonical(schedule_to_canonical(specs[0].schedule, specs[0].task.names), task.names)
    claims = dict.fromkeys(claim for spec in specs for claim in spec.claims)
    return SpecFile(
        task=task, schedule=schedule, claims=tuple(sorted(claims, key=lambda claim: (claim.date, repr(claim))))
    )


def _one_spec(paths: Sequence[str | os.PathLike[str]]) -> SpecFile | None:
    """The spec file that the files make together; None where they make a bundle."""
    specs = []
    for path in paths:
        try:
            if is_bundle(Path(path)):
                return None
            specs.append(load_spec(Path(path)))
        except SpecError as error:
            raise _blamed(path, error) from error
    found = {(task_key(spec.task), schedule_digest(spec.schedule, spec.task.names)) for spec in specs}
    return merged_spec(specs) if len(found) == 1 else None


def _all_of(path: str | os.PathLike[str]) -> list[Entry]:
    def refuse(error: SpecError) -> None:
        raise error

    try:
        return list(read_entries(path, refuse))
    except SpecError as error:
        raise _blamed(path, error) from error


def _blamed(path: str | os.PathLike[str], error: SpecError) -> SpecError:
    return SpecError(Refused(path=str(path), reason=str(error)).text)


def _name_order(task: Task) -> tuple[bool, str]:
    return task.op is None, compact_json(unstructure(task))


@attrs.define
class _Slot:
    """What is known of one task on one machine under one protocol, in canonical names, by digest."""

    machine: Machine
    protocol: Protocol
    state: SearchState | None = None
    records: dict[str, StoredRecord] = attrs.Factory(dict)


class Pool:
    """Entries of many files, each thing once."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._slots: dict[str, _Slot] = {}
        self._speeds: dict[str, Speeds] = {}

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return len(self._tasks)

    @property
    def schedules(self) -> int:
        """How many records it has."""
        return sum(len(each.records) for each in self._slots.values())

    def add(self, entry: Entry) -> None:
        """Unites an entry with what is known."""
        if isinstance(entry, Speeds):
            key = speeds_key(entry)
            both = (entry, self._speeds.get(key, entry))
            self._speeds[key] = max(both, key=lambda speeds: (speeds.date, repr(speeds)))
            return
        key = task_key(entry.task)
        self._tasks[key] = min(entry.task, self._tasks.get(key, entry.task), key=_name_order)
        place = self._slots.setdefault(
            slot(entry.task, entry.machine, entry.protocol), _Slot(machine=entry.machine, protocol=entry.protocol)
        )
        if isinstance(entry, Searched):
            place.state = entry.state if place.state is None else further(place.state, entry.state)
            return
        digest = schedule_digest(entry.schedule, entry.task.names)
        new = stored_from_record(entry)
        old = place.records.get(digest)
        place.records[digest] = new if old is None else versioned(united(old, new))

    def entries(self) -> Iterator[Entry]:
        """All that is known, sorted by keys; a task's in the names that were chosen for it."""
        yield from (speeds for _, speeds in sorted(self._speeds.items()))
        for key, place in sorted(self._slots.items()):
            task = self._tasks[key.partition("/")[0]]
            if place.state is not None:
                yield Searched(task=task, machine=place.machine, protocol=place.protocol, state=place.state)
            for _, stored in sorted(place.records.items()):
                yield record_from_stored(stored, task, place.machine, place.protocol)
