"""Rechecks: whether what is served is still as fast as it was, and how fast claims are here.

The default schedule is the yardstick: what slows the machine slows both, and their ratio holds.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import ACCURACY_CLASSES, Failure, Machine, Protocol
from ..spec.schedule import Schedule
from ..spec.task import Task
from ..spec.tolerance import accuracy_of
from ..store.machine import this_machine
from ..store.match import nearest_first
from ..store.records import MEASURED, FailedTrial, Measurement, Record, Slowdown, utc_now
from ..store.tools import tools
from .confidence import median_interval
from .default import default_schedule
from .finals import FEW_ROUNDS, FINALISTS, REPEATS, ROUNDS, SLOW_S
from .measurable import check_measurable
from .measure import Measurer
from .speedup import ratios_in_turn, speedup_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..spec.algorithm import Algorithm
    from ..store.store import Store
    from .tuner import Bench

TOLERANCE: Final = 0.1
"""By so much a schedule may be slower than it was, beside the default."""
MOST_CLAIMS: Final = 4
"""Claims of a task that are timed in one recheck."""

HOLDS, SLOWER, QUARANTINED, LIFTED, TIMED, FAILED = VERDICTS = (
    "holds", "slower", "quarantined", "lifted", "measured", "failed",
)  # fmt: skip
"""As fast as it was; slower but still the fastest; slower than others now, or still so; no longer in quarantine; a
claim, timed here; it does not work here."""


@attrs.frozen(kw_only=True)
class Rechecked:
    """What a recheck found of one schedule: seconds and times the default's speed, then and now; None where unknown."""

    task: Task
    schedule: Schedule
    verdict: str
    before_s: float | None
    before_speedup: float | None
    latency_s: float | None
    speedup: float | None
    reason: str = ""

    @property
    def drift(self) -> float | None:
        """How many times as long it takes as it did, beside the default where both times have it."""
        if self.speedup is not None and self.before_speedup is not None:
            return self.before_speedup / self.speedup
        if self.latency_s is not None and self.before_s is not None:
            return self.latency_s / self.before_s
        return None


def recheck(
    task: Task,
    store: Store,
    *,
    tolerance: float = TOLERANCE,
    machine: Machine | None = None,
    algorithms: Sequence[Algorithm] = (),
    bench: Callable[[Task, Protocol], AbstractContextManager[Bench]] = Measurer,
) -> tuple[Rechecked, ...]:
    """Times what `store` serves for `task` in turn with the default, beside what is in quarantine and the best claims.

    What got slower than `tolerance` allows is timed in turn with the next best: where one of those is faster now, it
    goes into quarantine, and else its earlier times no longer count. With `algorithms` the default is that of a search
    that had them. SpecError for a task that cannot be measured here, MeasureError where the harness fails.
    """
    check_measurable(task)
    session = _Session(task, store, machine or this_machine(), tolerance, algorithms)
    asked = session.asked()
    if not asked:
        return ()
    found: dict[Schedule, Rechecked] = {}
    with bench(task, session.protocol) as open_bench:
        for _ in range(REPEATS):
            found.update({each.schedule: each for each in session.look_again(open_bench, asked)})
            leader = session.leader()
            if leader is None or leader.schedule in session.timed:
                break
            asked = [leader]  # nobody looked at it yet
    return tuple(found.values())


