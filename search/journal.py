"""The tuner's hand on the store: what is known of a task's schedules here, and what every trial adds to it."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..spec.claim import Effort, Failure
from ..spec.rename import schedule_digest
from ..spec.tolerance import accuracy_of
from ..store.recent import best_of, everything, reduced
from ..store.records import CLAIMED, MEASURED, FailedTrial, Measurement, Record, SearchState, utc_now
from ..store.store import DEFAULT_ALLOW
from ..store.tools import compilers, tools
from .budget import IMPROVEMENT, is_settled
from .rule import SPACE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..spec.claim import Machine, Protocol
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from ..store.recent import Counts
    from ..store.store import Store
    from .budget import Budget
    from .strategy import Outcome


class Journal:
    """All trials of one task on one machine under one protocol: those of before, and those of this session.

    A time counts whatever tools it was taken with. A failure counts only with the tools it was seen with: another
    compiler may do what that one could not, so the schedule is as good as untried until it is proposed again. Schedules
    of accuracy classes that are not in `allow` are left out, whoever tried them. Where `counts` is given, nothing else
    that is known counts at all.
    """

    def __init__(
        self,
        task: Task,
        store: Store,
        machine: Machine,
        protocol: Protocol,
        *,
        method: str,
        seed: int,
        space: str = SPACE,
        counts: Counts = everything,
        starts: Sequence[Schedule] = (),
        allow: Collection[str] = DEFAULT_ALLOW,
    ) -> None:
        self.exhausted = False
        self.level = 1.0
        """How many times as long the machine takes now as when the first trial was made."""
        self._task = task
        self._store = store
        self._machine = machine
        self._protocol = protocol
        self._method = method
        self._seed = seed
        self._space = space
        self._counts = counts
        self._started_from = tuple(schedule_digest(schedule, task.names) for schedule in dict.fromkeys(starts))
        self._allow = allow
        self._begin = time.monotonic()
        self._before = store.search_state(task, machine, protocol)
        self._finished = 0
        self._settled = 0
        self._tools = tools(machine)
        self._retracted: set[Schedule] = set()
        self._outcomes: dict[Schedule, Outcome] = {}
        self._level_s: dict[Schedule, float] = {}
        self._doubtful: dict[Schedule, float] = {}
        self._claimed: list[Schedule] = []
        for record in sorted(store.records(task, machine, protocol), key=_first_tried):
            if accuracy_of(task.workload, record.schedule.algorithm) not in allow:
                continue
            outcome = self._known(record)
            if outcome is not None:
                self._take(record.schedule, outcome)
            elif any(measurement.origin == CLAIMED for measurement in record.measurements):
                self._claimed.append(record.schedule)

    @property
    def trials(self) -> int:
        """How many schedules were tried, in all."""
        return len(self._outcomes)

    @property
    def best_s(self) -> float | None:
        """The least median of any trial; None where none has a time."""
        return min((outcome for outcome in self._outcomes.values() if isinstance(outcome, float)), default=None)

    @property
    def is_settled(self) -> bool:
        """True where the last trials improved nothing: see `Budget.early_stopping`."""
        best_s, improved_at = math.inf, 0
        for number, outcome in enumerate(self._outcomes.values(), start=1):
            if isinstance(outcome, float) and outcome <= (1 - IMPROVEMENT) * best_s:
                best_s, improved_at = outcome, number
        return is_settled(improved_at, self.trials)

    def claimed(self) -> list[Schedule]:
        """Schedules that others claim to be fast, not timed here yet."""
        return [schedule for schedule in self._claimed if schedule not in self._outcomes]

    def outcome(self, schedule: Schedule) -> Outcome | None:
        """What came of a schedule when it was first tried; None where it was not.

        Also where another tuner has tried it meanwhile.
        """
        if schedule not in self._outcomes:
            record = self._store.get(self._task, schedule, self._machine, self._protocol)
            outcome = None if record is None else self._known(record)
            if outcome is None:
                return None
            self._take(schedule, outcome)
        return self._outcomes[schedule]

    def level_s(self, schedule: Schedule) -> float | None:
        """The median of a schedule's last trial, as if the machine had not changed since the first; None of others."""
        return self._level_s.get(schedule)

    def fastest(self, count: int, *, without: Sequence[Schedule] = (), below_s: float = math.inf) -> list[Schedule]:
        """The schedules with the least `level_s`, fastest first; those `below_s` that are not in `without`."""
        timed = [s for s, level_s in self._level_s.items() if level_s < below_s and s not in without]
        return sorted(timed, key=self._level_s.__getitem__)[:count]

    def doubtful(self, count: int, *, without: Sequence[Schedule], below_s: float) -> list[Schedule]:
        """Schedules whose last trial was disturbed and that may take less than `below_s`; the most promising first.

        Of this session's trials: the store does not keep how disturbed the machine was.
        """
        timed = [s for s, quiet_s in self._doubtful.items() if quiet_s < below_s and s not in without]
        return sorted(timed, key=self._doubtful.__getitem__)[:count]

    def put(
        self,
        schedule: Schedule,
        result: tuple[float, ...] | Failure,
        baseline_s: tuple[float, ...] = (),
        level: float = 1.0,
    ) -> Outcome:
        """Stores what came of a trial, or of a final where there is a baseline; the median, or the failure.

        `level` is how many times as slow the machine seemed meanwhile.
        """
        if isinstance(result, Failure):
            record = self._record(schedule, failed=FailedTrial(failure=result, tools=self._tools, date=utc_now()))
            outcome: Outcome = result
        else:
            measurement = Measurement(
                samples_s=result,
                baseline_s=baseline_s,
                verified=True,
                accuracy=accuracy_of(self._task.workload, schedule.algorithm),
                origin=MEASURED,
                tools=self._tools,
                effort=self._effort(),
                date=utc_now(),
            )
            record = self._record(schedule, measurements=(measurement,))
            outcome = statistics.median(result)
        self._store.put(record)
        if isinstance(outcome, Failure) or schedule not in self._outcomes:
            self._take(schedule, outcome)
        elif not baseline_s:  # what a strategy was told first stays, and a final is compared with finals alone
            self._level_s[schedule] = outcome / self.level
        self._doubtful.pop(schedule, None)
        if isinstance(outcome, float) and not baseline_s and level > 1:
            self._doubtful[schedule] = outcome / max(self.level, level)
        return outcome

    def _take(self, schedule: Schedule, outcome: Outcome) -> None:
        """Notes what came of a schedule when it was first tried, or that it failed after all."""
        self._outcomes[schedule] = outcome
        if isinstance(outcome, Failure):
            self._level_s.pop(schedule, None)
        else:
            self._level_s[schedule] = outcome / self.level

    def retract(self, schedules: Sequence[Schedule]) -> None:
        """Stores that the outputs of these, which had agreed with one another, were found wrong after all."""
        for schedule in schedules:
            if schedule not in self._retracted:
                self._retracted.add(schedule)
                self.put(schedule, Failure(kind="wrong_answer", detail="it agreed with an output that was wrong"))

    def best(self) -> Record | None:
        """The best record as a lookup finds it, or of what counts."""
        if self._counts is everything:
            return self._store.best(self._task, self._machine, self._protocol, allow=self._allow)
        records = self._store.records(self._task, self._machine, self._protocol)
        return best_of(filter(None, (reduced(record, self._counts) for record in records)), self._allow)

    def failures(self) -> tuple[tuple[str, int], ...]:
        """How many trials failed, by kind."""
        counts = Counter(o.kind for o in self._outcomes.values() if isinstance(o, Failure))
        return tuple(sorted(counts.items()))

    def reached(self, budget: Budget) -> None:
        """Notes that a search within `budget` is done, if it is: time that ran out does not end it."""
        if self.trials >= budget.trials or self.exhausted:
            self._finished = budget.trials
        elif budget.early_stopping and self.is_settled:
            self._settled = self.trials

    def close(self) -> SearchState:
        """Notes how far the search came; in the store too, unless nothing was tried yet."""
        state = SearchState(
            strategy=self._method,
            trials=self.trials,
            finished=self._finished,
            settled=self._settled,
            exhausted=self.exhausted,
            seconds=self._seconds(),
            space=self._space,
            date=utc_now(),
        )
        if not self._outcomes and not self.exhausted:
            return state
        return self._store.finish_search(self._task, state, self._machine, self._protocol)

    def _known(self, record: Record) -> Outcome | None:
        """What a record says of its schedule; None also where that is a failure seen with other tools."""
        counted = reduced(record, self._counts)
        if counted is None:
            return None
        if counted.failed is not None and counted.failure is not None:
            same = compilers(counted.failed.tools) == compilers(self._tools)
            return first_outcome(counted) if same else None
        return first_outcome(counted)

    def _seconds(self) -> float:
        before_s = self._before.seconds if self._before is not None else 0.0
        return before_s + time.monotonic() - self._begin

    def _effort(self) -> Effort:
        return Effort(
            strategy=self._method,
            trials=self.trials,
            seconds=self._seconds(),
            seed=self._seed,
            exhausted=self.exhausted,
            started_from=self._started_from,
        )

    def _record(
        self, schedule: Schedule, *, measurements: tuple[Measurement, ...] = (), failed: FailedTrial | None = None
    ) -> Record:
        return Record(
            task=self._task,
            schedule=schedule,
            machine=self._machine,
            protocol=self._protocol,
            measurements=measurements,
            failed=failed,
        )


def _first_tried(record: Record) -> str:
    """The date of a record's first trial."""
    dates = [measurement.date for measurement in record.measurements]
    return min(dates) if dates else record.failed.date if record.failed is not None else ""


def first_outcome(record: Record) -> Outcome | None:
    """What came of a record's schedule when it was first tried here; None of one that is to be tried yet.

    The first time, not all of them: a strategy that is told the same again proposes the same again. Noise says nothing
    of a schedule: it is tried again.
    """
    if record.failure is not None:
        return None if record.failure.kind == "noise" else record.failure
    here = [measurement for measurement in record.measurements if measurement.origin == MEASURED]
    return statistics.median(here[0].samples_s) if here else None
