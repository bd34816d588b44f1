"""What TVM 0.25 calls things, where other versions differ."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from tvm import ir, tirx
from tvm.tirx import expr as prim
from tvm.tirx.stmt import MatchBufferRegion, SBlock, SBlockRealize

if TYPE_CHECKING:
    from collections.abc import Callable

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


def dtype_of(node: Any) -> str:
    """The dtype of a scalar expression."""
    return str(node.dtype)


def scalar_var(name: str, dtype: str) -> Any:
    """A scalar variable."""
    return tirx.Var(name, dtype)


def call_node(op: Any, args: list[Any], like: Any) -> Any:
    """A call of an intrinsic that gives what has the type of the expression `like`."""
    return tirx.Call(like.dtype, op, args)


def buffer_of(region: Any) -> Any:
    """The buffer that a region is of."""
    return region.buffer


def scope_of(buffer: Any) -> str:
    """The memory that a buffer is in, as ``shared``."""
    return str(buffer.scope())


def handle_of(buffer: Any) -> Any:
    """What regions are computed by: the pointer to a buffer's data."""
    return buffer.data


def pointer_to(buffer: Any, _: str, access: str) -> Any:
    """A pointer to where a buffer begins, to be read or written: `access` is ``r`` or ``w``."""
    return buffer.access_ptr(access)


def data_address(tensor: Any) -> int:
    """Where the bytes of a tensor begin, which this version's FFI tells in DLPack's struct only."""
    capsule = tensor._to_dlpack()  # noqa: SLF001 # what its __dlpack__ calls; that one refuses bfloat16
    struct = _pointer_of(capsule, b"dltensor")
    begin = ctypes.c_void_p.from_address(struct).value or 0
    return begin + ctypes.c_uint64.from_address(struct + _BYTE_OFFSET_AT).value


_pointer_of: Final = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
_BYTE_OFFSET_AT: Final = 40  # after data, device, ndim, dtype, shape and strides


def bit_nodes(call: Callable[[Any, list[Any], Any], Any]) -> dict[str, Any]:
    """Our operators on bits → TVM's intrinsics, which is what they are here; `call` makes the call of one."""

    def bits(name: str) -> Callable[[Any, Any], Any]:
        op = ir.Op.get(f"tirx.{name}")
        return lambda a, b: call(op, [a, b], a)

    return {
        "bitand": bits("bitwise_and"), "bitor": bits("bitwise_or"), "bitxor": bits("bitwise_xor"),
        "shl": bits("shift_left"), "shr": bits("shift_right"),
    }  # fmt: skip


BIT_NODES: Final[dict[str, Any]] = bit_nodes(call_node)

IF_OP: Final = "tirx.if_then_else"
LIKELY_OP: Final = "tirx.likely"

SIMPLIFY: Final = tirx.transform.StmtSimplify
"""The pass that simplifies statements."""

RENAMED_OPS: Final[dict[str, str]] = {}
"""Operators that stand in another place than in ``tirx``."""
