"""The space of schedules of a task on a machine, made by rules from the workload and the hardware.

A point is a sketch (which layout each reduction takes) and a choice for every knob of that sketch. The space can be
counted, sampled, enumerated, and has neighbours; what it yields passes the checks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ..spec.check import check_rewritten
from ..spec.errors import SpecError
from ..spec.nest import Plan
from ..spec.schedule import Schedule
from .analytic import predict_s
from .assemble import StageChoice, assemble
from .hardware import Hardware, hardware_from_machine
from .knobs import Knob, knobs_of
from .layouts import Layout, layouts_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from ..spec.claim import Machine
    from ..spec.task import Task

Point: TypeAlias = tuple[int, ...]
"""The number of a sketch, then the index of each knob's value."""

MAX_SKETCHES = 64


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
    """A point of a space with its schedule, its checked plan and the predicted time."""

    point: Point
    schedule: Schedule
    plan: Plan
    predicted_s: float


class Space:
    """The schedules of `task` that the rules make for `machine`; deterministic."""

    def __init__(self, task: Task, machine: Machine) -> None:
        self.task = task
        self.hardware: Hardware = hardware_from_machine(machine, task.threads)
        self._cache: dict[Point, Candidate | None] = {}

    @cached_property
    def sketches(self) -> tuple[Sketch, ...]:
        """Every structure, the first of each reduction's layouts first."""
        combined: list[tuple[tuple[str, Layout | None], ...]] = [()]
        for stage in self.task.workload.stages:
            if stage.reducer is None:
                continue
            options: tuple[Layout | None, ...] = layouts_of(stage, self.hardware) or (None,)
            combined = [(*head, (stage.name, layout)) for head in combined for layout in options][:MAX_SKETCHES]
        return tuple(
            Sketch(layouts=layouts, knobs=knobs_of(self.task.workload, layouts, self.hardware)) for layouts in combined
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
        sketch = self.sketches[point[0]]
        values = {knob.name: knob.values[i] for knob, i in zip(sketch.knobs, point[1:], strict=True)}
        choices: Mapping[str, StageChoice] = {
            stage: StageChoice.from_knobs(layout, stage, values) for stage, layout in sketch.layouts
        }
        try:
            schedule, rewritten = assemble(self.task, choices, self.hardware)
            plan = check_rewritten(schedule, rewritten, self.task)
        except SpecError:
            return None
        return Candidate(point=point, schedule=schedule, plan=plan, predicted_s=predict_s(plan, self.hardware))

    def sample(self, rng: random.Random) -> Point:
        """A point drawn uniformly among sketches, then among each knob's values."""
        number = rng.randrange(len(self.sketches))
        return (number, *(rng.randrange(len(knob.values)) for knob in self.sketches[number].knobs))

    def points(self) -> Iterator[Point]:
        """Every point, in order."""
        for number, sketch in enumerate(self.sketches):
            sizes = [len(knob.values) for knob in sketch.knobs]
            for rank in range(sketch.size):
                indices, rest = [], rank
                for size in reversed(sizes):
                    rest, index = divmod(rest, size)
                    indices.append(index)
                yield (number, *reversed(indices))

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
