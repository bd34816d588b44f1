"""Searches without hardware: a recording stands in for the space, and for the machine that measures.

    recording = read_recording("gemm.space")
    found = replay(recording, trials=64, method="evolutionary", seed=1)
    found.best_s / found.least_s    # 1.0: the search came to the best that was recorded

A strategy sees the recorded candidates alone: any other point of the space stands for the recorded one nearest to it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np

from ..spec.check import check_schedule
from ..spec.claim import Failure
from ..spec.errors import SpecError
from .measure import Measurement, unknown
from .methods import strategy_named
from .recording import TimedTrial, outcome_of
from .space import Space, candidate_from_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ..spec.claim import Protocol
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .history import PastTask
    from .methods import Method
    from .recording import Recording, Trial
    from .space import Candidate, Point
    from .strategy import Outcome

    IntArray: TypeAlias = NDArray[np.int64]


class RecordedSpace(Space):
    """The candidates of a recording, with the moves of the space that they were drawn from.

    All of them are made at once; one space serves any number of replays. SpecError where other rules recorded it.
    """

    def __init__(self, recording: Recording) -> None:
        heading = recording.heading
        super().__init__(heading.task, heading.machine, algorithms=heading.algorithms)
        self._recorded: dict[Point, Candidate] = {}
        for trial in recording.trials:
            self._check_point(trial.point)
            plan = check_schedule(trial.schedule, self.task)
            made = candidate_from_plan(trial.point, trial.schedule, plan, self.hardware)
            self._recorded[trial.point] = made
        self._sorted = sorted(self._recorded)
        self._of_sketch = {number: self._places(number) for number in {point[:1] for point in self._recorded}}
        self._near: dict[Point, Point | None] = {}
        self.default = next(iter(self._recorded.values()))
        """The candidate that was measured first: the default of the task."""

    def _check_point(self, point: Point) -> None:
        if not point:
            return
        sizes = [len(self.sketches)]
        if 0 <= point[0] < len(self.sketches):
            sizes += [len(knob.values) for knob in self.sketches[point[0]].knobs]
        if len(point) != len(sizes) or not all(0 <= i < n for i, n in zip(point, sizes, strict=True)):
            raise SpecError(f"point {point} is none of this space; it was recorded with other rules: record again")

    def _places(self, sketch: Point) -> tuple[list[Point], IntArray]:
        points = [point for point in self._sorted if point[:1] == sketch]
        return points, np.array(points, dtype=np.int64)

    def size_of(self, numbers: range) -> int:
        """Number of recorded candidates of some sketches."""
        return len([*self.points_of(numbers)])

    def candidate(self, point: Point) -> Candidate | None:
        """The recorded candidate nearest to a point; None where no other of its sketch was recorded."""
        near = self._nearest(point)
        return None if near is None else self._recorded[near]

    def points_of(self, numbers: range) -> Iterator[Point]:
        """Every recorded point of some sketches, in order; plain loops are of all."""
        return (point for point in self._sorted if not point or point[0] in numbers)

    def point_at(self, rank: int) -> Point:
        """The recorded point with a rank, from 0."""
        return self._sorted[rank]

    def _nearest(self, point: Point) -> Point | None:
        """The recorded point of the same sketch with the least sum of steps from `point`, the first of equals."""
        if point in self._recorded:
            return point
        if point not in self._near:
            points, places = self._of_sketch.get(point[:1], ([], None))
            near = None if places is None else points[int(np.abs(places - point).sum(axis=1).argmin())]
            self._near[point] = near
        return self._near[point]


class Replay:
    """A bench that gives back what was recorded, and counts the seconds that measuring it took."""

    def __init__(self, recording: Recording) -> None:
        self._trials: dict[Schedule, Trial] = {trial.schedule: trial for trial in recording.trials}
        self.retracted: tuple[Schedule, ...] = ()
        self.busy_s = 0.0
        """Recorded wall seconds of building and running, of all that was measured."""

    def __call__(self, task: Task, protocol: Protocol) -> Replay:  # noqa: ARG002 # opens as a measurer does
        return self

    def __enter__(self) -> Replay:  # noqa: PYI034 # Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = unknown
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        """Each schedule with what was recorded of it; without those that are known."""
        for schedule in schedules:
            if is_known(schedule):
                continue
            trial = self._trial(schedule)
            if isinstance(trial, TimedTrial):
                self.busy_s += trial.build_s + trial.run_s
                found = Measurement(samples_s=trial.samples_s, build_s=trial.build_s, run_s=trial.run_s)
                yield schedule, found
            else:
                yield schedule, trial.failure

    def ready(self) -> None:
        """It always is."""

    def retime(
        self,
        schedules: Sequence[Schedule],
        rounds: int,
        *,
        least: int | None = None,  # noqa: ARG002 # nothing is saved by fewer
    ) -> list[tuple[float, ...] | Failure]:
        """`rounds` of the recorded samples of each, over and over."""
        found: list[tuple[float, ...] | Failure] = []
        for schedule in schedules:
            trial = self._trial(schedule)
            if isinstance(trial, TimedTrial):
                found.append(tuple(itertools.islice(itertools.cycle(trial.samples_s), rounds)))
            else:
                found.append(trial.failure)
        return found

    def _trial(self, schedule: Schedule) -> Trial:
        if schedule not in self._trials:
            raise SpecError("a schedule that was not recorded is to be measured; search the recorded space")
        return self._trials[schedule]


@attrs.frozen(kw_only=True)
class Replayed:
    """What a strategy found in a recording: the best median after each trial, and the least of all recorded."""

    best_after_s: tuple[float | None, ...]
    least_s: float
    spent_s: float

    @property
    def best_s(self) -> float | None:
        """The best median found; None where every trial failed."""
        return self.best_after_s[-1] if self.best_after_s else None

    @property
    def regret(self) -> float:
        """How much slower than the best recorded one what was found is: 0.0 is not at all; infinite for nothing."""
        return float("inf") if self.best_s is None else self.best_s / self.least_s - 1


def replay(
    recording: Recording,
    *,
    trials: int,
    method: Method = "auto",
    seed: int = 0,
    batch: int = 8,
    space: RecordedSpace | None = None,
    past: Sequence[PastTask] = (),
) -> Replayed:
    """Lets a strategy search a recording as the tuner does: the default first, then what it proposes.

    `space` is that of the recording, for those who replay it many times; `past` what is known of other tasks.
    SpecError for an unknown method, or a recording in which nothing ran.
    """
    outcomes = {trial.schedule: outcome_of(trial) for trial in recording.trials}
    medians = [outcome for outcome in outcomes.values() if isinstance(outcome, float)]
    if not medians:
        raise SpecError("nothing in the recording ran; record again")
    space, bench = space or RecordedSpace(recording), Replay(recording)
    strategy = strategy_named(method, space, seed, past)
    found: list[float | None] = []
    waiting = [space.default]
    while waiting and len(found) < trials:
        asked = waiting[: trials - len(found)]
        for candidate, (_, result) in zip(asked, bench.measure([c.schedule for c in asked]), strict=True):
            outcome: Outcome = result if isinstance(result, Failure) else result.median_s
            strategy.learn(candidate, outcome)
            best = found[-1] if found else None
            timed = [seconds for seconds in (best, outcome) if isinstance(seconds, float)]
            found.append(min(timed, default=None))
        waiting = strategy.propose(batch) if len(found) < trials else []
    return Replayed(best_after_s=tuple(found), least_s=min(medians), spent_s=bench.busy_s)
