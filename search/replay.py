"""Searches without hardware: a recording stands in for the space, and for the machine that measures.

    recording = read_recording("gemm.space")
    found = replay(recording, trials=64, method="evolutionary", seed=1)
    found.best_s / found.least_s    # 1.0: the search came to the best that was recorded

A strategy sees the recorded candidates alone: any other point of the space stands for the recorded one nearest to it.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

import attrs

from ..spec.check import check_schedule
from ..spec.claim import Failure
from ..spec.errors import SpecError
from .analytic import predict_s
from .default import default_candidate
from .measure import Measurement, unknown
from .methods import strategy_named
from .recording import TimedTrial
from .space import Candidate, Space

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..spec.claim import Protocol
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .methods import Method
    from .recording import Recording, Trial
    from .space import Point
    from .strategy import Outcome


class RecordedSpace(Space):
    """The candidates of a recording, with the moves of the space that they were drawn from."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.heading.task, recording.heading.machine)
        self._trials = {trial.point: trial for trial in recording.trials}
        self._seen: dict[Point, Candidate] = {}
        for point in self._trials:
            knobs = self.sketches[point[0]].knobs if point and 0 <= point[0] < len(self.sketches) else None
            fits = knobs is not None and len(point) == len(knobs) + 1
            if point and not (
                fits and all(0 <= i < len(k.values) for i, k in zip(point[1:], knobs or (), strict=True))
            ):
                raise SpecError(f"point {point} is none of this space; it was recorded with other rules: record again")

    @property
    def size(self) -> int:
        """Number of recorded candidates."""
        return len(self._trials)

    def candidate(self, point: Point) -> Candidate | None:
        """The recorded candidate nearest to a point; None where no other of its sketch was recorded."""
        near = self._nearest(point)
        if near is None:
            return None
        if near not in self._seen:
            schedule = self._trials[near].schedule
            plan = check_schedule(schedule, self.task)
            self._seen[near] = Candidate(
                point=near, schedule=schedule, plan=plan, predicted_s=predict_s(plan, self.hardware)
            )
        return self._seen[near]

    def sample(self, rng: random.Random) -> Point:
        """A recorded point, each as likely."""
        return rng.choice(list(self._trials))

    def points(self) -> Iterator[Point]:
        """Every recorded point, in order."""
        return iter(sorted(self._trials))

    def point_at(self, rank: int) -> Point:
        """The recorded point with a rank, from 0."""
        return sorted(self._trials)[rank]

    def _nearest(self, point: Point) -> Point | None:
        if point in self._trials:
            return point
        others = (other for other in self._trials if other[:1] == point[:1])
        return min(others, key=lambda other: (_distance(point, other), other), default=None)


def _distance(point: Point, other: Point) -> int:
    return sum(abs(a - b) for a, b in zip(point, other, strict=True))


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


def replay(recording: Recording, *, trials: int, method: Method = "auto", seed: int = 0, batch: int = 8) -> Replayed:
    """Lets a strategy search a recording as the tuner does: the default first, then what it proposes.

    SpecError for an unknown method, or a recording in which nothing ran.
    """
    medians = [statistics.median(trial.samples_s) for trial in recording.trials if isinstance(trial, TimedTrial)]
    if not medians:
        raise SpecError("nothing in the recording ran; record again")
    space, bench = RecordedSpace(recording), Replay(recording)
    strategy = strategy_named(method, space, seed)
    found: list[float | None] = []
    waiting = [default_candidate(space)]
    while waiting and len(found) < trials:
        for candidate in waiting[: trials - len(found)]:
            ((_, result),) = bench.measure([candidate.schedule])
            outcome: Outcome = result if isinstance(result, Failure) else result.median_s
            strategy.learn(candidate, outcome)
            best = found[-1] if found else None
            timed = [seconds for seconds in (best, outcome) if isinstance(seconds, float)]
            found.append(min(timed, default=None))
        waiting = strategy.propose(batch)
    return Replayed(best_after_s=tuple(found), least_s=min(medians), spent_s=bench.busy_s)
