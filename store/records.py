"""What the store keeps: one record for each (task, machine, protocol, schedule), and how far each search came.

Records of the same schedule are united, never overwritten: `united` gives the same record in whatever order they come,
so many writers, imports and merged stores need no coordination. What a record says of itself (its time, whether it
failed, how far it can be trusted) is derived from all that was ever seen of it.
"""

from __future__ import annotations

import math
import statistics
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from ..spec.claim import ACCURACY_CLASSES, Effort, Failure, Machine, Protocol, Tool
from ..spec.errors import SpecError
from ..spec.schedule import Schedule
from ..spec.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

MEASURED: Final = "measured here"
CLAIMED: Final = "claimed"
VERIFIED: Final = "verified"
ORIGINS: Final = (MEASURED, VERIFIED, CLAIMED)
"""Where a record's time comes from: timed here; claimed elsewhere, with numbers found right here; claimed."""


def utc_now() -> str:
    """The date of a measurement: ISO 8601, UTC, to the microsecond, so that later is greater as text."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@attrs.frozen(kw_only=True)
class Measurement:
    """Times of one schedule, taken in one session, beside those of the default schedule in the same session.

    `verified`: the output was compared with the reference first. `origin` is "measured here" or "claimed".
    """

    samples_s: tuple[float, ...]
    baseline_s: tuple[float, ...] = ()
    verified: bool
    accuracy: str
    origin: str
    tools: tuple[Tool, ...] = ()
    effort: Effort | None = None
    date: str

    def __attrs_post_init__(self) -> None:
        if self.accuracy not in ACCURACY_CLASSES:
            raise SpecError(f"unknown accuracy {self.accuracy!r}; allowed: {', '.join(ACCURACY_CLASSES)}", "accuracy")
        if self.origin not in (MEASURED, CLAIMED):
            raise SpecError(f"unknown origin {self.origin!r}; allowed: {MEASURED}, {CLAIMED}", "origin")
        if not self.samples_s:
            raise SpecError("no samples; a trial without a time is a failure", "samples_s")
        for place in ("samples_s", "baseline_s"):
            samples = getattr(self, place)
            # Every lookup comes by here: three passes in C, where the sum shows a nan that min and max let through.
            if samples and not (min(samples) > 0 and max(samples) < 1e9 and not math.isnan(sum(samples))):
                raise SpecError("a sample is not a time in seconds; allowed: greater than 0", place)


@attrs.frozen(kw_only=True)
class FailedTrial:
    """A trial that gave no time: why, by which tools, when."""

    failure: Failure
    tools: tuple[Tool, ...] = ()
    date: str


@attrs.frozen(kw_only=True)
class Comparison:
    """The output was compared with the reference here, and right; nothing was timed."""

    tools: tuple[Tool, ...] = ()
    date: str


@attrs.frozen(kw_only=True)
class Slowdown:
    """What a recheck found: the schedule is slower than it was, so that times taken before `date` no longer count.

    `needs` is how many times as fast as the default it must be in a later session here to be served again: it is in
    quarantine until then. None where it is served, as the fastest that is known still. `reason` is for people.
    """

    reason: str
    needs: float | None = None
    date: str


@attrs.frozen(kw_only=True)
class History:
    """All that happened to one schedule of a task on one machine under one protocol, and what follows from it.

    `measurements` are sorted by date. `failed` is the last failure; it holds until the schedule is verified and timed
    here again, after that date: no claim from elsewhere lifts it. `compared` is the last comparison without a time,
    `slowed` what the last recheck found that found anything.
    """

    measurements: tuple[Measurement, ...] = ()
    failed: FailedTrial | None = None
    compared: Comparison | None = attrs.field(default=None, metadata={"since": 2})
    slowed: Slowdown | None = attrs.field(default=None, metadata={"since": 2})

    @property
    def failure(self) -> Failure | None:
        """Why the schedule is not to be used; None where it may be."""
        if self.failed is None:
            return None
        lifted = any(m.origin == MEASURED and m.verified and m.date > self.failed.date for m in self.measurements)
        return None if lifted else self.failed.failure

    @property
    def quarantine(self) -> str | None:
        """Why the schedule is not served though it works: it got slower. None where it may be.

        Lifted by a later session here, in turn with the default, in which it was as fast as it needs to be.
        """
        if self.slowed is None or self.slowed.needs is None:
            return None
        lifted = any(
            m.origin == MEASURED
            and m.baseline_s
            and m.date > self.slowed.date
            and statistics.median(m.baseline_s) >= self.slowed.needs * statistics.median(m.samples_s)
            for m in self.measurements
        )
        return None if lifted else self.slowed.reason

    @property
    def current(self) -> tuple[Measurement, ...]:
        """The measurements that a recheck has not made worthless."""
        if self.slowed is None:
            return self.measurements
        return tuple(m for m in self.measurements if m.date >= self.slowed.date)

    @property
    def counted(self) -> tuple[Measurement, ...]:
        """The measurements that count: those made here, else the claims; none of a schedule that is not to be used."""
        if self.failure is not None or self.quarantine is not None:
            return ()
        is_timed_here = any(m.origin == MEASURED for m in self.measurements)
        return tuple(m for m in self.current if m.origin == MEASURED) if is_timed_here else self.current

    @property
    def samples(self) -> tuple[float, ...]:
        """The samples that count, in seconds, by date."""
        return tuple(sample for m in self.counted for sample in m.samples_s)

    @property
    def baseline(self) -> tuple[float, ...]:
        """The default schedule's samples in the same sessions."""
        return tuple(sample for m in self.counted for sample in m.baseline_s)

    @property
    def latency_s(self) -> float | None:
        """The median of the samples; None of a schedule that is not to be used."""
        return statistics.median(self.samples) if self.counted else None

    @property
    def origin(self) -> str:
        """One of `ORIGINS`; a failure was always seen here."""
        if self.failed is not None or any(m.origin == MEASURED for m in self.measurements):
            return MEASURED
        return CLAIMED if self.compared is None else VERIFIED

    @property
    def verified(self) -> bool:
        """True where the output was compared with the reference, in some session that counts or here without a time."""
        counted = self.counted
        return any(m.verified for m in counted) or (bool(counted) and self.compared is not None)

    @property
    def accuracy(self) -> str:
        """The loosest accuracy class that a session that counts gives; "exact" of a schedule that fails."""
        return max((m.accuracy for m in self.counted), key=ACCURACY_CLASSES.index, default=ACCURACY_CLASSES[0])

    @property
    def last(self) -> Measurement | None:
        """The latest measurement that counts: its tools, effort and date."""
        return self.counted[-1] if self.counted else None


