"""The block that uses an intrinsic in the place of the loops that it stands for.

Before                                         After (vnni.dot_16x4)

    for jl, kk in T.grid(16, 4):                   for jl, kk in T.grid(1, 1):
        with T.sblock("C_update"):                     with T.sblock("C_update"):
            C[i, jl] += A[i, kk] * B[jl, kk]               a, b, c = T.match_buffer(A[i, 0:4]), ...
                                                           c[0, 0:16] = dot(c[0, 0:16], a[0, 0:4], b[0:16, 0:4])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from .dtypes import size_bytes
from .errors import LoweringError
from .intrinsics import Intrinsic
from .nest import StageNest
from .tensorized import operands_of
from .tvm_names import (
    MatchBufferRegion,
    SBlock,
    SBlockRealize,
    buffer_of,
    dtype_of,
    ir,
    prim,
    scalar_var,
    scope_of,
    stmts,
    tirx,
    undefined_vars,
)
from .tvm_write import written_indices
from .workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .tensorized import Operand

Instructions: TypeAlias = "Callable[[Intrinsic, Mapping[str, Operand], Mapping[str, Any]], Any]"
"""What an intrinsic is as a statement of TVM's, on a buffer for each operand that begins where the operand does."""


@attrs.frozen(kw_only=True)
class Use:
    """What a nest is tensorized by; `buffers` are TVM's, by our names."""

    nest: StageNest
    intrinsic: Intrinsic
    workload: Workload
    buffers: dict[str, Any]
    instructions: Instructions


def tensorized_loops(use: Use, outer: Any) -> tuple[Any, Any, Any]:
    """For the outermost of a nest's tensorized loops: what takes its place, and the block before and after.

    The loops stay, with one step each: the block's axes are then where the intrinsic begins. Those may also be the
    loops of the block that starts the sum; of the operands, it has the output alone.
    """
    loops, inner = [], outer
    while isinstance(inner, stmts.For):
        loops.append(inner)
        inner = inner.body
    realize, names = inner, {loop.loop_var for loop in loops}
    if any(var in names for var in undefined_vars(realize.predicate)):
        message = f"some steps of {use.intrinsic.name} of stage {use.nest.stage.name!r} are under a condition in TVM"
        raise LoweringError(f"{message}; please report this schedule")
    block = _block(use, realize.block)
    new = SBlockRealize(realize.iter_values, realize.predicate, block)
    one = prim.IntImm(dtype_of(outer.extent), 1)
    for loop in reversed(loops):
        new = stmts.For(loop.loop_var, loop.min, one, stmts.ForKind.SERIAL, new)
    return new, realize.block, block


def _block(use: Use, block: Any) -> Any:
    """The block of one use: what it touches as buffers of their own, and the instructions."""
    nest, intrinsic, buffers = use.nest, use.intrinsic, use.buffers
    operands = operands_of(nest, intrinsic, use.workload)
    assert operands is not None
    output = intrinsic.output.name
    starts = len(block.iter_vars) < len(nest.stage.extents)
    used = (output,) if starts else tuple(sorted(operands, key=lambda name: (name != output, name)))
    axes = dict(zip(nest.stage.extents, (axis.var for axis in block.iter_vars), strict=not starts))
    regions = {}
    for name in used:
        operand = operands[name]
        where = written_indices(operand.load, axes, buffers, use.workload.index_dtype)
        regions[name] = _region(buffers[operand.load.buffer], where, _touched(operand, intrinsic))
    matched = {name: _matched(name, region, intrinsic) for name, region in regions.items()}
    own = [buffers[operand.load.buffer] for operand in operands.values()]
    others = [region for region in block.reads if not any(buffer_of(region).same_as(buffer) for buffer in own)]
    adds = bool(intrinsic.stage.reduce) and not starts
    return SBlock(
        block.iter_vars,
        [*others, *(regions[name] for name in used if name != output or adds)],
        [regions[output]],
        block.name_hint,
        use.instructions(intrinsic, operands, matched),
        match_buffers=[MatchBufferRegion(matched[name], regions[name]) for name in used],
    )


def _touched(operand: Operand, intrinsic: Intrinsic) -> tuple[int, ...]:
    return operand.region({axis.name: axis.extent for axis in intrinsic.loops})


def _region(buffer: Any, where: Sequence[Any], extents: Sequence[int]) -> Any:
    ranges = [ir.Range.from_min_extent(w, prim.IntImm(dtype_of(w), e)) for w, e in zip(where, extents, strict=True)]
    return tirx.BufferRegion(buffer, ranges)


def _matched(name: str, region: Any, intrinsic: Intrinsic) -> Any:
    """A buffer over a region; its elements lie side by side, those of a warp's operand any steps apart."""
    dtype = intrinsic.computes.buffers[name].dtype
    index_dtype = dtype_of(region.region[0].extent)
    numbers = range(len(region.region))
    steps = [scalar_var(f"{name}_step{number}", index_dtype) for number in numbers] if intrinsic.of_warp else None
    return tirx.decl_buffer(
        [each.extent for each in region.region],
        dtype,
        f"{intrinsic.name.replace('.', '_')}_{name}",
        strides=steps,
        elem_offset=scalar_var(f"{name}_offset", index_dtype),
        scope=scope_of(buffer_of(region)),
        data_alignment=size_bytes(dtype),
        offset_factor=1,
        layout=None,
    )
