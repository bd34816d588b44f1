"""What part of an attached stage one step of a loop needs: a box of fixed size, or it cannot be attached there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .errors import SpecError
from .expr import Axis, Binary, Const, Expr, Load, axes_in, index, loads, substitute, walk
from .linear import facts_from_extents, linear, simplify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nest import StageNest
    from .workload import Stage, Workload


def local_extents(workload: Workload, stage: Stage, parent: StageNest, position: int, consumer: bool) -> dict[str, int]:
    """Each axis' extent of `stage` where it is attached at loop `position` of `parent` (-1: around all its loops).

    SpecError where the part needed is no box of fixed size.
    """
    if consumer:
        return _extents_of_consumer(stage, parent, position)
    reads = [load for body in parent.stage.body for load in loads(body) if workload.writer.get(load.buffer) is stage]
    return _extents_of_producer(stage, parent, position, reads)


def _extents_of_producer(stage: Stage, parent: StageNest, position: int, reads: Sequence[Load]) -> dict[str, int]:
    """The part of a producer that one step needs: affine reads, each dimension an interval of fixed length."""
    values, inner, outer = _loop_values(parent, position)
    facts = facts_from_extents({loop.name: loop.extent for loop in parent.loops})
    extents = stage.extents
    uneven = {
        axis.name
        for axis in parent.axes
        if _surplus(parent, axis.name) > axis.extent or parent.inner_extent(axis.name, position) is None
    }
    for dimension, axis in enumerate(stage.axes):
        if any(_divides(load.indices[dimension]) and uneven & axes_in(load.indices[dimension]) for load in reads):
            message = (
                f"{parent.stage.name!r} reads {stage.name!r} by a division of an axis that a step takes no piece of"
            )
            remedy = "use factors that divide, with the inner loops inside"
            raise SpecError(f"{message}; {remedy}, or give {stage.name!r} a nest of its own", "at")
        starts: list[tuple[int, frozenset[tuple[Expr, int]]]] = []
        length = 0
        for load in reads:
            const, terms = linear(substitute(load.indices[dimension], values), facts)
            reach, base = 1, []
            for atom, coefficient in terms.items():
                if not isinstance(atom, Axis):
                    message = f"{parent.stage.name!r} reads {stage.name!r} by an index that is not a sum of its axes"
                    raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
                if coefficient < 0:
                    message = f"{parent.stage.name!r} reads {stage.name!r} backwards"
                    raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
                if atom.name in inner:
                    reach += coefficient * (inner[atom.name] - 1)
                elif outer[atom.name] > 1:
                    base.append((atom, coefficient))
            starts.append((const, frozenset(base)))
            length = max(length, const + reach)
        if len({base for _, base in starts}) > 1:
            message = f"{parent.stage.name!r} reads {stage.name!r} at places that move apart"
            raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
        needed = length - min(const for const, _ in starts)
        if needed > axis.extent and starts[0][1]:
            # Only a tail skipped by predicate comes here; TVM's box is then larger than the whole.
            message = (
                f"a step of {parent.stage.name!r}, with the tail it skips, spans more of {stage.name!r} than there is"
            )
            raise SpecError(f"{message}; use factors that divide, or give {stage.name!r} a nest of its own", "at")
        extents[axis.name] = min(axis.extent, needed)
    return extents


def _surplus(nest: StageNest, axis: str) -> int:
    """How many steps the loops of an axis make, those skipped at its tail included."""
    return math.prod(loop.extent for loop in nest.loops if loop.axis == axis)


def _divides(node: Expr) -> bool:
    ops = ("floordiv", "floormod", "truncdiv", "truncmod")
    return any(isinstance(part, Binary) and part.op in ops for part in walk(node))


def body_in_loops(nest: StageNest, body: Expr) -> Expr:
    """A value of a stage by the loops of its nest instead of its axes, simplified."""
    values, _, _ = _loop_values(nest, -1)
    return simplify(substitute(body, values), facts_from_extents({loop.name: loop.extent for loop in nest.loops}))


def _loop_values(parent: StageNest, position: int) -> tuple[dict[str, Expr], dict[str, int], dict[str, int]]:
    """Each axis of `parent` by its loops, and the extents of the loops inside and outside `position`."""
    values: dict[str, Expr] = {}
    for loop in parent.loops:
        term: Expr = Binary("mul", Axis(loop.name), index(loop.stride))
        values[loop.axis] = Binary("add", values[loop.axis], term) if loop.axis in values else term
    inner = {loop.name: loop.extent for loop in parent.loops[position + 1 :]}
    outer = {loop.name: loop.extent for loop in parent.loops[: position + 1]}
    return values, inner, outer


def _extents_of_consumer(stage: Stage, parent: StageNest, position: int) -> dict[str, int]:
    """The part of a consumer that one step of its producer completes.

    Each dimension of the producer is an axis of the consumer, or a digit of one: ``j // 32`` and ``j % 32``.
    """
    reads = [
        load for body in stage.body for load in loads(body) if load.buffer in {o.name for o in parent.stage.outputs}
    ]
    extents = stage.extents
    digits: dict[str, list[tuple[int, int, int]]] = {axis.name: [] for axis in stage.axes}
    moving: set[str] = set()
    if stage.reduce:
        raise SpecError(f"{stage.name!r} reduces; attach stages without a reduction after their producer", "at.stage")
    if len({load.indices for load in reads}) != 1:
        raise SpecError(f"{stage.name!r} reads {parent.stage.name!r} in several ways; one is allowed", "at.stage")
    for dimension, (axis, where) in enumerate(zip(parent.stage.axes, reads[0].indices, strict=True)):
        length = parent.inner_extent(axis.name, position)
        if length is None:
            message = f"axis {axis.name!r} of {parent.stage.name!r} is not whole or one piece inside loop"
            raise SpecError(f"{message} {parent.loops[position].name!r}; order its outer pieces outside", "at.loop")
        length = min(length, axis.extent)  # a skipped tail is not completed
        match where:
            case Axis(name):
                digits[name].append((1, axis.extent, length))
            case Binary("floordiv", Axis(name) | Binary("floormod", Axis(name), Const()), Const(_, by)):
                digits[name].append((int(by), axis.extent, length))
            case Binary("floormod", Axis(name), Const()):
                digits[name].append((1, axis.extent, length))
            case Const() if axis.extent == 1:
                continue
            case _:
                message = f"{stage.name!r} reads dimension {dimension} of {parent.stage.name!r}"
                remedy = f"give {stage.name!r} a nest of its own"
                raise SpecError(f"{message} by something else than one axis, or a digit of one; {remedy}", "at.stage")
        if any(loop.axis == axis.name and loop.extent > 1 for loop in parent.loops[: position + 1]):
            moving.add(name)
    for name, found in digits.items():
        done = _joined_extent(name, found, extents[name])
        if done > extents[name] and name in moving:
            message = f"a step completes {done} values of axis {name!r} of {stage.name!r}, which has {extents[name]}"
            raise SpecError(f"{message}; use factors that divide, or give {stage.name!r} a nest of its own", "at.loop")
        extents[name] = min(done, extents[name])
    return extents


def _joined_extent(name: str, digits: Sequence[tuple[int, int, int]], whole: int) -> int:
    """Neighbouring values of an axis given (stride, extent, inner extent) of its digits."""
    if not digits:
        return whole
    extent, stride = 1, 1
    for digit_stride, digit_extent, _ in sorted(digits):
        stride *= digit_extent if digit_stride == stride else 0
    if stride < whole:
        message = f"axis {name!r} is read by some of its digits only, so no step completes values side by side"
        raise SpecError(f"{message}; give the stage a nest of its own", "at.stage")
    *inner, last = sorted(digits)
    for _, digit_extent, length in inner:
        if length < digit_extent:
            # TVM takes whole inner digits here, and would read what is not computed yet.
            message = f"axis {name!r} is laid out in pieces of {digit_extent}, and only {length} of one are done inside"
            remedy = "attach further out, or order the inner piece's loops inside"
            raise SpecError(f"{message} the loop; {remedy}", "at.loop")
        extent *= length
    return extent * last[2]
