"""Checks of fragments: what is in them goes in and out by intrinsics of a warp, tile by tile, in 32 threads.

A fragment's values lie in registers of all threads of a warp, in no order that is known: no thread can read one of
them. So every stage that fills or reads a fragment is tensorized, each of its operands is in the memory that the
intrinsic takes it from, and its tiles begin and lie where the hardware can move them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .dtypes import size_bytes
from .errors import SpecError
from .expr_text import text_from_expr
from .intrinsics import INTRINSICS, TILE, WARP
from .kernel import WARP_LANES, gpu_loops, has_warps, kernel_of, strides_in_memory
from .schedule import FRAGMENTS, SHARED, VTHREAD
from .tensorized import is_fragment, is_tile, operands_of, warp_intrinsic

if TYPE_CHECKING:
    from .gpu import GpuLimits
    from .intrinsics import Intrinsic
    from .nest import Plan, StageNest
    from .tensorized import Operand

ROW_BYTES: Final = 16
"""Rows of a tile in memory are a multiple of this apart (CUDA C++ programming guide, load_matrix_sync)."""
TILE_BYTES: Final = 32
"""A tile begins at a multiple of this (the same)."""


def check_fragments(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """A fragment is filled and read by intrinsics that take it, and these find their operands in their memories."""
    intrinsic, scope = warp_intrinsic(nest), nest.nest.scope
    if scope in FRAGMENTS and (intrinsic is None or scope not in intrinsic.scopes[intrinsic.output.name]):
        fill = [one.name for one in INTRINSICS.values() if one.of_warp and scope in one.scopes[one.output.name]]
        message = f"{nest.stage.name!r} is in fragments of {scope}, which only intrinsics fill"
        raise SpecError(f"{message}; tensorize it by one of {', '.join(fill)}, or use another scope", "scope")
    if intrinsic is None:
        for buffer in nest.stage.reads:
            if (held := _scope_of(plan, buffer)) in FRAGMENTS:
                message = f"{nest.stage.name!r} reads {buffer!r}, whose values no thread can tell apart in {held}"
                raise SpecError(f"{message}; store it to shared or global memory by tensorize, and read that", "stage")
        return
    operands = operands_of(nest, intrinsic, plan.workload)
    assert operands is not None
    for name, operand in operands.items():
        buffer = operand.load.buffer
        found = scope if name == intrinsic.output.name else _scope_of(plan, buffer)
        if found not in intrinsic.scopes[name]:
            message = f"{buffer!r} is in {found} memory, and operand {name} of {intrinsic.name} is in"
            raise SpecError(f"{message} {' or '.join(intrinsic.scopes[name])}; change the scope", "tensorize.intrinsic")


def _scope_of(plan: Plan, buffer: str) -> str:
    writer = plan.writer_of(buffer)
    return writer.nest.scope if writer is not None else "global"


def check_warps(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """In a kernel with warps, threadIdx.x is their 32 lanes, and these do an intrinsic together."""
    if not has_warps(kernel_of(plan, nest).nests):
        return
    for loop in nest.bound:
        if loop.to == WARP_LANES and loop.extent != WARP:
            message = f"loop {loop.name!r} has {loop.extent} steps of {WARP_LANES}, which is the lanes of a warp here"
            raise SpecError(f"{message}; give it {WARP}, and more threads to threadIdx.y", "bind")
        if loop.to == VTHREAD:
            message = f"loop {loop.name!r} is virtual threads, which share the fragments of their warp"
            raise SpecError(f"{message}; leave it serial, or bind it to threadIdx.y", "bind")
    intrinsic = warp_intrinsic(nest)
    for (stage, name), loop in gpu_loops(plan, nest) if intrinsic is not None else ():
        if loop.to == WARP_LANES:
            where = "" if stage == nest.stage.name else f" of {stage!r}"
            message = f"loop {name!r}{where} is bound to {WARP_LANES}, the lanes of a warp"
            raise SpecError(f"{message}, which do {nest.stage.name!r} together; bind it to threadIdx.y", "bind")


def check_tiles(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """Operands of a warp's intrinsic are tiles: the last two axes of a fragment, or aligned rows in memory."""
    intrinsic = warp_intrinsic(nest)
    if intrinsic is None:
        return
    operands = operands_of(nest, intrinsic, plan.workload)
    assert operands is not None
    for name, operand in operands.items():
        if is_fragment(name, intrinsic):
            _check_fragment_tile(nest, intrinsic, name, operand)
        else:
            _check_tile_in_memory(plan, intrinsic, operand)


