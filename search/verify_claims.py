"""Whether what others claim gives right numbers here: compared with the reference, not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol as Interface

import attrs

from ..spec.claim import Failure, Protocol
from ..store.machine import this_machine
from ..store.records import CLAIMED, Comparison, FailedTrial, Record, utc_now
from ..store.tools import tools
from .measurable import check_measurable
from .measure import Measurer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..spec.claim import Machine
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from ..store.store import Store


class Comparer(Interface):
    """What compares outputs: a `Measurer`."""

    def compare(self, schedules: Sequence[Schedule]) -> Iterator[tuple[Schedule, Failure | None]]:
        """Each schedule, with what is wrong with it here, in order; nothing is timed."""
        ...


@attrs.frozen(kw_only=True)
class Compared:
    """A claim whose schedule was compared with the reference here; `failure` says what is wrong with it."""

    record: Record
    failure: Failure | None


def verify_claims(
    task: Task,
    store: Store,
    *,
    machine: Machine | None = None,
    bench: Callable[[Task, Protocol], AbstractContextManager[Comparer]] = Measurer,
) -> tuple[Compared, ...]:
    """Builds what others claim of `task`, whatever machine they had, and compares its output with the reference here.

    What is right is "verified" from then on. What is wrong is a failure, as is what does not build or run if it is
    claimed for this very machine. SpecError for a task that cannot be run here, MeasureError where the harness fails.
    """
    check_measurable(task)
    here = machine or this_machine()
    claims = [record for record in store.records(task) if record.origin == CLAIMED and record.failure is None]
    if not claims:
        return ()
    with bench(task, Protocol(threads=task.threads)) as open_bench:
        wrong = dict(open_bench.compare(list(dict.fromkeys(record.schedule for record in claims))))
    for record in claims:
        failure = wrong[record.schedule]
        if failure is None:
            store.put(attrs.evolve(record, compared=Comparison(tools=tools(here), date=utc_now())))
        elif failure.kind == "wrong_answer" or record.machine == here:
            store.put(attrs.evolve(record, failed=FailedTrial(failure=failure, tools=tools(here), date=utc_now())))
    return tuple(Compared(record=record, failure=wrong[record.schedule]) for record in claims)
