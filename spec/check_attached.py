"""Checks of stages that are computed at a loop of another one: what TVM can move there, and finds right there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .errors import SpecError
from .expr import Axis, If, Load, axes_in, loads, walk
from .linear import facts_from_extents, value_range
from .parts import tiles

if TYPE_CHECKING:
    from .expr import Expr
    from .nest import Plan, StageNest
    from .workload import Stage


def check_attached_reduction(plan: Plan, nest: StageNest) -> None:
    """A reduction computed in parts that overlap, or do not cover it, keeps its start and runs as it is, serially."""
    if nest.at is None or nest.consumer or nest.stage.reducer is None:
        return
    place = _wanted_of_pieces(nest) or _parallel_around(plan, nest)
    if place is not None and not tiles(plan, nest):
        message = f"the parts of {nest.stage.name!r} that steps of {nest.at.loop!r} need are not laid side by side"
        what, path = place
        raise SpecError(f"{message}, so {what}; leave that out, or give {nest.stage.name!r} a nest of its own", path)


def _parallel_around(plan: Plan, nest: StageNest) -> tuple[str, str] | None:
    """The parallel loop that a nest is computed in, in words, and where that is asked for."""
    while nest.at is not None:
        nest = plan.by_stage[nest.at.stage]
        for loop in nest.bound[:1]:
            if loop.to == "parallel":
                return f"the loop {loop.name!r} around them cannot be parallel", "at"
    return None


def _wanted_of_pieces(nest: StageNest) -> tuple[str, str] | None:
    """What a nest asks for that TVM does to reductions in whole pieces only, in words, and where it is asked for."""
    if nest.nest.start is not None:
        return "its start stays with the update", "start"
    if nest.vector is not None and nest.vector.extent > 1:
        return "it cannot be vectorized", "bind"
    return None


def check_attached_consumer(plan: Plan, nest: StageNest) -> None:
    """A consumer sits outside every reduce loop of its producer, and all else it reads is there before."""
    if nest.at is None or not nest.consumer:
        return
    parent = plan.by_stage[nest.at.stage]
    position = parent.position(nest.at.loop)
    for loop in parent.loops[: position + 1]:
        if loop.reduce:
            message = f"loop {loop.name!r} of {parent.stage.name!r} is a reduction and not done at {nest.at.loop!r}"
            raise SpecError(f"{message}; attach outside every reduce loop", "at.loop")
    here = [n.stage for n in plan.nests if n is parent or _is_under(plan, n.stage.name, parent, position)]
    if _reads_under_condition(nest.stage, {output.name for stage in here for output in stage.outputs}):
        message = f"{nest.stage.name!r} reads what is computed at {nest.at.loop!r} under a condition"
        raise SpecError(f"{message}, so it has points of its own; give it a nest of its own", "at")
    for buffer in nest.stage.reads:
        writer = plan.workload.writer.get(buffer)
        if writer is not None and writer.name != nest.at.stage and not _is_under(plan, writer.name, parent, position):
            message = f"{nest.stage.name!r} also reads {buffer!r}, which is not computed at {nest.at.loop!r}"
            raise SpecError(f"{message}; attach {buffer!r} there too or give {nest.stage.name!r} its own nest", "at")


def check_attached_producer(plan: Plan, nest: StageNest) -> None:
    """A producer is needed only at its place, in a part that no condition shortens, and is not an output."""
    if nest.at is None or nest.consumer:
        return
    parent = plan.by_stage[nest.at.stage]
    position = parent.position(nest.at.loop)
    outputs = {output.name for output in nest.stage.outputs}
    if outputs & {*plan.workload.params}:
        raise SpecError(f"{nest.stage.name!r} is an output; compute it by a nest of its own", "at")
    for output in outputs:
        for reader in plan.workload.readers(output):
            if reader.name != nest.at.stage and not _is_under(plan, reader.name, parent, position):
                message = f"{reader.name!r} reads {nest.stage.name!r} too, outside loop {nest.at.loop!r}"
                raise SpecError(f"{message}; attach it further out or give it a nest of its own", "at")
            if _reads_under_condition(reader, outputs) and not _is_asked_for_whole(
                plan, nest, reader, parent, position
            ):
                message = f"{reader.name!r} reads {nest.stage.name!r} under a condition"
                raise SpecError(f"{message}; give {nest.stage.name!r} a nest of its own", "at")


def _is_asked_for_whole(plan: Plan, nest: StageNest, reader: Stage, parent: StageNest, position: int) -> bool:
    """True where no condition of a reader says which part of an attached producer it needs.

    TVM takes what is needed without conditions: as much where that is the whole of an axis, the same in every step, or
    where the condition is of other axes. Places outside of the axis count for nothing there: those inside are its ends.
    """
    outputs = {output.name for output in nest.stage.outputs}
    nodes = [node for body in reader.body for node in walk(body)]
    asked = frozenset[str]().union(*(axes_in(node.cond) for node in nodes if isinstance(node, If)))
    moving = _moving(plan.by_stage[reader.name], parent, position)
    for load in (node for node in nodes if isinstance(node, Load) and node.buffer in outputs):
        for axis, index in zip(nest.stage.axes, load.indices, strict=True):
            axes = axes_in(index)
            if axes & asked and (axes & moving or not _is_whole(nest, axis.name)):
                return False
            if axes & asked and not _reaches_both_ends(index, axis.extent, reader):
                return False
    return True


def _moving(reader: StageNest, parent: StageNest, position: int) -> frozenset[str]:
    """The axes of a reader of which a step at loop `position` of `parent` takes another part than the next one."""
    if reader is parent:
        return frozenset(loop.axis for loop in parent.loops[: position + 1] if loop.extent > 1)
    return frozenset(axis for axis, span in reader.box.items() if span.base)


def _is_whole(nest: StageNest, axis: str) -> bool:
    """True where an attached stage runs over all of an axis in every step."""
    span = nest.box[axis]
    return not span.base and span.length == nest.stage.extents[axis]


def _reaches_both_ends(index: Expr, extent: int, reader: Stage) -> bool:
    """True where the values of an index begin at the start of a dimension or before, and end at its end or behind."""
    low, high = value_range(index, facts_from_extents(reader.extents))
    return low <= 0 and high >= extent - 1


def _reads_under_condition(stage: Stage, buffers: set[str]) -> bool:
    return any(
        isinstance(node, If) and any(load.buffer in buffers for load in loads(node))
        for body in stage.body
        for node in walk(body)
    )


def _is_under(plan: Plan, stage: str, parent: StageNest, position: int) -> bool:
    """True where `stage` is attached, directly or through others, at loop `position` of `parent` or inside it."""
    nest = plan.by_stage[stage]
    while nest.at is not None:
        host = plan.by_stage[nest.at.stage]
        if host is parent:
            return parent.position(nest.at.loop) >= position
        nest = host
    return False


def _longer(plan: Plan) -> dict[str, set[str]]:
    """Of attached producers the axes along which an attached reader skips a tail, or is longer in its turn.

    Not where it reads such a tail plainly: TVM sees there that the axis ends where the tail begins.
    """
    found: dict[str, set[str]] = {nest.stage.name: set() for nest in plan.nests}
    for reader in reversed(plan.nests):  # readers come after what they read
        if reader.at is None:
            continue
        extents = {axis.name: axis.extent for axis in reader.axes}
        tails = {split.axis for split in reader.nest.splits if math.prod(split.factors) > extents[split.axis]}
        longer = found[reader.stage.name]
        for load in (load for body in reader.stage.body for load in loads(body)):
            if (writer := plan.workload.writer.get(load.buffer)) is None:
                continue
            for axis, index in zip(writer.axes, load.indices, strict=True):
                axes = axes_in(index)
                if axes & longer or (axes & tails and not isinstance(index, Axis)):
                    found[writer.name].add(axis.name)
    return found


def check_longer_axes(plan: Plan, nest: StageNest) -> None:
    """No attached producer is split along an axis of which TVM makes more steps than it has, which pieces miss."""
    if nest.at is None or nest.consumer or not nest.nest.splits:
        return
    longer = _longer(plan)[nest.stage.name]
    for number, split in enumerate(nest.nest.splits):
        if split.axis in longer:
            message = f"what is attached reads {nest.stage.name!r} along a tail that it skips, and more steps are run"
            remedy = f"do not split axis {split.axis!r}, or use factors that divide"
            raise SpecError(f"{message}; {remedy}", f"splits[{number}]")


def check_predicate_tails(_: Plan, nest: StageNest) -> None:
    """A tail skipped by a predicate is the end of an axis; a part of one, where a stage is attached, is divided."""
    for number, split in enumerate(nest.nest.splits):
        if nest.at is None or split.tail != "predicate":
            continue
        if nest.consumer or not _is_whole(nest, split.axis):
            message = f"a stage that is attached to a part of axis {split.axis!r} cannot skip a tail by predicate"
            raise SpecError(f"{message}; use factors that divide the extent there", f"splits[{number}].tail")
