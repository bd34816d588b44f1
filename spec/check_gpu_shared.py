"""What TVM gets wrong in shared memory, refused: its passes plan barriers and places by the statements they see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .errors import SpecError
from .expr import Axis
from .kernel import buffer_bytes, kernel_of

if TYPE_CHECKING:
    from .gpu import GpuLimits
    from .nest import Plan, StageNest

SMALL_BYTES: Final = 4
"""A buffer of so much or less TVM keeps in a register where it can, and finds no place for it in dynamic memory."""


def check_dynamic_outputs(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """A stage of several outputs is not in dynamic shared memory, nor reads it in a reduction.

    TVM lays that memory out by the statements that use it, and loses some where a stage has several in a row.
    """
    stage = nest.stage
    if len(stage.outputs) == 1:
        return
    read = {plan.workload.writer[name].name for name in stage.reads if name in plan.workload.writer}
    uses = {nest.nest.scope, *(plan.by_stage[name].nest.scope for name in read if stage.reducer is not None)}
    if "shared.dyn" in uses:
        message = f"{stage.name!r} has several outputs and uses dynamic shared memory, which TVM lays out wrongly there"
        raise SpecError(f'{message}; use "shared"', "scope")


def check_skipped_sums(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """A reduction into shared memory skips no steps, but where it has one output and starts apart.

    TVM puts barriers between what reads and writes shared memory, and cannot under the condition that skips.
    """
    if not nest.shared or nest.stage.reducer is None or (nest.nest.start and len(nest.stage.outputs) == 1):
        return
    axis = _axis_with_skipped_steps(plan, nest)
    if axis is not None:
        extent = nest.stage.extents[axis]
        message = f"{nest.stage.name!r} reduces in shared memory and skips steps of axis {axis!r}, which has {extent}"
        remedy = "use factors that divide" if len(nest.stage.outputs) > 1 else "use factors that divide, or give start"
        raise SpecError(f"{message}; {remedy}", "splits" if nest.at is None else "at")


def _axis_with_skipped_steps(plan: Plan, nest: StageNest) -> str | None:
    """An axis that the loops of a stage, or those around it, run further along than it goes; None where none is."""
    loops = {f"{other.stage.name}:{loop.name}": loop.extent for other in plan.nests for loop in other.loops}
    made = {split.axis: math.prod(split.factors) for split in nest.nest.splits}
    for axis in nest.axes:
        reach = made.get(axis.name, axis.extent)
        if nest.at is not None:
            span = nest.box[axis.name]
            reach += span.start
            reach += sum(step * (loops[atom.name] - 1) for atom, step in span.base if isinstance(atom, Axis))
        if reach > nest.stage.extents[axis.name]:
            return axis.name
    return None


def check_small_dynamic(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """A dynamic shared buffer of 4 bytes or less is the only one of its kernel: TVM loses it among others."""
    kernel = kernel_of(plan, nest)
    dynamic = [other for other in kernel.nests if other.nest.scope == "shared.dyn"]
    if nest in dynamic and len(dynamic) > 1 and (used := buffer_bytes(plan, nest)) <= SMALL_BYTES:
        message = f"{nest.stage.name!r} takes {used} of shared.dyn memory's bytes, beside other stages there"
        raise SpecError(f"{message}; TVM builds parts of more than {SMALL_BYTES} only: use shared", "scope")
