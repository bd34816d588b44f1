"""What part of an attached stage one step of a loop needs: a box of fixed size, or it cannot be attached there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .errors import SpecError
from .expr import Axis, Binary, Const, Expr, Load, index, loads, substitute
from .linear import facts_from_extents, linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nest import StageNest
    from .workload import Stage, Workload


def local_extents(
    workload: Workload,
    stage: Stage,
    parent: StageNest,
    position: int,
    *,
    consumer: bool,
    threads: frozenset[str] = frozenset(),
) -> dict[str, int]:
    """Each axis' extent of `stage` where it is attached at loop `position` of `parent` (-1: around all its loops).

    A producer there serves all steps of the outer loops in `threads` at once. SpecError where the part needed is no box
    of fixed size.
    """
    if consumer:
        return _extents_of_consumer(stage, parent, position)
    reads = [load for body in parent.stage.body for load in loads(body) if workload.writer.get(load.buffer) is stage]
    return _extents_of_producer(stage, parent, reads, _loop_values(parent, position, threads))


LoopValues: TypeAlias = tuple[dict[str, Expr], dict[str, int], dict[str, int]]
"""The axes of a nest by its loops; the extents of the loops that a part runs over; those of the loops around it."""


def _extents_of_producer(stage: Stage, parent: StageNest, reads: Sequence[Load], loops: LoopValues) -> dict[str, int]:
    """The part of a producer that one step needs: affine reads, each dimension an interval of fixed length."""
    values, inner, outer = loops
    facts = facts_from_extents({loop.name: loop.extent for loop in parent.loops})
    extents = stage.extents
    for dimension, axis in enumerate(stage.axes):
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
        if needed > axis.extent and any(base for _, base in starts):
            # TVM would keep such a part, longer than the whole, and skip what is outside.
            message = f"a step needs {needed} values along axis {axis.name!r}, which has {axis.extent}"
            raise SpecError(f"{message}; split what reads it in smaller tiles, or attach further out", "at.loop")
        extents[axis.name] = min(axis.extent, needed)
    return extents


def _loop_values(parent: StageNest, position: int, threads: frozenset[str]) -> LoopValues:
    """What one step at `position` runs over, the loops in `threads` among it, and what it is for."""
    values: dict[str, Expr] = {}
    for loop in parent.loops:
        term: Expr = Binary("mul", Axis(loop.name), index(loop.stride))
        values[loop.axis] = Binary("add", values[loop.axis], term) if loop.axis in values else term
    around = {loop.name for loop in parent.loops[: position + 1]} - threads
    inner = {loop.name: loop.extent for loop in parent.loops if loop.name not in around}
    outer = {loop.name: loop.extent for loop in parent.loops if loop.name in around}
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
    if stage.reduce:
        raise SpecError(f"{stage.name!r} reduces; attach stages without a reduction after their producer", "at.stage")
    if len({load.indices for load in reads}) != 1:
        raise SpecError(f"{stage.name!r} reads {parent.stage.name!r} in several ways; one is allowed", "at.stage")
    for dimension, (axis, where) in enumerate(zip(parent.stage.axes, reads[0].indices, strict=True)):
        length = parent.inner_extent(axis.name, position)
        if length is None:
            message = f"axis {axis.name!r} of {parent.stage.name!r} is not whole or one piece inside loop"
            raise SpecError(f"{message} {parent.loops[position].name!r}; order its outer pieces outside", "at.loop")
        match where:
            case Axis(name):
                digits[name].append((1, axis.extent, length))
            case Binary("floordiv", Axis(name) | Binary("floormod", Axis(name), Const()), Const(_, by)):
                digits[name].append((int(by), axis.extent, length))
            case Binary("floormod", Axis(name), Const()):
                digits[name].append((1, axis.extent, length))
            case _ if axis.extent == 1:
                continue
            case _:
                message = f"{stage.name!r} reads dimension {dimension} of {parent.stage.name!r} by more than one axis"
                raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
    for name, found in digits.items():
        extents[name] = _joined_extent(name, found, extents[name])
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
    extent *= last[2]
    return min(extent, whole)
