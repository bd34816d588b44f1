"""The space of schedules of a task on a machine, made by rules from the workload and the hardware.

A point is a sketch (which algorithm, and which layout each reduction takes) and a choice for every knob of that sketch.
The space can be counted, sampled, enumerated, and has neighbours; what it yields passes the checks.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..spec.algorithm import Algorithm
from ..spec.check import check_rewritten, check_schedule
from ..spec.check_algorithm import check_algorithm
from ..spec.errors import SpecError
from ..spec.nest import Plan
from ..spec.rewrite import apply_staging
from ..spec.schedule import Schedule
from ..spec.task import Task
from .analytic import StageCost, call_costs
from .assemble import StageChoice, assemble
from .digits import digit_stagings
from .hardware import Hardware, hardware_from_machine
from .knobs import Knob, KnobValue
from .layouts import Layout, most_promising
from .rule import Reduction, Rule, space_name
from .rules import RULES, ruled_knobs, ruled_layouts
from .standard import standard_indices
from .tiling import Tile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..spec.claim import Machine
    from ..spec.workload import Stage, Workload
    from ..store.speeds import Speeds

Point: TypeAlias = tuple[int, ...]
"""The number of a sketch, then the index of each knob's value."""

FAR: Final = 4.0
"""A way that is predicted to take so many times as long as another is left for the end of a search."""
MAX_SKETCHES: Final = 64
"""Of one way to compute the task. Where there would be more, a search looks at `PROMISING` of them: at each often."""
PROMISING: Final = 32
FEW: Final = 2
"""Layouts of another reduction than that with most of the work, where there are too many."""
MINOR: Final = 0.1
"""A reduction with less than this part of another's steps does not decide how long the task takes."""
_TILE = frozenset(("tile", "inline_producers", "together", *(field.name for field in attrs.fields(Tile))))
"""Knobs that say how a reduction is tiled; others are for the rules that made them."""


@attrs.frozen(kw_only=True)
class Sketch:
    """One structure: a layout for each reduction (None: plain loops) and the knobs that are left.

    `task` is what is scheduled: the task of the space, or that of an algorithm's workload.
    """

    task: Task
    algorithm: Algorithm | None = None
    layouts: tuple[tuple[str, Layout | None], ...]
    knobs: tuple[Knob, ...]
    standard: tuple[int, ...]
    """The index of each knob's value in the point by which the sketch is known at first."""

    @property
    def text(self) -> str:
        """A short description for people."""
        said = [] if self.algorithm is None else [f"by {self.algorithm.name}"]
        return "; ".join(
            [*said, *(f"{stage}: {layout.text if layout else 'plain loops'}" for stage, layout in self.layouts)]
        )

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(len(knob.values) for knob in self.knobs)


@attrs.frozen(kw_only=True, eq=False)
class Candidate:
    """A point of a space with its schedule, its checked plan, and what is predicted: of each stage, and in all."""

    point: Point
    schedule: Schedule
    plan: Plan
    costs: tuple[StageCost, ...]
    predicted_s: float


def candidate_from_plan(point: Point, schedule: Schedule, plan: Plan, hardware: Hardware) -> Candidate:
    """The candidate of a checked plan, with its prediction."""
    costs = call_costs(plan, hardware)
    predicted_s = sum(cost.seconds for cost in costs)
    return Candidate(point=point, schedule=schedule, plan=plan, costs=costs, predicted_s=predicted_s)


