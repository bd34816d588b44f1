"""What TVM 0.27 calls things, where other versions differ."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from tvm import ir, s_tir, tirx
from tvm.ir.prim import expr as prim
from tvm.s_tir.stmt import MatchBufferRegion, SBlock, SBlockRealize

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
SIMPLIFY: Final = s_tir.transform.StmtSimplify
"""The pass that simplifies statements."""

LIKELY_OP: Final = "prim.likely"

RENAMED_OPS: Final[dict[str, str]] = {"log2": "prim.log2", "ceil": "prim.ceil"}
"""Operators that stand in another place than in ``tirx``."""


def dtype_of(node: Any) -> str:
    """The dtype of a scalar expression."""
    return str(node.ty.dtype)


def scalar_var(name: str, dtype: str) -> Any:
    """A scalar variable."""
    return tirx.Var(name, _prim_type(dtype))


@cache
def _prim_type(dtype: str) -> Any:
    return ir.PrimType(dtype)


def call_node(op: Any, args: list[Any], like: Any) -> Any:
    """A call of an intrinsic that gives what has the type of the expression `like`."""
    return ir.Call(op, args, ret_ty=like.ty)


def buffer_of(region: Any) -> Any:
    """The buffer that a region is of."""
    return region.source


def scope_of(buffer: Any) -> str:
    """The memory that a buffer is in, as ``shared``."""
    return str(buffer.ty.storage_scope)


def handle_of(buffer: Any) -> Any:
    """What regions are computed by: the variable that a buffer is."""
    return buffer


def data_address(tensor: Any) -> int:
    """Where the bytes of a tensor begin."""
    return int(tensor.data_ptr())
