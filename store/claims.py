"""Records and claims: what a spec file says of a schedule, and what the store keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.claim import Claim
from ..spec.spec_file import SpecFile
from .records import CLAIMED, Measurement, Record, check_record

if TYPE_CHECKING:
    from ..spec.schedule import Schedule
    from ..spec.task import Task


def spec_from_record(record: Record) -> SpecFile:
    """The spec file's content: task, schedule, and a claim for each session; none of a schedule that fails."""
    return SpecFile(task=record.task, schedule=record.schedule, claims=claims_from_record(record))


def claims_from_record(record: Record) -> tuple[Claim, ...]:
    """A claim for each session that is not outdated, claims of others included; only origins are lost.

    None of a schedule that fails or is in quarantine.
    """
    if not record.counted:
        return ()
    return tuple(
        Claim(
            machine=record.machine,
            protocol=record.protocol,
            samples_s=measurement.samples_s,
            baseline_s=measurement.baseline_s,
            verified=measurement.verified,
            accuracy=measurement.accuracy,
            tools=measurement.tools,
            effort=measurement.effort,
            date=measurement.date,
        )
        for measurement in record.current
    )


def record_from_claim(task: Task, schedule: Schedule, claim: Claim, origin: str = CLAIMED) -> Record:
    """The record of what a file claims; `origin` is "measured here" only for files that this store wrote itself.

    SpecError where the claim has no sample, or was made with another number of threads than the task's.
    """
    record = Record(
        task=task,
        schedule=schedule,
        machine=claim.machine,
        protocol=claim.protocol,
        measurements=(
            Measurement(
                samples_s=claim.samples_s,
                baseline_s=claim.baseline_s,
                verified=claim.verified,
                accuracy=claim.accuracy,
                origin=origin,
                tools=claim.tools,
                effort=claim.effort,
                date=claim.date,
            ),
        ),
    )
    check_record(record)
    return record
