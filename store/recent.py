"""Only recent times: what of a record counts for who does not trust all of it, and the best of what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ..spec.rename import schedule_digest
from .leaders import leader_from_stored, leaders_of, rank
from .records import FailedTrial, Measurement, Record
from .stored import stored_from_record
from .tools import Drift, drift_of, tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..spec.claim import Machine

Counts: TypeAlias = Callable[[Measurement | FailedTrial], bool]
"""True for what is to be relied on."""


def everything(_: Measurement | FailedTrial) -> bool:
    """Whatever was seen counts, with whatever tools and however long ago."""
    return True


def since(date: str) -> Counts:
    """What was seen at that date or later."""
    return lambda seen: seen.date >= date


def undrifted(machine: Machine) -> Counts:
    """What was seen with the tools of today."""
    now = tools(machine)
    return lambda seen: not drift_of(seen.tools, now)


def drifted(record: Record) -> tuple[Drift, ...]:
    """What has changed since a record was last measured; nothing where it never was."""
    return () if record.last is None else drift_of(record.last.tools, tools(record.machine))


def reduced(record: Record, counts: Counts) -> Record | None:
    """The record with nothing in it but what counts; None where nothing is left."""
    measurements = tuple(measurement for measurement in record.measurements if counts(measurement))
    failed = record.failed if record.failed is not None and counts(record.failed) else None
    return attrs.evolve(record, measurements=measurements, failed=failed) if measurements or failed else None


def best_of(records: Iterable[Record], allow: Collection[str]) -> Record | None:
    """The record that leads among those of one task, machine and protocol, each of another schedule."""
    by_digest = {schedule_digest(record.schedule, record.task.names): record for record in records}
    leaders = leaders_of(leader_from_stored(stored_from_record(r), digest) for digest, r in by_digest.items())
    allowed = [leader for leader in leaders if leader.accuracy in allow]
    return by_digest[min(allowed, key=rank).digest] if allowed else None