AnyHistory = TypeVar("AnyHistory", bound=History)
Event = TypeVar("Event", FailedTrial, Comparison, Slowdown)


@attrs.frozen(kw_only=True)
class Record(History):
    """A schedule of a task and its history on a machine under a protocol; the schedule's names are those of `task`."""

    task: Task
    schedule: Schedule
    machine: Machine
    protocol: Protocol


def check_record(record: Record) -> None:
    """Raises SpecError where the parts of a record contradict each other."""
    if not record.measurements and record.failed is None:
        raise SpecError("neither a time nor a failure; give one", "measurements")
    if record.protocol.threads != record.task.threads:
        raise SpecError(
            f"measured with {record.protocol.threads} threads, the task has {record.task.threads}; "
            f"measure with the task's threads",
            "protocol.threads",
        )


def united(ours: AnyHistory, theirs: History) -> AnyHistory:
    """`ours` with the measurements of both, each once, and of all else that can be known once the later."""
    return attrs.evolve(
        ours,
        measurements=sorted_measurements((*ours.measurements, *theirs.measurements)),
        failed=_later(ours.failed, theirs.failed),
        compared=_later(ours.compared, theirs.compared),
        slowed=_later(ours.slowed, theirs.slowed),
    )


def sorted_measurements(measurements: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """Each measurement once, by date, ties by content; a claim of what was measured here is no other measurement."""
    ours = {attrs.evolve(m, origin=CLAIMED) for m in measurements if m.origin == MEASURED}
    kept = dict.fromkeys(m for m in measurements if m.origin == MEASURED or m not in ours)
    return tuple(sorted(kept, key=_measurement_order))


@attrs.frozen(kw_only=True)
class SpaceState:
    """How the searches of one space ended: as `SearchState` says it of the last one."""

    space: str
    settled: int = 0
    exhausted: bool = False


@attrs.frozen(kw_only=True)
class SearchState:
    """How far the search for a task on a machine under a protocol came.

    `trials` were made in all; `finished` is the greatest total that a search was asked for and reached, 0 if none.
    `settled` is the total at which a search that was to go on while it improves ended, 0 if none did.
    `exhausted`: the whole of the space called `space` was tried. `seconds` were spent in all.
    `others` are the other spaces of which a search settled or that were exhausted, sorted by name.
    """

    strategy: str
    trials: int
    finished: int
    settled: int = 0
    exhausted: bool = False
    seconds: float
    space: str = ""
    others: tuple[SpaceState, ...] = ()
    date: str

    def covers(self, trials: int, space: str | None = None, early_stopping: bool = False) -> bool:
        """True where a request for `trials` in all, in `space` or else in the last one, needs no further search.

        `early_stopping`: nor does it where a search ended because nothing improved any more.
        """
        known = _spaces((self,)).get(self.space if space is None else space)
        is_over = known is not None and (known.exhausted or (early_stopping and known.settled > 0))
        return is_over or self.finished >= trials


def further(ours: SearchState, theirs: SearchState) -> SearchState:
    """What two states of one search say together: whatever either reached was reached; the later one names the rest.

    A space is exhausted or settled by searches of its own alone: another has schedules that were not tried.
    """
    later = max(ours, theirs, key=_state_order)
    spaces = _spaces((ours, theirs))
    last = spaces.pop(later.space)
    return attrs.evolve(
        later,
        trials=max(ours.trials, theirs.trials),
        finished=max(ours.finished, theirs.finished),
        settled=last.settled,
        exhausted=last.exhausted,
        seconds=max(ours.seconds, theirs.seconds),
        others=tuple(state for _, state in sorted(spaces.items()) if state.settled or state.exhausted),
    )


def _spaces(states: Iterable[SearchState]) -> dict[str, SpaceState]:
    """All that the states know of each space, by its name."""
    spaces: dict[str, SpaceState] = {}
    for state in states:
        for new in (SpaceState(space=state.space, settled=state.settled, exhausted=state.exhausted), *state.others):
            old = spaces.get(new.space, new)
            spaces[new.space] = SpaceState(
                space=new.space, settled=max(old.settled, new.settled), exhausted=old.exhausted or new.exhausted
            )
    return spaces


def _measurement_order(measurement: Measurement) -> tuple[str, str]:
    return measurement.date, repr(measurement)


def _later(ours: Event | None, theirs: Event | None) -> Event | None:
    events = [event for event in (ours, theirs) if event is not None]
    return max(events, key=lambda event: (event.date, repr(event)), default=None)


def _state_order(state: SearchState) -> tuple[str, str, str]:
    """By what the later state names alone: the rest is united, and would order three states by who comes first."""
    return state.date, state.strategy, state.space
