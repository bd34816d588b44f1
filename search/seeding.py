"""Where a search begins: what was fastest at other shapes of the same operator, said in the new task's space.

A record keeps a schedule and not the point it came from: which knobs there are is the rules' business, and records
outlive them and come from other people. So the point is recovered: in the space of the past task the knobs are set one
by one to what resembles the schedule most, and it counts where the very schedule comes out. A few milliseconds, while
workers start. What it gives is measured like any other candidate, and never trusted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..spec.canonical import renamed
from ..spec.rename import schedule_from_canonical, schedule_to_canonical
from ..spec.schedule import Nest, Schedule, Split
from .history import structure_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..spec.task import Task
    from .history import PastTask
    from .knobs import KnobValue
    from .space import Candidate, Point, Space

MOST: Final = 4
"""Candidates at most: the best of so many shapes, the nearest first."""
_SWEEPS: Final = 3
"""How often all knobs are set: one knob's value may show only when another's is right."""

_SKETCHES: Final = 3
"""In how many sketches, those most alike first, a schedule is looked for."""

_Part: TypeAlias = tuple[object, ...]


def near_shapes(space: Space, past: Sequence[PastTask]) -> tuple[Candidate, ...]:
    """Candidates of `space` that are chosen as the fastest of past tasks of the same structure were; each once."""
    structure = structure_of(space.task)
    alike = [each for each in past if structure_of(each.task) == structure]
    found: dict[Schedule, Candidate] = {}
    for each in sorted(alike, key=lambda other: _distance(space.task, other.task))[:MOST]:
        candidate = _transferred(space, *_in_names_of(space.task, each))
        if candidate is not None:
            found.setdefault(candidate.schedule, candidate)
    return tuple(found.values())


def _distance(task: Task, other: Task) -> float:
    """How far apart the extents of two tasks of one structure are, in octaves."""
    pairs = zip(_extents(task), _extents(other), strict=True)
    return sum(abs(math.log2(one / two)) for one, two in pairs)


def _extents(task: Task) -> list[int]:
    return [extent for stage in task.canonical_workload.stages for extent in stage.extents.values()]


def _in_names_of(task: Task, past: PastTask) -> tuple[Task, Schedule]:
    """A past task and its fastest schedule in the names of a task of its structure."""
    workload = renamed(past.task.canonical_workload, task.names.inverted)
    plain = schedule_to_canonical(past.trials[0][0], past.task.names)
    renamed_task = attrs.evolve(task, workload=workload, ranges=(), op=None)
    return renamed_task, schedule_from_canonical(plain, renamed_task.names)


def _transferred(space: Space, task: Task, schedule: Schedule) -> Candidate | None:
    """What `space` has for the choices that `schedule` of another task was made by; None where they are not found."""
    other = space.for_task(task, () if schedule.algorithm is None else (schedule.algorithm,))
    point = recovered(other, schedule)
    if point is None:
        return None
    text, values = other.sketches[point[0]].text, other.values(point)
    for number, sketch in enumerate(space.sketches):
        if sketch.text == text:
            # A knob that the other shape has no use for keeps its first value.
            nearest = (_nearest(knob.values, values.get(knob.name, knob.values[0])) for knob in sketch.knobs)
            return space.candidate((number, *nearest))
    return None


def recovered(space: Space, schedule: Schedule) -> Point | None:
    """The point of `space` that gives `schedule`; None where it is not found."""
    canonical = schedule_to_canonical(schedule, space.task.names)
    wanted = _parts(canonical)
    starts = [
        (number, *(len(knob.values) // 2 for knob in sketch.knobs))
        for number, sketch in enumerate(space.sketches)
        if (sketch.algorithm is None) == (schedule.algorithm is None)
    ]
    ranked = sorted((_unlikeness(space, start, wanted), start) for start in starts)
    for _, start in ranked[:_SKETCHES]:
        point = start
        for _ in range(_SWEEPS):
            for place, knob in enumerate(space.sketches[point[0]].knobs, start=1):
                others = [(*point[:place], index, *point[place + 1 :]) for index in range(len(knob.values))]
                point = min(others, key=lambda other: (_unlikeness(space, other, wanted), other))
            if _canonical(space, point) == canonical:
                return point
    return None


def _canonical(space: Space, point: Point) -> Schedule | None:
    """The schedule of a point in canonical names: equal ones are equal however their loops are called."""
    schedule = space.unchecked(point)
    return None if schedule is None else schedule_to_canonical(schedule, space.task.names)


def _unlikeness(space: Space, point: Point, wanted: frozenset[_Part]) -> float:
    schedule = _canonical(space, point)
    return math.inf if schedule is None else len(_parts(schedule) ^ wanted)


def _parts(schedule: Schedule) -> frozenset[_Part]:
    """A schedule taken apart, so that those made by nearly the same choices have most in common."""
    return frozenset(_walked(attrs.evolve(schedule, algorithm=None), ()))


def _walked(value: object, place: _Part) -> Iterator[_Part]:
    if isinstance(value, tuple):
        for position, item in enumerate(value):
            named = (
                (item.stage,) if isinstance(item, Nest) else (item.axis,) if isinstance(item, Split) else (position,)
            )
            yield from _walked(item, (*place, *named))
    elif attrs.has(cls := type(value)):
        for field in attrs.fields(cls):
            yield from _walked(getattr(value, field.name), (*place, field.name))
    else:
        yield (*place, value)


def _nearest(values: Sequence[KnobValue], wanted: KnobValue) -> int:
    """The place of the value most like `wanted`; the first of several."""
    return min(range(len(values)), key=lambda place: _unlike(values[place], wanted))


def _unlike(one: KnobValue, other: KnobValue) -> float:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return sum(map(_unlike, one, other))
    assert not isinstance(one, tuple)
    assert not isinstance(other, tuple)
    return abs(math.log2((one or 0.5) / (other or 0.5)))
