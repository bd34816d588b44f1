"""What TVM 0.27 calls things, where other versions differ."""

from __future__ import annotations

from typing import Any, Final

from tvm import s_tir
from tvm.ir.prim import expr as prim
from tvm.s_tir.stmt import MatchBufferRegion, SBlock, SBlockRealize

from .tvm_typed_nodes import call_node, data_address, dtype_of, handle_of, pointer_to, scalar_var

__all__ = [
    "BIT_NODES",
    "IF_OP",
    "LIKELY_OP",
    "RENAMED_OPS",
    "SIMPLIFY",
    "MatchBufferRegion",
    "SBlock",
    "SBlockRealize",
    "buffer_of",
    "call_node",
    "data_address",
    "dtype_of",
    "handle_of",
    "pointer_to",
    "prim",
    "scalar_var",
    "scope_of",
]

BIT_NODES: Final[dict[str, Any]] = {
    "bitand": prim.BitwiseAnd, "bitor": prim.BitwiseOr, "bitxor": prim.BitwiseXor, "shl": prim.LShift,
    "shr": prim.RShift,
}  # fmt: skip
"""Our operators on bits → TVM's nodes."""

IF_OP: Final = "prim.if_then_else"
LIKELY_OP: Final = "prim.likely"

SIMPLIFY: Final = s_tir.transform.StmtSimplify
"""The pass that simplifies statements."""

RENAMED_OPS: Final[dict[str, str]] = {"log2": "prim.log2", "ceil": "prim.ceil"}
"""Operators that stand in another place than in ``tirx``."""


def buffer_of(region: Any) -> Any:
    """The buffer that a region is of."""
    return region.source


def scope_of(buffer: Any) -> str:
    """The memory that a buffer is in, as ``shared``."""
    return str(buffer.ty.storage_scope)
