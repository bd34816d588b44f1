"""What TVM 0.27 calls things: the only table of its node classes and operator names.

TVM renames often (block, sblock; tir, tirx and s_tir): when it does, this file follows.
"""

from __future__ import annotations

from typing import Any, Final

from tvm import ir, te, tirx
from tvm.ir.prim import expr as prim
from tvm.s_tir.analysis import get_sblock_read_write_region
from tvm.s_tir.stmt import SBlock, SBlockRealize
from tvm.tirx import stmt as stmts

__all__ = [
    "BINARY_NODES",
    "COMPARE_NODES",
    "DISABLE_ASSERT",
    "EXTRA_OPS",
    "IF_OP",
    "LIKELY_OP",
    "OPS",
    "WIDENED",
    "SBlock",
    "SBlockRealize",
    "get_sblock_read_write_region",
    "ir",
    "prim",
    "stmts",
    "te",
    "tirx",
]  # fmt: skip

BINARY_NODES: Final[dict[str, Any]] = {
    "add": prim.Add, "sub": prim.Sub, "mul": prim.Mul, "div": prim.Div, "floordiv": prim.FloorDiv,
    "floormod": prim.FloorMod, "truncdiv": prim.Div, "truncmod": prim.Mod, "min": prim.Min, "max": prim.Max,
    "bitand": prim.BitwiseAnd, "bitor": prim.BitwiseOr, "bitxor": prim.BitwiseXor, "shl": prim.LShift,
    "shr": prim.RShift,
}  # fmt: skip
"""Our operator → TVM's node; `Div` is "div" on floats and "truncdiv" on integers; `Mod` on floats is our fmod."""

COMPARE_NODES: Final[dict[str, Any]] = {
    "eq": prim.EQ, "ne": prim.NE, "lt": prim.LT, "le": prim.LE, "gt": prim.GT, "ge": prim.GE,
}  # fmt: skip

OPS: Final[dict[str, str]] = {
    "exp": "tirx.exp", "log": "tirx.log", "log2": "prim.log2", "log10": "tirx.log10", "log1p": "tirx.log1p",
    "exp2": "tirx.exp2", "sqrt": "tirx.sqrt", "rsqrt": "tirx.rsqrt", "sin": "tirx.sin", "cos": "tirx.cos",
    "tan": "tirx.tan", "sinh": "tirx.sinh", "cosh": "tirx.cosh", "tanh": "tirx.tanh", "asin": "tirx.asin",
    "acos": "tirx.acos", "atan": "tirx.atan", "sigmoid": "tirx.sigmoid", "erf": "tirx.erf", "floor": "tirx.floor",
    "ceil": "prim.ceil", "trunc": "tirx.trunc", "round": "tirx.round", "pow": "tirx.pow", "atan2": "tirx.atan2",
    "abs": "tirx.fabs",
}  # fmt: skip
"""Our intrinsic → TVM's operator. `abs` is on floats; integers have none, and fmod (`tirx.fmod`) does not compile."""

EXTRA_OPS: Final[dict[str, str]] = {"tirx.nearbyint": "round", "tirx.fmod": "fmod"}
"""TVM's second names for intrinsics of ours."""

WIDENED: Final = {
    "float16": frozenset({"log1p", "sinh", "cosh", "asin", "acos", "atan", "erf", "atan2"}),
    "bfloat16": frozenset({"fmod"}),
}
"""Intrinsics that LLVM has no code for in a short float: they are computed in float32."""

DISABLE_ASSERT: Final = "tirx.disable_assert"
"""The option of a PassContext that leaves out the checks of an entry's arguments."""

IF_OP: Final = "prim.if_then_else"
LIKELY_OP: Final = "prim.likely"