class Space:
    """The schedules of `task` that `rules` make for `machine`: of its own workload, then of each of `algorithms`.

    Deterministic. With `speeds`, what was measured of the machine, times are predicted from them. SpecError for an
    algorithm that does not fit the task.
    """

    def __init__(
        self,
        task: Task,
        machine: Machine,
        rules: Sequence[Rule] = RULES,
        speeds: Speeds | None = None,
        algorithms: Sequence[Algorithm] = (),
    ) -> None:
        for algorithm in algorithms:
            check_algorithm(algorithm, task.workload, {known.buffer: (known.low, known.high) for known in task.ranges})
        self.task = task
        self.algorithms = tuple(algorithms)
        self._machine = machine
        self._speeds = speeds
        self.rules = tuple(rules)
        self.name = space_name(self.rules, [algorithm.name for algorithm in algorithms])
        self.hardware: Hardware = hardware_from_machine(machine, task.threads, speeds)
        self._cache: dict[Point, Candidate | None] = {}

    def for_task(self, task: Task, algorithms: Sequence[Algorithm] = ()) -> Space:
        """The space that the same rules make of another task, for the same machine."""
        return Space(task, self._machine, self.rules, self._speeds, algorithms)

    @cached_property
    def sketches(self) -> tuple[Sketch, ...]:
        """Every structure: way by way, the first of each reduction's layouts first."""
        return tuple(sketch for way in (None, *self.algorithms) for sketch in self._sketches_of(way))

    @cached_property
    def ways(self) -> tuple[range, ...]:
        """The numbers of the sketches of each way to compute the task: by its own workload, by each algorithm."""
        counts = [sum(sketch.algorithm is way for sketch in self.sketches) for way in (None, *self.algorithms)]
        ends = list(itertools.accumulate(counts))
        return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))

    @cached_property
    def _least_s(self) -> Mapping[range, float]:
        """The least predicted time of the standard points of each way, or of points drawn where none is legal."""
        return {
            way: self._least_of(map(self.standard_point, way))
            or self._least_of(self.drawn(random.Random(number), number) for number in way)
            or math.inf
            for way in self.ways
        }

    def _least_of(self, points: Iterable[Point]) -> float | None:
        """The least predicted time of some points; None where none is legal."""
        return min((each.predicted_s for each in map(self.candidate, points) if each is not None), default=None)

    def near(self, ways: Sequence[range]) -> tuple[range, ...]:
        """Those of some ways that are worth looking at closer: not far behind the best of them by a first guess."""
        if len(ways) == 1:
            return tuple(ways)
        best_s = min(self._least_s[way] for way in ways)
        return tuple(way for way in ways if self._least_s[way] <= FAR * best_s)

    def _sketches_of(self, algorithm: Algorithm | None) -> tuple[Sketch, ...]:
        task = self.task if algorithm is None else attrs.evolve(self.task, workload=algorithm.workload, op=None)
        cut = functools.reduce(apply_staging, digit_stagings(task.workload), task.workload)
        reductions = {
            stage.name: Reduction(task=task, stage=stage, hardware=self.hardware)
            for stage in cut.stages
            if stage.reducer is not None
        }
        options = {name: ruled_layouts(self.rules, each) or (None,) for name, each in reductions.items()}
        combined = _combined(options, [each.stage for each in reductions.values()])
        return tuple(self._sketch(task, algorithm, layouts, reductions) for layouts in combined)

    def _sketch(
        self,
        task: Task,
        algorithm: Algorithm | None,
        layouts: tuple[tuple[str, Layout | None], ...],
        reductions: Mapping[str, Reduction],
    ) -> Sketch:
        knobs: list[Knob] = []
        standard: list[int] = []
        for name, layout in layouts:
            found = ruled_knobs(self.rules, reductions[name], layout)
            knobs += [attrs.evolve(knob, name=f"{name}/{knob.name}") for knob in found]
            standard += standard_indices(reductions[name].stage, layout, found, self.hardware)
        return Sketch(task=task, algorithm=algorithm, layouts=layouts, knobs=tuple(knobs), standard=tuple(standard))

    @cached_property
    def size(self) -> int:
        """Number of points; different points may give the same schedule."""
        return self.size_of(range(len(self.sketches)))

    def size_of(self, numbers: range) -> int:
        """Number of points of some sketches."""
        return sum(self.sketches[number].size for number in numbers)

    def candidate(self, point: Point) -> Candidate | None:
        """The candidate of a point; None where the knobs' values do not go together."""
        if point not in self._cache:
            self._cache[point] = self._made(point)
        return self._cache[point]

    def _made(self, point: Point) -> Candidate | None:
        sketch = self.sketches[point[0]]
        try:
            schedule, rewritten = self._assembled(point)
            ruled = self._ruled(schedule, point)
            unchanged = ruled is schedule
            plan = (
                check_rewritten(schedule, rewritten, sketch.task) if unchanged else check_schedule(ruled, sketch.task)
            )
        except SpecError:
            return None
        return candidate_from_plan(point, _by(sketch.algorithm, ruled), plan, self.hardware)

    def unchecked(self, point: Point) -> Schedule | None:
        """The schedule of a point before any check, which takes most of the time; None where none can be made."""
        try:
            return _by(self.sketches[point[0]].algorithm, self._ruled(self._assembled(point)[0], point))
        except SpecError:
            return None

    def values(self, point: Point) -> dict[str, KnobValue]:
        """The value that a point gives each knob, by name."""
        knobs = self.sketches[point[0]].knobs
        return {knob.name: knob.values[i] for knob, i in zip(knobs, point[1:], strict=True)}

    def _assembled(self, point: Point) -> tuple[Schedule, Workload]:
        """The schedule of a point without the rules' own changes, and the workload as its stagings leave it.

        Of the sketch's task: an algorithm is not mentioned yet, and rules do not see one.
        """
        sketch = self.sketches[point[0]]
        tiles = {name: value for name, value in self.values(point).items() if name.rpartition("/")[2] in _TILE}
        choices: Mapping[str, StageChoice] = {
            stage: StageChoice.from_knobs(layout, stage, tiles) for stage, layout in sketch.layouts
        }
        return assemble(sketch.task, choices, self.hardware)

    def _ruled(self, schedule: Schedule, point: Point) -> Schedule:
        task, values = self.sketches[point[0]].task, self.values(point)
        for rule in self.rules:
            schedule = rule.schedule(task, values, schedule)
        return schedule

    def standard_point(self, number: int) -> Point:
        """The point of a sketch by which it is known at first."""
        return (number, *self.sketches[number].standard)

    def drawn(self, rng: random.Random, number: int) -> Point:
        """A point of a sketch, drawn uniformly among each knob's values."""
        return (number, *(rng.randrange(len(knob.values)) for knob in self.sketches[number].knobs))

    def sample(self, rng: random.Random, way: range | None = None) -> Point:
        """A point drawn uniformly among near ways, or in one way: among its sketches, then among each knob's values."""
        if way is None:
            way = rng.choice(self.near(self.ways)) if self.algorithms else self.ways[0]
        return self.drawn(rng, way.start + rng.randrange(len(way)))

    def sampled(self, count: int, rng: random.Random) -> tuple[Point, ...]:
        """Up to `count` points drawn uniformly among all, each once."""
        return tuple(map(self.point_at, rng.sample(range(self.size), min(count, self.size))))

    def points(self) -> Iterator[Point]:
        """Every point, in order."""
        return self.points_of(range(len(self.sketches)))

    def points_of(self, numbers: range) -> Iterator[Point]:
        """Every point of some sketches, in order."""
        for number in numbers:
            sketch = self.sketches[number]
            for rank in range(sketch.size):
                yield _ranked(number, sketch, rank)

    def point_at(self, rank: int) -> Point:
        """The point with a rank, from 0, in the order of `points`."""
        for number, sketch in enumerate(self.sketches):
            if rank < sketch.size:
                return _ranked(number, sketch, rank)
            rank -= sketch.size
        raise IndexError(f"the space has {self.size} points")

    def neighbours(self, point: Point) -> Iterator[Point]:
        """Points that differ in one knob by one step, then by more."""
        sketch = self.sketches[point[0]]
        for reach in (1, 2):
            for place, knob in enumerate(sketch.knobs, start=1):
                for step in (-reach, reach):
                    index = point[place] + step
                    if 0 <= index < len(knob.values):
                        yield (*point[:place], index, *point[place + 1 :])

    def mutated(self, point: Point, rng: random.Random) -> Point:
        """The point with one or two knobs drawn anew, rarely another sketch."""
        if rng.random() < 0.05 or not self.sketches[point[0]].knobs:
            return self.sample(rng)
        changed = list(point)
        for _ in range(rng.choice((1, 1, 2))):
            place = rng.randrange(1, len(point))
            size = len(self.sketches[point[0]].knobs[place - 1].values)
            if rng.random() < 0.5:
                changed[place] = min(size - 1, max(0, changed[place] + rng.choice((-1, 1))))
            else:
                changed[place] = rng.randrange(size)
        return tuple(changed)

    def crossed(self, first: Point, second: Point, rng: random.Random) -> Point:
        """Knobs from either of two points of one sketch; the first where sketches differ."""
        if first[0] != second[0]:
            return first
        return (first[0], *(rng.choice(pair) for pair in zip(first[1:], second[1:], strict=True)))


