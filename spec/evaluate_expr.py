"""Evaluates expressions over many points at once: axes are arrays that broadcast together, and so is every value.

An expression costs only the axes it mentions: ``A[i, k]`` on the grid (i, j, k) is an array of shape (I, 1, K). Pure
index arithmetic is done in int64 and becomes the workload's index dtype where it meets a typed value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
import numpy as np

from .dtypes import INDEX
from .errors import SpecError
from .expr import Acc, Axis, Binary, Call, Cast, Compare, Const, Expr, If, Load, Logic, Select
from .expr_text import text_from_expr
from .numerics import INTRINSICS, OPERATORS, Array, constant_array, converted

Mask: TypeAlias = Array | None
"""Points at which a value is needed; None means all. Elsewhere anything may be computed, as long as nothing is read."""


@attrs.frozen(eq=False, kw_only=True)
class Points:
    """Where and how expressions are evaluated: values of axes, what loads find, accumulators, dtypes.

    `load` gives the elements a load reads at these points; `precise` computes floats in float64 without rounding.
    """

    axes: Mapping[str, Array]
    load: Callable[[Load, Points, Mask], Array]
    accumulators: tuple[Array, ...] = ()
    index_dtype: str = "int32"
    precise: bool = False


def evaluate_expr(node: Expr, points: Points, mask: Mask = None) -> Array:
    """The values of `node`; SpecError where it reads out of bounds at a point that is needed."""
    match node:
        case Axis(name):
            return points.axes[name]
        case Const(dtype, text):
            return np.asarray(int(text), dtype=np.int64) if dtype == INDEX else constant_array(node, points.precise)
        case Load():
            return points.load(node, points, mask)
        case Acc(slot):
            return points.accumulators[slot]
        case Cast(dtype, value):
            dtype = points.index_dtype if dtype == INDEX else dtype
            return np.asarray(converted(evaluate_expr(value, points, mask), dtype, points.precise))
        case Binary(op, a, b) | Compare(op, a, b) | Logic("and" | "or" as op, (a, b)):
            return _applied(OPERATORS[op], points, evaluate_expr(a, points, mask), evaluate_expr(b, points, mask))
        case Logic(_, args):
            return np.logical_not(evaluate_expr(args[0], points, mask))
        case Select(cond, a, b):
            values = _alike(points, evaluate_expr(a, points, mask), evaluate_expr(b, points, mask))
            return np.where(evaluate_expr(cond, points, mask), *values)
        case If():
            return _guarded(node, points, mask)
        case Call(name, args):
            return np.asarray(INTRINSICS[name](*(evaluate_expr(arg, points, mask) for arg in args)))


def _applied(function: Callable[..., Array], points: Points, a: Array, b: Array) -> Array:
    return np.asarray(function(*_alike(points, a, b)))


def _alike(points: Points, a: Array, b: Array) -> tuple[Array, Array]:
    """Two operands in one type: they differ only where index arithmetic (int64) meets a value of the index dtype."""
    if a.dtype == b.dtype:
        return a, b
    return a.astype(points.index_dtype), b.astype(points.index_dtype)


def _guarded(node: If, points: Points, mask: Mask) -> Array:
    """Each branch is evaluated with the mask narrowed to where it is taken; one that is never taken, not at all."""
    cond = evaluate_expr(node.cond, points, mask)
    first = cond if mask is None else cond & mask
    second = ~cond if mask is None else ~cond & mask
    if not second.any():
        return evaluate_expr(node.then, points, mask)
    if not first.any():
        return evaluate_expr(node.otherwise, points, mask)
    a, b = evaluate_expr(node.then, points, first), evaluate_expr(node.otherwise, points, second)
    return np.where(cond, *_alike(points, a, b))


def positions(node: Load, shape: tuple[int, ...], points: Points, mask: Mask) -> Array:
    """The row-major positions that a load reads; SpecError if one that is needed lies outside of the buffer."""
    flat: Array = np.zeros((), dtype=np.int64)
    for dimension, (entry, extent) in enumerate(zip(node.indices, shape, strict=True)):
        value = evaluate_expr(entry, points, mask).astype(np.int64, copy=False)
        if value.size and (int(value.min()) < 0 or int(value.max()) >= extent):
            outside = (value < 0) | (value >= extent)
            if np.any(outside if mask is None else outside & mask):
                found = (
                    value[outside] if mask is None else np.broadcast_to(value, (outside & mask).shape)[outside & mask]
                )
                raise SpecError(
                    f"{text_from_expr(node)} reads index {int(found.flat[0])} of dimension {dimension}, "
                    f"allowed is 0..{extent - 1}; guard it with 'x if cond else y'"
                )
            value = value.clip(0, extent - 1)
        flat = flat * extent + value
    return flat


def affine(node: Expr) -> tuple[int, dict[str, int]] | None:
    """Constant and coefficients of an expression that is affine in the axes, None for any other.

    Apart from `linear.linear` on purpose: the reference does not lean on the simplifier that it checks.
    """
    match node:
        case Axis(name):
            return 0, {name: 1}
        case Const(dtype, text) if dtype == INDEX:
            return int(text), {}
        case Binary("add" | "sub" as op, a, b):
            left, right = affine(a), affine(b)
            if left is None or right is None:
                return None
            sign = 1 if op == "add" else -1
            terms = {n: left[1].get(n, 0) + sign * right[1].get(n, 0) for n in {**left[1], **right[1]}}
            return left[0] + sign * right[0], terms
        case Binary("mul", a, Const() as b) | Binary("mul", Const() as b, a) if b.dtype == INDEX:
            form = affine(a)
            factor = int(b.text)
            return None if form is None else (form[0] * factor, {n: c * factor for n, c in form[1].items()})
    return None