class _Session:
    """A recheck of one task on one machine."""

    def __init__(
        self, task: Task, store: Store, machine: Machine, tolerance: float, algorithms: Sequence[Algorithm]
    ) -> None:
        self.protocol = Protocol(threads=task.threads)
        self.timed: set[Schedule] = set()
        self._task = task
        self._store = store
        self._machine = machine
        self._tolerance = tolerance
        self._default = default_schedule(task, machine, store.speeds(machine, task.threads), algorithms)

    def leader(self) -> Record | None:
        """What a lookup finds now."""
        return self._store.best(self._task, self._machine, self.protocol)

    def asked(self) -> list[Record]:
        """What is to be timed: what is served, what is in quarantine, and the best claims, nearest machines first."""
        here = list(self._store.records(self._task, self._machine, self.protocol))
        served = [leader] if (leader := self.leader()) is not None else []
        hidden = [record for record in here if record.quarantine is not None and record.failure is None]
        known = {record.schedule for record in here if record.origin == MEASURED}
        claims = sorted((record for record in here if record.origin != MEASURED), key=_order)
        claims += [record for record in self._claims_elsewhere() if record.schedule not in known]
        unique = {record.schedule: record for record in (*served, *hidden[:FINALISTS], *claims[:MOST_CLAIMS])}
        return list(unique.values())

    def _claims_elsewhere(self) -> Iterator[Record]:
        there = {machine for machine, protocol in self._store.slots(self._task) if protocol == self.protocol}
        for _, machine in nearest_first(self._machine, there):
            best = self._store.best(self._task, machine, self.protocol)
            if best is not None:
                yield best

    def look_again(self, bench: Bench, asked: Sequence[Record]) -> Iterator[Rechecked]:
        """Times records in turn with the default, puts what was seen into the store, and says what that means."""
        results, default_s = self._retimed(bench, asked)
        for record in asked:
            result = results[record.schedule]
            if isinstance(result, Failure):
                yield self._said(record, FAILED, reason=f"{result.kind}: {' '.join(result.detail.split())}")
            elif record.quarantine is not None:
                now = self._now(record)
                if now.quarantine is not None and now.slowed is not None:
                    self._slow(record, now.slowed.reason, now.slowed.needs, utc_now())  # nor does this time count later
                verdict = LIFTED if now.quarantine is None else QUARANTINED
                yield self._said(record, verdict, result, default_s, now.quarantine or "")
            elif not self._is_timed_here(record):
                yield self._said(record, TIMED, result, default_s)
            elif reason := self._slower(record, result, default_s):
                yield self._judged(bench, record, reason)
            else:
                yield self._said(record, HOLDS, result, default_s)

    def _is_timed_here(self, record: Record) -> bool:
        return record.machine == self._machine and record.origin == MEASURED

    def _retimed(
        self, bench: Bench, records: Iterable[Record]
    ) -> tuple[dict[Schedule, tuple[float, ...] | Failure], tuple[float, ...]]:
        """Samples of each record, or why there are none, and those of the default, in turn; the store has them then."""
        latest = {record.schedule: record for record in records}
        schedules = list(dict.fromkeys([self._default, *latest]))
        is_slow = any(record.latency_s is not None and record.latency_s >= SLOW_S for record in latest.values())
        found = dict(zip(schedules, bench.retime(schedules, FEW_ROUNDS if is_slow else ROUNDS), strict=True))
        default = found[self._default]
        default_s = () if isinstance(default, Failure) else default
        for schedule, result in found.items():
            # Where the default fails too it is not their fault.
            if default_s or not isinstance(result, Failure):
                self._put(schedule, result, default_s, latest.get(schedule))
        self.timed.update(found)
        return found, default_s

    def _put(
        self,
        schedule: Schedule,
        result: tuple[float, ...] | Failure,
        default_s: tuple[float, ...],
        before: Record | None,
    ) -> None:
        measurements: tuple[Measurement, ...] = ()
        failed = None
        if isinstance(result, Failure):
            failed = FailedTrial(failure=result, tools=tools(self._machine), date=utc_now())
        else:
            accuracies = (
                accuracy_of(self._task.workload, schedule.algorithm),
                *(() if before is None else (before.accuracy,)),
            )
            measurement = Measurement(
                samples_s=result,
                baseline_s=default_s,
                verified=True,
                accuracy=max(accuracies, key=ACCURACY_CLASSES.index),
                origin=MEASURED,
                tools=tools(self._machine),
                effort=before.last.effort if before is not None and before.last is not None else None,
                date=utc_now(),
            )
            measurements = (measurement,)
        self._store.put(
            Record(
                task=self._task, schedule=schedule, machine=self._machine, protocol=self.protocol,
                measurements=measurements, failed=failed,
            )
        )  # fmt: skip

    def _slower(self, record: Record, samples: tuple[float, ...], default_s: tuple[float, ...]) -> str | None:
        """Why a record got slower than it is allowed to, surely; None where it did not."""
        most = 1 + self._tolerance
        before = _speedup(record)
        if record.schedule == self._default:
            return None
        if not default_s or before is None:
            assert record.latency_s is not None
            latency_s = statistics.median(samples)
            slower = median_interval(samples).low > most * record.latency_s
            return f"took {record.latency_s:.3g} s, takes {latency_s:.3g} s" if slower else None
        ratios = ratios_in_turn(samples, default_s)
        at_best = median_interval(ratios).high
        if at_best * most >= before and at_best * most >= 1:
            return None
        return f"was {before:.2f} times as fast as the default, is {statistics.median(ratios):.2f} times"

    def _judged(self, bench: Bench, record: Record, reason: str) -> Rechecked:
        """Times a record that got slower in turn with the next best, to see whether one of them is faster now."""
        here = self._store.records(self._task, self._machine, self.protocol)
        others = [each for each in here if self._is_timed_here(each) and each.counted]
        others = sorted((each for each in others if each.schedule != record.schedule), key=_order)[: FINALISTS - 1]
        begin = utc_now()
        results, default_s = self._retimed(bench, (record, *others))
        timed = {schedule: statistics.median(r) for schedule, r in results.items() if not isinstance(r, Failure)}
        result = results[record.schedule]
        if isinstance(result, Failure):
            return self._said(record, FAILED, reason=f"{result.kind}: {' '.join(result.detail.split())}")
        for other in others:
            samples = results[other.schedule]
            if not isinstance(samples, Failure) and (also := self._slower(other, samples, default_s)):
                self._slow(other, also, None, begin)
        best_s = min(timed.values())
        if timed[record.schedule] <= best_s:
            self._slow(record, reason, None, begin)
            return self._said(record, SLOWER, result, default_s, reason)
        needs = statistics.median(default_s) / best_s if default_s else 1.0
        before = _speedup(record)
        if before is not None:
            needs = min(needs, before / (1 + self._tolerance))
        self._slow(record, reason, needs, utc_now())
        return self._said(record, QUARANTINED, result, default_s, reason)

    def _slow(self, record: Record, reason: str, needs: float | None, date: str) -> None:
        slowed = Slowdown(reason=reason, needs=needs, date=date)
        self._store.put(attrs.evolve(self._now(record), slowed=slowed))

    def _now(self, record: Record) -> Record:
        now = self._store.get(self._task, record.schedule, self._machine, self.protocol)
        assert now is not None
        return now

    def _said(
        self,
        record: Record,
        verdict: str,
        samples: tuple[float, ...] = (),
        default_s: tuple[float, ...] = (),
        reason: str = "",
    ) -> Rechecked:
        latency_s = statistics.median(samples) if samples else None
        return Rechecked(
            task=self._task,
            schedule=record.schedule,
            verdict=verdict,
            before_s=record.latency_s,
            before_speedup=_speedup(record),
            latency_s=latency_s,
            speedup=speedup_of(samples, default_s),
            reason=reason,
        )


def _order(record: Record) -> float:
    return math.inf if record.latency_s is None else record.latency_s


def _speedup(record: Record) -> float | None:
    """Times the default's speed in the last session that counts in which both were timed; None where there is none."""
    for measurement in reversed(record.counted):
        if measurement.baseline_s:
            return speedup_of(measurement.samples_s, measurement.baseline_s)
    return None
