"""The instructions of intrinsics, as LLVM's own text, and the block that uses one in the place of loops.

TVM has descriptions of some (``tvm.s_tir.tensor_intrin.x86``), but those of vpdpbusd have the types of an older LLVM,
which the LLVM inside TVM 0.27 refuses; and bfloat16 it stores as uint16, so that no call of vdpbf16ps can be typed at
all. A function in LLVM's text has neither trouble: its reader brings calls of old types up to date, and the function,
imported by a pragma, is inlined where it is called.

Before                                         After (vnni.dot_16x4)

    for jl, kk in T.grid(16, 4):                   for jl, kk in T.grid(1, 1):
        with T.sblock("C_update"):                     with T.sblock("C_update"):
            C[i, jl] += A[i, kk] * B[jl, kk]               a, b, c = T.match_buffer(A[i, 0:4]), ...
                                                           c[0, 0:16] = dot(c[0, 0:16], a[0, 0:4], b[0:16, 0:4])
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from .dtypes import size_bytes
from .errors import LoweringError
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
    stmts,
    tirx,
    undefined_vars,
)
from .tvm_write import written_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .intrinsics import Intrinsic
    from .nest import StageNest
    from .tensorized import Operand
    from .workload import Workload

PRAGMA: Final = "pragma_import_llvm"
_LLVM_TYPES: Final = {"int32": "i32", "float32": "float"}


def llvm_functions(intrinsics: Iterable[Intrinsic]) -> str:
    """The text of a module with each intrinsic as a function ``C = name(C, A, B)`` of vectors.

    Floats of 16 bits come as whole numbers.
    """
    chosen = {intrinsic.name: intrinsic for intrinsic in intrinsics}
    parts = [_function(intrinsic) for _, intrinsic in sorted(chosen.items())]
    declarations = sorted({declaration for declaration, _ in parts})
    return " ".join(" ".join([*declarations, *(definition for _, definition in parts)]).split())


def _function(intrinsic: Intrinsic) -> tuple[str, str]:
    """The declaration of the instruction, and the definition of the function around it."""
    lanes, depth = intrinsic.loops[0].extent, intrinsic.loops[1].extent
    bits = 8 * size_bytes(intrinsic.computes.buffers["A"].dtype)
    result = f"<{lanes} x {_LLVM_TYPES[intrinsic.output.dtype]}>"
    step, declaration = _STEPS[intrinsic.family](intrinsic)
    parameters = f"{result} %c, <{depth} x i{bits}> %a, <{lanes * depth} x i{bits}> %b"
    parameters += ", ptr %pa, ptr %pb" * (intrinsic.family == "bf16")  # not used, see _call
    return declaration, f'define {result} @"{symbol(intrinsic)}"({parameters}) {{\n{step}\n  ret {result} %sum\n}}'


def symbol(intrinsic: Intrinsic) -> str:
    """The name of the function that is an intrinsic."""
    return f"autosched.{intrinsic.name}"


def _to_all_lanes(intrinsic: Intrinsic, value: str, dtype: str) -> str:
    """Bitcasts a word of 32 bits and copies it to every lane: ``%all``."""
    vector = f"<{intrinsic.lanes} x i32>"
    return f"""  %word = bitcast {dtype} {value} to i32
  %one = insertelement {vector} poison, i32 %word, i64 0
  %all = shufflevector {vector} %one, {vector} poison, {vector} zeroinitializer"""


def _vnni_step(intrinsic: Intrinsic) -> tuple[str, str]:
    """Vpdpbusd takes the unsigned bytes first, whichever side they come from."""
    lanes = intrinsic.lanes
    vector, name = f"<{lanes} x i32>", f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
    unsigned_first = intrinsic.computes.buffers["A"].dtype == "uint8"
    order = f"{vector} %all, {vector} %words" if unsigned_first else f"{vector} %words, {vector} %all"
    step = f"""{_to_all_lanes(intrinsic, "%a", "<4 x i8>")}
  %words = bitcast <{4 * lanes} x i8> %b to {vector}
  %sum = call {vector} @{name}({vector} %c, {order})"""
    return step, f"declare {vector} @{name}({vector}, {vector}, {vector})"


def _madd_step(intrinsic: Intrinsic) -> tuple[str, str]:
    """Bytes widened to 16 bits, whose products and their sums in pairs are exact in 32."""
    lanes = intrinsic.lanes
    vector, pairs = f"<{lanes} x i32>", f"<{2 * lanes} x i16>"
    name = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}[lanes]
    widen = {b.name: "zext" if b.dtype == "uint8" else "sext" for b in intrinsic.computes.inputs}
    step = f"""  %wide = {widen["A"]} <2 x i8> %a to <2 x i16>
{_to_all_lanes(intrinsic, "%wide", "<2 x i16>")}
  %left = bitcast {vector} %all to {pairs}
  %right = {widen["B"]} <{2 * lanes} x i8> %b to {pairs}
  %products = call {vector} @{name}({pairs} %left, {pairs} %right)
  %sum = add {vector} %c, %products"""
    return step, f"declare {vector} @{name}({pairs}, {pairs})"


def _bf16_step(intrinsic: Intrinsic) -> tuple[str, str]:
    lanes = intrinsic.lanes
    floats, pairs = f"<{lanes} x float>", f"<{2 * lanes} x bfloat>"
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
    step = f"""{_to_all_lanes(intrinsic, "%a", "<2 x i16>")}
  %left = bitcast <{lanes} x i32> %all to {pairs}
  %right = bitcast <{2 * lanes} x i16> %b to {pairs}
  %sum = call {floats} @{name}({floats} %c, {pairs} %left, {pairs} %right)"""
    return step, f"declare {floats} @{name}({floats}, {pairs}, {pairs})"


_STEPS: Final = {"vnni": _vnni_step, "madd": _madd_step, "bf16": _bf16_step}


# --- the block --------------------------------------------------------------------------------------------------------


def tensorized_loops(nest: StageNest, intrinsic: Intrinsic, workload: Workload, outer: Any) -> tuple[Any, Any, Any]:
    """For the outermost of a nest's tensorized loops: what takes its place, and the block before and after.

    The loops stay, with one step each: the block's axes are then where the intrinsic begins.
    """
    loops, inner = [], outer
    while isinstance(inner, stmts.For):
        loops.append(inner)
        inner = inner.body
    realize, names = inner, {loop.loop_var for loop in loops}
    if any(var in names for var in undefined_vars(realize.predicate)):
        message = f"some steps of {intrinsic.name} of stage {nest.stage.name!r} are under a condition in TVM"
        raise LoweringError(f"{message}; please report this schedule")
    block = _block(nest, intrinsic, workload, realize.block)
    new = SBlockRealize(realize.iter_values, realize.predicate, block)
    one = prim.IntImm(dtype_of(outer.extent), 1)
    for loop in reversed(loops):
        new = stmts.For(loop.loop_var, loop.min, one, stmts.ForKind.SERIAL, new)
    return new, realize.block, block


def _block(nest: StageNest, intrinsic: Intrinsic, workload: Workload, block: Any) -> Any:
    """The block of one use: what it touches as flat buffers, and the call."""
    operands = operands_of(nest, intrinsic, workload)
    assert operands is not None
    buffers = {str(buffer_of(region).name): buffer_of(region) for region in (*block.reads, *block.writes)}
    axes = dict(zip(nest.stage.extents, (axis.var for axis in block.iter_vars), strict=True))
    regions = {}
    for name, operand in operands.items():
        where = written_indices(operand.load, nest.stage, axes, buffers, workload.index_dtype)
        regions[name] = _region(buffers[operand.load.buffer], where, _touched(operand, intrinsic))
    matched = {name: _matched(name, region, intrinsic) for name, region in regions.items()}
    output = intrinsic.output.name
    reads = [
        region
        for region in block.reads
        if str(buffer_of(region).name) not in {o.load.buffer for o in operands.values()}
    ]
    return SBlock(
        block.iter_vars,
        [*reads, *(regions[name] for name in (output, "A", "B"))],
        [regions[output]],
        block.name_hint,
        _call(intrinsic, matched),
        match_buffers=[MatchBufferRegion(matched[name], regions[name]) for name in (output, "A", "B")],
    )


def _touched(operand: Operand, intrinsic: Intrinsic) -> tuple[int, ...]:
    return operand.region({axis.name: axis.extent for axis in intrinsic.loops})


def _region(buffer: Any, where: Sequence[Any], extents: Sequence[int]) -> Any:
    ranges = [ir.Range.from_min_extent(w, prim.IntImm(dtype_of(w), e)) for w, e in zip(where, extents, strict=True)]
    return tirx.BufferRegion(buffer, ranges)


def _matched(name: str, region: Any, intrinsic: Intrinsic) -> Any:
    """A buffer over a region, whose elements lie side by side."""
    dtype = intrinsic.computes.buffers[name].dtype
    index_dtype = dtype_of(region.region[0].extent)
    return tirx.decl_buffer(
        [each.extent for each in region.region],
        dtype,
        f"{intrinsic.name.replace('.', '_')}_{name}",
        elem_offset=scalar_var(f"{name}_offset", index_dtype),
        data_alignment=size_bytes(dtype),
        offset_factor=1,
        layout=None,
    )


def _call(intrinsic: Intrinsic, matched: Mapping[str, Any]) -> Any:
    """``C[0:16] = name(C[0:16], A[0:4], B[0:64])``, each a vector of what lies side by side."""
    values, places = {}, {}
    for name, buffer in matched.items():
        own = intrinsic.computes.buffers[name]
        count = math.prod(own.shape)
        zero = prim.IntImm(dtype_of(buffer.shape[0]), 0)
        ramp = tirx.Ramp(zero, prim.IntImm(dtype_of(zero), 1), count)
        places[name] = [*(zero for _ in buffer.shape[1:]), ramp]
        value = tirx.BufferLoad(buffer, places[name])
        values[name] = tirx.reinterpret(f"uint16x{count}", value) if own.dtype == "bfloat16" else value
    output = intrinsic.output
    dtype = f"{output.dtype}x{intrinsic.lanes}"
    given = [values[output.name], values["A"], values["B"]]
    if intrinsic.family == "bf16":
        # TVM computes in float32, buffers of its own too, but for those that are also used by address.
        given += [matched["A"].data, matched["B"].data]
    called = tirx.call_pure_extern(dtype, symbol(intrinsic), *given)
    return stmts.BufferStore(matched[output.name], called, places[output.name])