def check_one_dtype(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """In a kernel with warps all buffers of one kind of shared memory have one dtype.

    TVM puts a buffer where another was that is done with, and fails where a warp's intrinsic then finds another dtype.
    """
    others = kernel_of(plan, nest).nests
    if not nest.shared or not has_warps(others):
        return
    scope, mine = nest.nest.scope, nest.stage.outputs[0].dtype
    for other in others[: others.index(nest)]:
        found = other.stage.outputs[0].dtype
        if other.nest.scope == scope and found != mine:
            message = f"{nest.stage.name!r} has {mine} in {scope} memory, and {other.stage.name!r} has {found} there"
            remedy = f"use {next(kind for kind in SHARED if kind != scope)} for one"
            raise SpecError(f"{message}, which TVM mixes up where warps reach it; {remedy}", "scope")


def _check_fragment_tile(nest: StageNest, intrinsic: Intrinsic, name: str, operand: Operand) -> None:
    own = {axis.name: loop.name for axis, loop in zip(intrinsic.loops, nest.tensorized, strict=True)}
    load, axes = text_from_expr(operand.load), [own[axis] for axis in intrinsic.axes_of(name)]
    if not is_tile(name, operand, intrinsic):
        message = (
            f"{load} is operand {name} of {intrinsic.name}, whose rows and columns are the last axes of its buffer"
        )
        raise SpecError(f"{message}; let {axes[0]!r} and {axes[1]!r} move these by 1, and no other", "tensorize.loop")
    if any(grain % TILE for grain in operand.grains[-2:]):
        message = f"{load} begins inside a tile of {TILE} by {TILE}, and {intrinsic.name} takes whole ones"
        raise SpecError(f"{message}; use factors that are multiples of {TILE}", "tensorize.loop")


def _check_tile_in_memory(plan: Plan, intrinsic: Intrinsic, operand: Operand) -> None:
    load, size = text_from_expr(operand.load), size_bytes(plan.workload.buffers[operand.load.buffer].dtype)
    steps, begins = _in_memory(plan, intrinsic, operand)
    if steps is None or 1 not in steps or 0 in steps:
        found = "no fixed step" if steps is None else f"{steps[0]} and {steps[1]} elements"
        message = f"rows and columns of {load} are {found} apart in memory, and {intrinsic.name} needs one of them"
        raise SpecError(f"{message} side by side; reindex or pack it", "tensorize.loop")
    step = max(steps)
    if step * size % ROW_BYTES:
        message = f"rows of {load} are {step * size} bytes apart, and {intrinsic.name} takes multiples of {ROW_BYTES}"
        raise SpecError(f"{message}; align its buffer, or use other factors", "tensorize.loop")
    if begins * size % TILE_BYTES:
        message = f"tiles of {load} begin at multiples of {begins * size} bytes"
        remedy = f"{intrinsic.name} needs multiples of {TILE_BYTES}; pack it by tiles, or use other factors"
        raise SpecError(f"{message}, and {remedy}", "tensorize.loop")


def _in_memory(plan: Plan, intrinsic: Intrinsic, operand: Operand) -> tuple[tuple[int, int] | None, int]:
    """Elements between rows and between columns, None where these are no fixed numbers; and what a tile begins at.

    The latter is a multiple of the number given, 0 where it is always 0.
    """
    buffer = operand.load.buffer
    writer = plan.writer_of(buffer)
    strides = strides_in_memory(plan, buffer)
    kept_from = [0] * len(strides)
    if writer is not None and writer.shared and writer.box:
        spans = [writer.box[axis.name] for axis in writer.stage.axes]
        kept_from = [math.gcd(span.start, *(step for _, step in span.base)) for span in spans]
    begins = math.gcd(
        *(
            math.gcd(*both) * step
            for both, step in zip(zip(operand.grains, kept_from, strict=True), strides, strict=True)
        )
    )
    if any(moves is None for moves in operand.moves):
        return None, begins
    across, along = (
        sum((moves or {}).get(axis, 0) * step for moves, step in zip(operand.moves, strides, strict=True))
        for axis in (intrinsic.loops[0].name, intrinsic.loops[1].name)
    )
    return (across, along), begins
