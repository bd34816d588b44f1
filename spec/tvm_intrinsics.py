"""The instructions of a CPU's intrinsics, as LLVM's own text, and the call of one.

TVM has descriptions of some (``tvm.s_tir.tensor_intrin.x86``), but those of vpdpbusd have the types of an older LLVM,
which the LLVM inside TVM 0.27 refuses; and bfloat16 it stores as uint16, so that no call of vdpbf16ps can be typed at
all. A function in LLVM's text has neither trouble: its reader brings calls of old types up to date, and the function,
imported by a pragma, is inlined where it is called.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from .dtypes import size_bytes
from .tvm_names import dtype_of, prim, stmts, tirx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .intrinsics import Intrinsic
    from .tensorized import Operand

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
    parameters += ", ptr %pa, ptr %pb" * (intrinsic.family == "bf16")  # not used, see llvm_call
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


def llvm_call(intrinsic: Intrinsic, _: Mapping[str, Operand], matched: Mapping[str, Any]) -> Any:
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
