"""To and from files of other tools: MetaSchedule's databases, FlexTensor's logs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .nn.flextensor_log import read_log
from .spec.errors import SpecError, StoreError
from .spec.spec_file import save_spec
from .store.claims import spec_from_record
from .store.exporting import best_records, task_name
from .store.keys import task_key
from .tuning import open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .spec.spec_file import SpecFile
    from .spec.task import Task
    from .store.records import Record
    from .store.store import Store
    from .tuning import StoreLike


@attrs.frozen(kw_only=True)
class Converted:
    """How many schedules went from one form to another, and a line for each that could not, with the reason."""

    schedules: int
    refused: tuple[str, ...] = ()


def export_metaschedule(
    folder: str | os.PathLike[str], store: StoreLike = None, *, ops: Collection[str] = ()
) -> Converted:
    """Adds what a store knows of the tasks of the operators `ops`, or of all, to MetaSchedule's database in a folder.

    That is, of each task on each machine, the fastest schedule that its trace can hold: one that rewrites nothing. A
    task without any is refused, with the reason why its best one is. StoreError where there is nothing to export.
    """
    from .spec.tvm_metaschedule import save_metaschedule

    opened = open_store(store)
    schedules, refused = 0, []
    for _, task in opened.tasks():
        if ops and (task.op is None or task.op.name not in ops):
            continue
        for best in best_records(opened, task):
            reason = None
            for record in _fastest_first(opened, best):
                try:
                    save_metaschedule(spec_from_record(record), folder)
                except SpecError as error:
                    reason = reason or error
                    continue
                schedules += 1
                break
            else:
                refused.append(f"{_called(task)}: {reason}")
    if not schedules and not refused:
        asked = f" of {', '.join(sorted(ops))}" if ops else ""
        raise StoreError(f"store {opened.path}: nothing to export{asked}; autosched tune finds what can be exported")
    return Converted(schedules=schedules, refused=tuple(refused))


def import_flextensor(
    logs: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str], *, threads: int | None = None
) -> Converted:
    """Writes a spec file into a folder for each line of FlexTensor's logs that says a schedule of a task that is here.

    Logs hold no times, so there is nothing for a store: have the files tried by ``autosched tune --spec FILE``, or put
    them among the project's. Lines that cannot be read are refused, with the reason. SpecError where nothing can be
    read or written.
    """
    place = Path(folder)
    schedules, refused = 0, []
    for log, line in ((each, line) for each in logs for line in read_log(each, threads=threads)):
        if line.spec is None:
            refused.append(f"{os.fspath(log)}:{line.number}: {line.key}: {line.reason}")
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpecError(f"folder {str(folder)!r} cannot be made: {error.strerror}") from error
        save_spec(line.spec, place / _file_name(line.spec, Path(log).stem, line.number))
        schedules += 1
    return Converted(schedules=schedules, refused=tuple(refused))


def _fastest_first(store: Store, best: Record) -> Iterator[Record]:
    """The best record of a task on a machine, then the others that were verified and timed there."""
    yield best
    others = (record for record in store.records(best.task, best.machine, best.protocol) if record.verified)
    yield from sorted(
        (record for record in others if record.schedule != best.schedule), key=lambda record: record.latency_s or 0
    )


def _called(task: Task) -> str:
    return task.op.text if task.op is not None else f"task {task_key(task)[:12]}"


def _file_name(spec: SpecFile, log: str, number: int) -> str:
    """``gemm-0123456789ab-gemm-config-7.json``, after the log and the line: two lines may be of one task."""
    return f"{task_name(spec.task)}-{re.sub(r'[^A-Za-z0-9_-]', '_', log)[:60]}-{number}.json"
