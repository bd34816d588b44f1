"""What TVM calls things: its node classes and operator names, in the version that is installed.

TVM renames often (block, sblock; tir, tirx and s_tir). What every version that we know shares stands here, what
differs in one table for each, ``tvm_names_0NN.py``: whoever needs a name imports it from here and asks for no version.
"""

from __future__ import annotations

from typing import Any, Final

import tvm
from tvm import ir, te, tirx
from tvm.s_tir.analysis import get_sblock_read_write_region
from tvm.tirx import stmt as stmts
from tvm.tirx.analysis import undefined_vars

from .errors import LoweringError
from .tvm_versions import DEFAULT, minor

if minor(tvm.__version__) >= (0, 27):
    from . import tvm_names_027 as names
elif minor(tvm.__version__) == (0, 26):
    from . import tvm_names_026 as names  # type: ignore[no-redef]
else:
    from . import tvm_names_025 as names  # type: ignore[no-redef]

__all__ = [
    "BINARY_NODES",
    "COMPARE_NODES",
    "DISABLE_ASSERT",
    "EXTRA_OPS",
    "IF_OP",
    "LIKELY_OP",
    "OPS",
    "SIMPLIFY",
    "WIDENED",
    "MatchBufferRegion",
    "SBlock",
    "SBlockRealize",
    "blocks_of",
    "buffer_of",
    "call_node",
    "check_reads",
    "data_address",
    "dtype_of",
    "get_sblock_read_write_region",
    "handle_of",
    "ir",
    "pointer_to",
    "prim",
    "scalar_var",
    "scope_of",
    "stmts",
    "te",
    "tirx",
    "undefined_vars",
]  # fmt: skip

prim: Final[Any] = names.prim
MatchBufferRegion: Final[Any] = names.MatchBufferRegion
SBlock: Final[Any] = names.SBlock
SBlockRealize: Final[Any] = names.SBlockRealize
buffer_of: Final = names.buffer_of
call_node: Final = names.call_node
data_address: Final = names.data_address
dtype_of: Final = names.dtype_of
handle_of: Final = names.handle_of
pointer_to: Final = names.pointer_to
scalar_var: Final = names.scalar_var
scope_of: Final = names.scope_of

BINARY_NODES: Final[dict[str, Any]] = {
    "add": prim.Add, "sub": prim.Sub, "mul": prim.Mul, "div": prim.Div, "floordiv": prim.FloorDiv,
    "floormod": prim.FloorMod, "truncdiv": prim.Div, "truncmod": prim.Mod, "min": prim.Min, "max": prim.Max,
    **names.BIT_NODES,
}  # fmt: skip
"""Our operator → TVM's node; `Div` is "div" on floats and "truncdiv" on integers; `Mod` on floats is our fmod."""

COMPARE_NODES: Final[dict[str, Any]] = {
    "eq": prim.EQ, "ne": prim.NE, "lt": prim.LT, "le": prim.LE, "gt": prim.GT, "ge": prim.GE,
}  # fmt: skip

OPS: Final[dict[str, str]] = {
    "exp": "tirx.exp", "log": "tirx.log", "log2": "tirx.log2", "log10": "tirx.log10", "log1p": "tirx.log1p",
    "exp2": "tirx.exp2", "sqrt": "tirx.sqrt", "rsqrt": "tirx.rsqrt", "sin": "tirx.sin", "cos": "tirx.cos",
    "tan": "tirx.tan", "sinh": "tirx.sinh", "cosh": "tirx.cosh", "tanh": "tirx.tanh", "asin": "tirx.asin",
    "acos": "tirx.acos", "atan": "tirx.atan", "sigmoid": "tirx.sigmoid", "erf": "tirx.erf", "floor": "tirx.floor",
    "ceil": "tirx.ceil", "trunc": "tirx.trunc", "round": "tirx.round", "pow": "tirx.pow", "atan2": "tirx.atan2",
    "abs": "tirx.fabs", **names.RENAMED_OPS,
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

IF_OP: Final = names.IF_OP
LIKELY_OP: Final = names.LIKELY_OP
SIMPLIFY: Final = names.SIMPLIFY


def check_reads() -> None:
    """Raises LoweringError where this TVM's own programs cannot be read into workloads: its nodes are other ones."""
    if minor(tvm.__version__) < minor(DEFAULT):
        raise LoweringError(
            f"TVM {tvm.__version__} is installed, and TE and TensorIR are read with {DEFAULT} only: install that, or "
            "pass a spec file or a workload built with autosched.spec.builder, which any known TVM lowers"
        )


def blocks_of(stmt: Any) -> list[Any]:
    """All blocks of scheduled TensorIR, in the order in which they stand: loops and blocks are all there is of it."""
    if isinstance(stmt, stmts.SeqStmt):
        return [block for part in stmt.seq for block in blocks_of(part)]
    if isinstance(stmt, stmts.For):
        return blocks_of(stmt.body)
    if isinstance(stmt, SBlockRealize):
        return [stmt.block, *blocks_of(stmt.block.body)]
    return []
