"""From the store to files: the best schedules as spec files or in a bundle, or all that the store knows.

The same store gives the same bytes: all is sorted by keys, and numbers are written in one way. A full export holds
what makes an equal store (`importing.rebuild_store`).
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Protocol
from ..spec.errors import SpecError, StoreError
from ..spec.files import write_at_once
from ..spec.spec_file import check_spec, text_from_spec
from .bundle import Searched, bundle_lines
from .claims import spec_from_record
from .keys import machine_key, protocol_key, task_key
from .records import Record

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    from ..spec.task import Task
    from .speeds import Speeds
    from .store import Store

FILE_SUFFIXES: Final = (".json", ".jsonl")
"""A name that ends so is a file's; any other is that of a folder."""
SPEEDS_NAME: Final = "speeds.jsonl"
"""In a folder, the bundle of what belongs to no task."""
MAX_NAME: Final = 60
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


@attrs.frozen(kw_only=True)
class Exported:
    """What an export wrote: so many files, and in them so many records of so many tasks."""

    files: int
    records: int
    tasks: int


def export_store(
    store: Store, path: str | os.PathLike[str], *, ops: Collection[str] = (), everything: bool = False
) -> Exported:
    """Writes what `store` knows of the tasks of the operators `ops`, or of all, to a file or a folder.

    That is the best record of each task on each machine; with `everything` also all others, failures, and how far
    searches came. A `path` that ends in .json or .jsonl is a file: a spec file where it ends in .json and there is one
    best record, else a bundle. Any other is a folder, made where it is absent: a spec file for each best record, or a
    bundle for each task. Names in it follow from keys, so the next export writes over this one's. StoreError where
    there is nothing to write, SpecError where it cannot be written.
    """
    place = Path(path)
    tasks = list(store.tasks_of(ops))
    if everything:
        groups = (found for task in tasks if (found := list(all_entries(store, task))))
        exported = _write_all(place, groups, [] if ops else list(store.all_speeds()))
    else:
        exported = _write_best(place, [record for task in tasks for record in best_records(store, task)])
    if not exported.files:
        asked = f" of {', '.join(sorted(ops))}" if ops else ""
        raise StoreError(f"store {store.path}: nothing to export{asked}; autosched tune finds what can be exported")
    return exported


def best_records(store: Store, task: Task) -> Iterator[Record]:
    """The best record of a task on each machine, under each protocol, sorted by keys."""
    for machine, protocol in store.slots(task):
        best = store.best(task, machine, protocol)
        if best is not None:
            yield best


def all_entries(store: Store, task: Task) -> Iterator[Record | Searched]:
    """All search states and records of a task, those of one machine and protocol together, sorted by keys."""
    found: list[Record | Searched] = [
        Searched(task=task, machine=machine, protocol=protocol, state=state)
        for _, machine, protocol, state in store.searches(task)
    ]
    found += store.records(task)
    yield from sorted(found, key=lambda entry: (machine_key(entry.machine), protocol_key(entry.protocol)))


def _write_best(place: Path, records: list[Record]) -> Exported:
    if not records:
        return Exported(files=0, records=0, tasks=0)
    tasks = len({task_key(record.task) for record in records})
    if place.suffix not in FILE_SUFFIXES:
        for record in records:
            _write_inside(place, _spec_name(record), (_spec_text(record),))
        return Exported(files=len(records), records=len(records), tasks=tasks)
    if place.suffix == ".json" and len(records) == 1:
        write_at_once(place, (_spec_text(records[0]),))
    else:
        write_at_once(place, bundle_lines(records))
    return Exported(files=1, records=len(records), tasks=tasks)


def _write_all(place: Path, groups: Iterable[list[Record | Searched]], speeds: list[Speeds]) -> Exported:
    files = records = tasks = 0

    def counted(group: list[Record | Searched]) -> list[Record | Searched]:
        nonlocal records, tasks
        records += sum(isinstance(entry, Record) for entry in group)
        tasks += 1
        return group

    if place.suffix in FILE_SUFFIXES:
        found = [next(iter(groups), [])]  # nothing is written where there is nothing
        if speeds or found[0]:
            write_at_once(place, bundle_lines(chain(speeds, *map(counted, chain(found, groups)))))
            files = 1
    else:
        for group in map(counted, groups):
            task = group[0].task
            _write_inside(place, f"{task_name(task)}.jsonl", bundle_lines(group))
            files += 1
        if speeds:
            _write_inside(place, SPEEDS_NAME, bundle_lines(speeds))
            files += 1
    return Exported(files=files, records=records, tasks=tasks)


def _write_inside(folder: Path, name: str, texts: Iterable[str]) -> None:
    """Writes a file in a folder, which is made where it is absent; a link in it is replaced, never followed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"folder {str(folder)!r} cannot be made: {error.strerror}") from error
    write_at_once(folder / name, texts, through_links=False)


def _spec_text(record: Record) -> str:
    spec = spec_from_record(record)
    check_spec(spec)
    return text_from_spec(spec)


def task_name(task: Task) -> str:
    """What the files of a task are called: an operator's name may be anybody's text, a key is not."""
    name = _UNFIT.sub("_", task.op.name)[:MAX_NAME] if task.op is not None else "task"
    return f"{name}-{task_key(task)[:12]}"


def _spec_name(record: Record) -> str:
    """The name of a best record's file: the same for whatever is the best there later."""
    parts = [task_name(record.task), machine_key(record.machine)[:8]]
    if record.protocol != Protocol(threads=record.task.threads):
        parts.append(protocol_key(record.protocol)[:8])
    return f"{'-'.join(parts)}.json"
