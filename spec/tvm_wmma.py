"""The calls of a warp's intrinsics, and the loops that say the same.

Before                                          After (wmma.load_a_16x16x16_f16)

    for ii, ki in T.grid(16, 16):                   with T.sblock("A.frag"):
        with T.sblock("A.frag"):                        x, f = T.match_buffer(A_sh[i : i + 16, k : k + 16]), ...
            A_frag[i, k] = A_sh[i, k]                   for lane in T.thread_binding(32, thread="threadIdx.x"):
                                                            T.tvm_load_matrix_sync(f.data, 16, 16, 16, ..., "row_major")

All threads of a warp come to a call together, so it is in a loop over its 32 lanes. TVM puts the tiles of a fragment
into an array, and a call names a tile by its number in the buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .expr import Binary, Cast, Expr, Load
from .intrinsics import TILE, WARP
from .kernel import WARP_LANES
from .tensorized import is_fragment
from .tvm_names import BINARY_NODES, dtype_of, pointer_to, prim, scalar_var, stmts, tirx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .intrinsics import Intrinsic
    from .tensorized import Operand
    from .tvm_tensorize import Instructions

SHAPE = (TILE, TILE, TILE)


def warp_call(intrinsic: Intrinsic, operands: Mapping[str, Operand], matched: Mapping[str, Any]) -> Any:
    """The call for what an intrinsic does: a product of tiles, or a tile put into a fragment or out of it."""
    if intrinsic.stage.reduce:
        c, a, b = ((matched[name].data, _tile_number(matched[name])) for name in "CAB")
        return _in_lanes(tirx.tvm_mma_sync(*c, *a, *b, *c), matched)
    output = intrinsic.output.name
    (read,) = (buffer.name for buffer in intrinsic.computes.inputs)
    loads = is_fragment(output, intrinsic)
    fragment, memory = (output, read) if loads else (read, output)
    call = tirx.tvm_load_matrix_sync if loads else tirx.tvm_store_matrix_sync
    step, layout = _layout(intrinsic, operands[memory], matched[memory])
    pointer = pointer_to(matched[memory], intrinsic.computes.buffers[memory].dtype, "r" if loads else "w")
    tile = _tile_number(matched[fragment])
    return _in_lanes(call(matched[fragment].data, *SHAPE, tile, pointer, step, layout), matched)


def warp_fill(value: Any) -> Instructions:
    """What the start of a sum is: a tile filled with one value."""

    def fill(intrinsic: Intrinsic, _: Mapping[str, Operand], matched: Mapping[str, Any]) -> Any:
        sums = matched[intrinsic.output.name]
        return _in_lanes(tirx.tvm_fill_fragment(sums.data, *SHAPE, _tile_number(sums), value), matched)

    return fill


def _in_lanes(call: Any, matched: Mapping[str, Any]) -> Any:
    """A call that the 32 lanes of a warp make together."""
    index_dtype = dtype_of(next(iter(matched.values())).shape[0])
    zero, lanes = prim.IntImm(index_dtype, 0), prim.IntImm(index_dtype, WARP)
    bound = tirx.IterVar(None, WARP_LANES, tirx.IterVar.ThreadIndex, WARP_LANES)
    lane = scalar_var("lane", index_dtype)
    return stmts.For(lane, zero, lanes, stmts.ForKind.THREAD_BINDING, tirx.Evaluate(call), bound)


def _tile_number(fragment: Any) -> Any:
    """Which tile of a fragment's buffer a buffer begins at: they are numbered along rows of tiles."""
    row = fragment.strides[-2]
    rows = fragment.elem_offset // row // TILE
    return rows * (row // TILE) + fragment.elem_offset % row // TILE


def _layout(intrinsic: Intrinsic, operand: Operand, memory: Any) -> tuple[Any, str]:
    """Elements between rows where these are side by side in memory, else between columns, and which it is."""
    across, along = (axis.name for axis in intrinsic.loops)
    steps = operand.strides({across: TILE, along: TILE})
    assert steps is not None
    rows = steps[along] == 1
    moving = across if rows else along
    terms = [stride * moves[moving] for moves, stride in zip(operand.moves, memory.strides, strict=True)
             if moves is not None and moving in moves]  # fmt: skip
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total, "row_major" if rows else "col_major"


def warp_loops(intrinsic: Intrinsic, operands: Mapping[str, Operand], matched: Mapping[str, Any]) -> Any:
    """The loops that an intrinsic stands for, on the same buffers: what its calls do, for a CPU."""
    index_dtype = dtype_of(matched[intrinsic.output.name].shape[0])
    loops = {axis.name: scalar_var(axis.name, index_dtype) for axis in intrinsic.loops}

    def place(name: str) -> list[Any]:
        zero = prim.IntImm(index_dtype, 0)
        return [
            sum((loops[axis] * step for axis, step in (moves or {}).items()), zero) for moves in operands[name].moves
        ]

    def value(node: Expr) -> Any:
        match node:
            case Cast(dtype, inner):
                return prim.Cast(dtype, value(inner))
            case Load(buffer, _):
                return tirx.BufferLoad(matched[buffer], place(buffer))
            case Binary(op, a, b):
                return BINARY_NODES[op](value(a), value(b))
        raise TypeError(node)

    output = intrinsic.output.name
    result = value(intrinsic.stage.body[0])
    if intrinsic.stage.reduce:
        result = prim.Add(tirx.BufferLoad(matched[output], place(output)), result)
    stmt = stmts.BufferStore(matched[output], result, place(output))
    zero, extent = prim.IntImm(index_dtype, 0), prim.IntImm(index_dtype, TILE)
    for axis in reversed(intrinsic.loops):
        stmt = stmts.For(loops[axis.name], zero, extent, stmts.ForKind.SERIAL, stmt)
    return stmt