def _combined(
    options: Mapping[str, Sequence[Layout | None]], stages: Sequence[Stage]
) -> list[tuple[tuple[str, Layout | None], ...]]:
    """A layout for each reduction in every way, the last one's varying fastest.

    Where these are too many, the most promising: all those of the reduction with most of the work, with the first of
    each other, then with their second.
    """
    if math.prod(map(len, options.values())) <= MAX_SKETCHES:
        return _products(options)
    largest = max(stages, key=lambda stage: stage.points)
    most = {stage.name: FEW if stage.points >= MINOR * largest.points else 1 for stage in stages}
    most[largest.name] = PROMISING
    few = {stage.name: most_promising(options[stage.name], stage)[: most[stage.name]] for stage in stages}
    ways = sorted(
        _products(few), key=lambda way: sum(few[name].index(layout) for name, layout in way if name != largest.name)
    )
    return ways[:PROMISING]


def _products(options: Mapping[str, Sequence[Layout | None]]) -> list[tuple[tuple[str, Layout | None], ...]]:
    return list(itertools.product(*([(name, layout) for layout in found] for name, found in options.items())))


def _by(algorithm: Algorithm | None, schedule: Schedule) -> Schedule:
    return schedule if algorithm is None else attrs.evolve(schedule, algorithm=algorithm)


def _ranked(number: int, sketch: Sketch, rank: int) -> Point:
    """The point of a sketch with a rank among its points: the last knob counts fastest."""
    indices = []
    for knob in reversed(sketch.knobs):
        rank, index = divmod(rank, len(knob.values))
        indices.append(index)
    return (number, *reversed(indices))
