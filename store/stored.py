"""What entries hold, above all records: in canonical names and without their task, machine and protocol.

Entries, by key; a slot is ``<task>/<machine>/<protocol>``, three keys of 64 digits:

| key | entry |
|---|---|
| ``task/<task>`` | the task with its workload, in the names of who put it first |
| ``machine/<machine>``, ``protocol/<protocol>`` | the machine, the protocol |
| ``record/<slot>/<schedule digest>`` | a `StoredRecord` |
| ``best/<slot>`` | a list of `Leader`: the best record of each accuracy class, whole, so that a lookup is one read |
| ``search/<slot>`` | the `SearchState` |

Beside a leader stands its schedule in the names of ``task/<task>``, with these names (``named``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..spec.convert import structure
from ..spec.errors import SpecError, StoreError
from ..spec.rename import schedule_from_canonical, schedule_to_canonical
from ..spec.schedule import Schedule
from ..spec.versions import VERSION, version_needed
from .privacy import scrubbed
from .records import History, Record, sorted_measurements

if TYPE_CHECKING:
    from ..spec.claim import Machine, Protocol
    from ..spec.json_text import Json
    from ..spec.task import Task


@attrs.frozen(kw_only=True)
class StoredRecord(History):
    """A record in canonical names; task, machine and protocol are in its key.

    `spec` is the lowest version of the language that can say the record.
    """

    spec: int
    schedule: Schedule


def stored_from_record(record: Record) -> StoredRecord:
    """The record as it is stored: canonical names, and no word of who or where in a failure's detail."""
    failed = record.failed
    if failed is not None:
        failed = attrs.evolve(failed, failure=attrs.evolve(failed.failure, detail=scrubbed(failed.failure.detail)))
    return versioned(
        StoredRecord(
            spec=1,
            schedule=schedule_to_canonical(record.schedule, record.task.names),
            measurements=sorted_measurements(record.measurements),
            failed=failed,
            compared=record.compared,
            slowed=record.slowed,
        )
    )


def versioned(stored: StoredRecord) -> StoredRecord:
    """The record with the version that it needs."""
    return attrs.evolve(stored, spec=version_needed(stored))


def record_from_stored(
    stored: StoredRecord, task: Task, machine: Machine, protocol: Protocol, schedule: Schedule | None = None
) -> Record:
    """The record in the names of `task`; `schedule` is its schedule in them, where that is known already."""
    return Record(
        task=task,
        schedule=schedule_from_canonical(stored.schedule, task.names) if schedule is None else schedule,
        machine=machine,
        protocol=protocol,
        measurements=stored.measurements,
        failed=stored.failed,
        compared=stored.compared,
        slowed=stored.slowed,
    )


def check_version(entry: Json) -> int:
    """The version of the language an entry is written in; StoreError for a later one, which is never written over."""
    version = version_of(entry)
    if version > VERSION:
        raise StoreError(
            f"a record there was written by a later autosched, in version {version} of the language; this one knows up "
            f"to {VERSION}: upgrade autosched, or name another folder with --store or AUTOSCHED_STORE"
        )
    return version


def read_stored(entry: Json) -> StoredRecord:
    """A `StoredRecord`; SpecError where the entry is not one, or was written by a later version."""
    version = version_of(entry)
    if version > VERSION:
        raise SpecError(f"written in version {version} of the language, this autosched reads {VERSION}", "spec")
    return structure(entry, StoredRecord)


def version_of(entry: Json) -> int:
    """The version of the language that an entry says; 1 where it says none, which reading it will then refuse."""
    found = entry.get("spec") if isinstance(entry, dict) else None
    return found if type(found) is int else 1
