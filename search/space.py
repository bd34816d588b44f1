"""The space of schedules of a task on a machine, made by rules from the workload and the hardware.

A point is a sketch (which layout each reduction takes) and a choice for every knob of that sketch. The space can be
counted, sampled, enumerated, and has neighbours; what it yields passes the checks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ..spec.check import check_rewritten, check_schedule
from ..spec.errors import SpecError
from ..spec.nest import Plan
from ..spec.schedule import Schedule
from .analytic import StageCost, call_costs
from .assemble import StageChoice, assemble
from .digits import digits_staged
from .hardware import Hardware, hardware_from_machine
from .knobs import Knob, KnobValue
from .layouts import Layout
from .rule import Reduction, Rule, space_name
from .rules import RULES, ruled_knobs, ruled_layouts
from .tiling import Tile

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..spec.workload import Workload
    from ..store.speeds import Speeds

Point: TypeAlias = tuple[int, ...]
"""The number of a sketch, then the index of each knob's value."""

MAX_SKETCHES = 64
_TILE = frozenset(("tile", "inline_producers", *(field.name for field in attrs.fields(Tile))))
"""Knobs that say how a reduction is tiled; others are for the rules that made them."""


@attrs.frozen(kw_only=True)
class Sketch:
    """One structure: a layout for each reduction (None: plain loops) and the knobs that are left."""

    layouts: tuple[tuple[str, Layout | None], ...]
    knobs: tuple[Knob, ...]

    @property
    def text(self) -> str:
        """A short description for people."""
        return "; ".join(f"{stage}: {layout.text if layout else 'plain loops'}" for stage, layout in self.layouts)

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
    """The schedules of `task` that `rules` make for `machine`; deterministic.

    With `speeds`, what was measured of the machine, times are predicted from them.
    """

    def __init__(
        self, task: Task, machine: Machine, rules: Sequence[Rule] = RULES, speeds: Speeds | None = None
    ) -> None:
        self.task = task
        self._machine = machine
        self._speeds = speeds
        self.rules = tuple(rules)
        self.name = space_name(self.rules)
        self.hardware: Hardware = hardware_from_machine(machine, task.threads, speeds)
        self._cache: dict[Point, Candidate | None] = {}

    def for_task(self, task: Task) -> Space:
        """The space that the same rules make of another task, for the same machine."""
        return Space(task, self._machine, self.rules, self._speeds)

    @cached_property
    def sketches(self) -> tuple[Sketch, ...]:
        """Every structure, the first of each reduction's layouts first."""
        combined: list[tuple[tuple[str, Layout | None], ...]] = [()]
        reductions: dict[str, Reduction] = {}
        for stage in digits_staged(self.task.workload)[1].stages:
            if stage.reducer is None:
                continue
            reductions[stage.name] = Reduction(task=self.task, stage=stage, hardware=self.hardware)
            options: tuple[Layout | None, ...] = ruled_layouts(self.rules, reductions[stage.name]) or (None,)
            combined = [(*head, (stage.name, layout)) for head in combined for layout in options][:MAX_SKETCHES]
        return tuple(
            Sketch(
                layouts=layouts,
                knobs=tuple(k for name, layout in layouts for k in ruled_knobs(self.rules, reductions[name], layout)),
            )
            for layouts in combined
        )

    @cached_property
    def size(self) -> int:
        """Number of points; different points may give the same schedule."""
        return sum(sketch.size for sketch in self.sketches)

    def candidate(self, point: Point) -> Candidate | None:
        """The candidate of a point; None where the knobs' values do not go together."""
        if point not in self._cache:
            self._cache[point] = self._made(point)
        return self._cache[point]

    def _made(self, point: Point) -> Candidate | None:
        try:
            schedule, rewritten = self._assembled(point)
            ruled = self._ruled(schedule, self.values(point))
            unchanged = ruled is schedule
            plan = check_rewritten(schedule, rewritten, self.task) if unchanged else check_schedule(ruled, self.task)
        except SpecError:
            return None
        return candidate_from_plan(point, ruled, plan, self.hardware)

    def unchecked(self, point: Point) -> Schedule | None:
        """The schedule of a point before any check, which takes most of the time; None where none can be made."""
        try:
            return self._ruled(self._assembled(point)[0], self.values(point))
        except SpecError:
            return None

    def values(self, point: Point) -> dict[str, KnobValue]:
        """The value that a point gives each knob, by name."""
        knobs = self.sketches[point[0]].knobs
        return {knob.name: knob.values[i] for knob, i in zip(knobs, point[1:], strict=True)}

    def _assembled(self, point: Point) -> tuple[Schedule, Workload]:
        """The schedule of a point without the rules' own changes, and the workload as its stagings leave it."""
        tiles = {name: value for name, value in self.values(point).items() if name.rpartition("/")[2] in _TILE}
        choices: Mapping[str, StageChoice] = {
            stage: StageChoice.from_knobs(layout, stage, tiles) for stage, layout in self.sketches[point[0]].layouts
        }
        return assemble(self.task, choices, self.hardware)

    def _ruled(self, schedule: Schedule, values: Mapping[str, KnobValue]) -> Schedule:
        for rule in self.rules:
            schedule = rule.schedule(self.task, values, schedule)
        return schedule

    def sample(self, rng: random.Random) -> Point:
        """A point drawn uniformly among sketches, then among each knob's values."""
        number = rng.randrange(len(self.sketches))
        return (number, *(rng.randrange(len(knob.values)) for knob in self.sketches[number].knobs))

    def sampled(self, count: int, rng: random.Random) -> tuple[Point, ...]:
        """Up to `count` points drawn uniformly among all, each once."""
        return tuple(map(self.point_at, rng.sample(range(self.size), min(count, self.size))))

    def points(self) -> Iterator[Point]:
        """Every point, in order."""
        for number, sketch in enumerate(self.sketches):
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


def _ranked(number: int, sketch: Sketch, rank: int) -> Point:
    """The point of a sketch with a rank among its points: the last knob counts fastest."""
    indices = []
    for knob in reversed(sketch.knobs):
        rank, index = divmod(rank, len(knob.values))
        indices.append(index)
    return (number, *reversed(indices))
