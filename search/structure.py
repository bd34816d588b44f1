"""What the rules of the space see in a workload: kinds of stages, who reads whom elementwise, groups of axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from ..spec.expr import Axis, Binary, Const, Expr, Load, axes_in, index, loads
from ..spec.linear import Facts, facts_from_extents, linear
from ..spec.rewrite import STAGINGS_KEPT

if TYPE_CHECKING:
    from ..spec.workload import Stage, Workload


@attrs.frozen(kw_only=True)
class Read:
    """How a stage reads one buffer.

    `axes` move the element read, `contiguous` ones by one element in memory, `strides` has those that move it by a few;
    `several` tells of more than one place read, `windowed` of a dimension moved by more than one axis, so that staging
    by axes would copy elements repeatedly.
    """

    buffer: str
    axes: frozenset[str]
    contiguous: frozenset[str]
    strides: Mapping[str, int]
    several: bool
    windowed: bool


@lru_cache(maxsize=STAGINGS_KEPT)
def reads_of(stage: Stage) -> tuple[Read, ...]:
    """The buffers a stage reads, in order of first use."""
    found: dict[str, list[Load]] = {}
    for body in stage.body:
        for load in loads(body):
            found.setdefault(load.buffer, []).append(load)
    facts = facts_from_extents(stage.extents)
    result = []
    for buffer, uses in found.items():
        axes = frozenset().union(*(axes_in(load) for load in uses))
        steps: dict[str, int] = {}
        if indices := _without_single(uses[0].indices, stage):
            _, terms = linear(indices[-1], facts)
            earlier = frozenset().union(*(axes_in(position) for position in indices[:-1]))
            steps = {a.name: step for a, step in terms.items() if isinstance(a, Axis) and a.name not in earlier}
        several = len({load.indices for load in uses}) > 1
        windowed = any(len(axes_in(position)) > 1 for load in uses for position in load.indices)
        result.append(
            Read(
                buffer=buffer,
                axes=axes,
                contiguous=frozenset(axis for axis, step in steps.items() if step == 1),
                strides={axis: step for axis, step in steps.items() if step > 1},
                several=several,
                windowed=windowed,
            )
        )
    return tuple(result)


def _without_single(indices: tuple[Expr, ...], stage: Stage) -> tuple[Expr, ...]:
    """The indices but for the last ones that are axes of a single step: what moves by one lies before those.

    A slice of one step of a longer dimension looks the same; vectors there would be slow, and measuring shows it.
    """
    count = len(indices)
    while count and isinstance(last := indices[count - 1], Axis) and stage.extents[last.name] == 1:
        count -= 1
    return indices[:count]


@lru_cache(maxsize=STAGINGS_KEPT)
def together_along(stage: Stage, axis: str) -> int:
    """Elements along an axis, from each multiple of so many on, that every read that moves with it has side by side.

    Digits of a run may be: ``acc[(h * 56 + w) // 48, (h * 56 + w) % 48]`` has 8 along w, which divide 56 and 48.
    1 where there are none, and where no read moves with it.
    """
    facts, found = facts_from_extents(stage.extents), stage.extents[axis]
    moved = [load for body in stage.body for load in loads(body) if axis in axes_in(load)]
    for load in moved:
        *earlier, last = _without_single(load.indices, stage) or (index(0),)
        for position in earlier:
            if axis in axes_in(position):
                found = math.gcd(found, _steady_steps(position, "floordiv", axis, facts))
        if axis in axes_in(last):
            is_whole = linear(last, facts)[1].get(Axis(axis)) == 1
            found = math.gcd(found, 0 if is_whole else _steady_steps(last, "floormod", axis, facts))
    return found if moved else 1


def _steady_steps(position: Expr, op: str, axis: str, facts: Facts) -> int:
    """Steps along an axis, from a multiple of so many on, in which a digit does not carry; 1 for what is no digit."""
    if not (isinstance(position, Binary) and position.op == op and isinstance(position.b, Const)):
        return 1
    const, terms = linear(position.a, facts)
    others = {atom: step for atom, step in terms.items() if atom != Axis(axis)}
    if terms.get(Axis(axis)) != 1 or any(axis in axes_in(atom) for atom in others):
        return 1
    return math.gcd(int(position.b.text), const, *others.values())


def is_map(stage: Stage) -> bool:
    """True for a stage without a reduction and with one output."""
    return stage.reducer is None and len(stage.outputs) == 1


def reads_elementwise(reader: Stage, producer: Stage) -> bool:
    """True where `reader` is a map over the same space that reads each element of `producer` once, at its own place."""
    if not is_map(reader) or reader.shape != producer.shape:
        return False
    wanted = tuple(Axis(axis.name) for axis in reader.axes)
    names = {output.name for output in producer.outputs}
    uses = [load for load in loads(reader.body[0]) if load.buffer in names]
    return bool(uses) and all(_same_place(load, wanted, reader) for load in uses)


def _same_place(load: Load, wanted: tuple[Axis, ...], reader: Stage) -> bool:
    """Equal indices; a constant 0 stands for an axis of extent 1."""
    for position, axis, iter_axis in zip(load.indices, wanted, reader.axes, strict=True):
        if position != axis and not (iter_axis.extent == 1 and not axes_in(position)):
            return False
    return True


def sole_reader(workload: Workload, stage: Stage) -> Stage | None:
    """The one stage that reads an intermediate stage; None for outputs and for several readers."""
    if any(output.name in workload.params for output in stage.outputs):
        return None
    readers = {r.name: r for output in stage.outputs for r in workload.readers(output.name)}
    return next(iter(readers.values())) if len(readers) == 1 else None


def axis_runs(stage: Stage) -> tuple[tuple[str, ...], ...]:
    """Runs of neighbouring spatial axes worth fusing into one: every run of two or more axes longer than 1."""
    names = [axis.name for axis in stage.axes]
    extents: Mapping[str, int] = stage.extents
    runs = []
    for first in range(len(names)):
        for last in range(first + 2, len(names) + 1):
            run = names[first:last]
            if all(extents[name] > 1 for name in run):
                runs.append(tuple(run))
    return tuple(runs)
