"""What the tables of names share from TVM 0.26 on, where expressions have types, and buffers are variables."""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm import ir, tirx


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


def handle_of(buffer: Any) -> Any:
    """What regions are computed by: the variable that a buffer is."""
    return buffer


def pointer_to(buffer: Any, dtype: str, access: str) -> Any:
    """A pointer to where a buffer begins, to be read or written: `access` is ``r`` or ``w``."""
    return buffer.access_ptr(access, ptr_type=dtype)


def data_address(tensor: Any) -> int:
    """Where the bytes of a tensor begin."""
    return int(tensor.data_ptr())
