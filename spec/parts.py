"""How the part of an attached stage moves from step to step of the loops around it, and whether such parts tile it.

TVM moves the start of a reduction, and vectorizes it, only where its parts lie side by side: of
``P[i] + P[i + 2]`` in steps of 4 each needs 6 values of P, so they overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from .expr import Axis, Binary, Const, Load, loads
from .linear import facts_from_extents, linear

if TYPE_CHECKING:
    from .nest import Plan, StageNest
    from .workload import Stage

Steps: TypeAlias = Mapping[str, Mapping[tuple[str, str], int]]
"""Axis of a stage → (stage, loop) around it → how far a step of that loop moves where the part begins."""


def tiles(plan: Plan, nest: StageNest) -> bool:
    """True where the parts of an attached stage are its whole, cut in pieces of one size, each computed once."""
    steps = steps_around(plan, nest)
    if steps is None:
        return False
    extents = {(host.stage.name, loop.name): loop.extent for host in plan.nests for loop in host.loops}
    moved: list[tuple[str, str]] = []
    for axis in nest.axes[: len(nest.stage.axes)]:
        length = axis.extent
        for loop, step in sorted(steps.get(axis.name, {}).items(), key=lambda item: item[1]):
            if step != length:
                return False
            length *= extents[loop]
            moved.append(loop)
    return len(set(moved)) == len(moved)


def steps_around(plan: Plan, nest: StageNest) -> Steps | None:
    """What the loops around an attached stage do to its axes; None where that is no sum of their steps."""
    if nest.at is None:
        return {}
    host = plan.by_stage[nest.at.stage]
    return _steps_of_consumer(plan, nest, host) if nest.consumer else _steps_of_producer(plan, nest, host)


def _steps_of_producer(plan: Plan, nest: StageNest, host: StageNest) -> Steps | None:
    readers = [reader for reader in plan.nests if _reads(reader.stage, nest.stage)]
    reader = next((reader for reader in readers if reader is host), readers[0])
    load = _reads(reader.stage, nest.stage)[0]
    around = steps_around(plan, reader)
    if around is None:
        return None
    facts = facts_from_extents(reader.stage.extents)
    found: dict[str, dict[tuple[str, str], int]] = {}
    for axis, position in zip(nest.stage.axes, load.indices, strict=True):
        moved = found.setdefault(axis.name, {})
        for atom, coefficient in linear(position, facts)[1].items():
            if not isinstance(atom, Axis):
                return None
            if reader is host:
                _add(moved, _own_steps(host, nest, atom.name), coefficient)
            _add(moved, around.get(atom.name, {}), coefficient)
    return found


def _steps_of_consumer(plan: Plan, nest: StageNest, host: StageNest) -> Steps | None:
    around = steps_around(plan, host)
    reads = _reads(nest.stage, host.stage)
    if around is None or not reads:
        return None
    found: dict[str, dict[tuple[str, str], int]] = {}
    for axis, position in zip(host.stage.axes, reads[0].indices, strict=True):
        name, stride = _digit(position)
        if name is not None:
            moved = found.setdefault(name, {})
            _add(moved, _own_steps(host, nest, axis.name), stride)
            _add(moved, around.get(axis.name, {}), stride)
    return found


def _digit(position: object) -> tuple[str | None, int]:
    """The axis that an index is, or is a digit of, and how far a step of the index moves it."""
    match position:
        case Axis(name):
            return name, 1
        case Binary("floordiv", Axis(name) | Binary("floormod", Axis(name), Const()), Const(_, by)):
            return name, int(by)
        case Binary("floormod", Axis(name), Const()):
            return name, 1
    return None, 0


def _own_steps(host: StageNest, nest: StageNest, axis: str) -> dict[tuple[str, str], int]:
    """How far the loops of `host` outside of where `nest` is attached move one of its axes."""
    assert nest.at is not None
    outside = host.loops[: host.position(nest.at.loop) + 1]
    return {(host.stage.name, loop.name): loop.stride for loop in outside if loop.axis == axis and loop.extent > 1}


def _add(moved: dict[tuple[str, str], int], steps: Mapping[tuple[str, str], int], times: int) -> None:
    for loop, step in steps.items():
        moved[loop] = moved.get(loop, 0) + step * times


def _reads(reader: Stage, producer: Stage) -> list[Load]:
    made = {output.name for output in producer.outputs}
    return [load for body in reader.body for load in loads(body) if load.buffer in made]
