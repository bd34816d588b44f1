"""Types of expressions: derives each node's dtype and refuses operands that do not match."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .dtypes import INDEX, integer_bounds, is_float, is_integer, size_bytes
from .errors import SpecError
from .expr import (
    ANY_CALLS,
    BINARY_OPS,
    CALLS,
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Logic,
    Select,
    axes_in,
    const_value,
)
from .expr_text import text_from_expr
from .workload import Buffer, Workload

_DIVISIONS = frozenset({"floordiv", "floormod", "truncdiv", "truncmod"})
_SHIFTS = frozenset({"shl", "shr"})
_INTEGER_ONLY = _DIVISIONS | _SHIFTS | {"bitand", "bitor", "bitxor"}


@attrs.frozen(kw_only=True)
class Scope:
    """What the names of an expression mean: buffers, axes, accumulators and the dtype of indices."""

    buffers: Mapping[str, Buffer]
    axes: frozenset[str]
    slots: tuple[str, ...] = ()
    index_dtype: str = "int32"


def infer_dtype(node: Expr, scope: Scope) -> str:
    """The dtype of an expression (never ``index``: that is resolved to the workload's index dtype)."""
    match node:
        case Axis(name):
            if name not in scope.axes:
                raise SpecError(f"no axis {name!r} here; axes: {', '.join(sorted(scope.axes)) or 'none'}")
            return scope.index_dtype
        case Const(dtype, text):
            if dtype != INDEX:
                return dtype
            low, high = integer_bounds(scope.index_dtype)
            if not low <= int(text) <= high:
                raise SpecError(f"{text} is no {scope.index_dtype}; allowed: {low}..{high}, or index_dtype int64")
            return scope.index_dtype
        case Load():
            return _load(node, scope)
        case Acc(slot):
            if not 0 <= slot < len(scope.slots):
                raise SpecError(f"acc[{slot}] where there are {len(scope.slots)} accumulators")
            return scope.slots[slot]
        case Cast(dtype, value):
            infer_dtype(value, scope)
            return scope.index_dtype if dtype == INDEX else dtype
        case Binary(op, a, b):
            return _binary(node, op, _same(node, a, b, scope), b)
        case Compare(_, a, b):
            _same(node, a, b, scope)
            return "bool"
        case Logic(_, args):
            for arg in args:
                _expect(node, infer_dtype(arg, scope), "bool")
            return "bool"
        case Select(cond, a, b) | If(cond, a, b):
            _expect(node, infer_dtype(cond, scope), "bool")
            return _same(node, a, b, scope)
        case Call(name, args):
            return _call(node, name, args, scope)


def dtype_of_index(node: Expr, workload: Workload) -> str:
    """The dtype of an index expression of a stage of `workload`, whose axes are all index-typed."""
    return infer_dtype(node, Scope(buffers=workload.buffers, axes=axes_in(node), index_dtype=workload.index_dtype))


def _load(node: Load, scope: Scope) -> str:
    buffer = scope.buffers.get(node.buffer)
    if buffer is None:
        raise SpecError(f"no buffer {node.buffer!r} is known here; known: {', '.join(scope.buffers)}")
    if len(node.indices) != len(buffer.shape):
        raise SpecError(f"{text_from_expr(node)}: {len(node.indices)} indices, {node.buffer} has {len(buffer.shape)}")
    for position in node.indices:
        if not is_integer(infer_dtype(position, scope)):
            raise SpecError(f"{text_from_expr(node)}: an index must be an integer; cast it")
    return buffer.dtype


def _same(node: Expr, a: Expr, b: Expr, scope: Scope) -> str:
    left, right = infer_dtype(a, scope), infer_dtype(b, scope)
    if left != right:
        raise SpecError(f"{text_from_expr(node)}: operands are {left} and {right}; cast one of them")
    return left


def _expect(node: Expr, found: str, allowed: str) -> None:
    if found != allowed:
        raise SpecError(f"{text_from_expr(node)}: found {found} where {allowed} is needed")


def _binary(node: Expr, op: str, dtype: str, divisor: Expr) -> str:
    if op not in BINARY_OPS:
        raise SpecError(f"unknown operator {op!r}; allowed: {', '.join(BINARY_OPS)}")
    if op in _INTEGER_ONLY and not is_integer(dtype) and not (dtype == "bool" and op.startswith("bit")):
        raise SpecError(f"{text_from_expr(node)}: {op} is for integers, found {dtype}")
    if op == "div" and not is_float(dtype):
        raise SpecError(f"{text_from_expr(node)}: / is for floats, found {dtype}; use // or truncdiv")
    if dtype == "bool" and not op.startswith("bit"):
        raise SpecError(f"{text_from_expr(node)}: {op} of bools; cast them or use and/or/not")
    if op in _DIVISIONS and is_integer(dtype) and isinstance(divisor, Const) and const_value(divisor) == 0:
        raise SpecError(f"{text_from_expr(node)}: an integer divided by 0 has no value; divide by another number")
    if op in _SHIFTS and isinstance(divisor, Const) and divisor.dtype != INDEX:
        bits = 8 * size_bytes(dtype)
        if not 0 <= const_value(divisor) < bits:
            raise SpecError(f"{text_from_expr(node)}: {dtype} is shifted by 0 to {bits - 1}, found {divisor.text}")
    return dtype


def _call(node: Expr, name: str, args: tuple[Expr, ...], scope: Scope) -> str:
    if CALLS.get(name) != len(args):
        raise SpecError(f"no function {name} of {len(args)} arguments; allowed: {', '.join(CALLS)}")
    dtypes = {infer_dtype(arg, scope) for arg in args}
    if len(dtypes) != 1:
        raise SpecError(f"{text_from_expr(node)}: arguments are {' and '.join(sorted(dtypes))}; cast them")
    (dtype,) = dtypes
    if name not in ANY_CALLS and not is_float(dtype):
        raise SpecError(f"{text_from_expr(node)}: {name} is for floats, found {dtype}; cast the argument")
    if dtype == "bool":
        raise SpecError(f"{text_from_expr(node)}: {name} of a bool; cast the argument")
    return dtype
