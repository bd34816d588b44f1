"""The scalar types and intrinsics of workloads in NumPy: which arrays hold a dtype, how they round, what calls compute.

bfloat16 is not a NumPy type: arrays are `ml_dtypes.bfloat16` where that package is installed (it comes with TVM), else
float32 arrays that hold bfloat16 values.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .dtypes import is_float
from .expr import Const, const_value

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = NDArray[Any]


@cache
def array_dtype(dtype: str) -> np.dtype[Any]:
    """The NumPy type of arrays that callers pass and get for a buffer of `dtype`."""
    if dtype != "bfloat16":
        return np.dtype(dtype)
    try:
        found: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ModuleNotFoundError:
        return np.dtype(np.float32)
    return found


@cache
def compute_dtype(dtype: str, precise: bool) -> np.dtype[Any]:
    """The NumPy type that values of `dtype` are computed in: floats in float64 if `precise`, else float32 or wider."""
    if not is_float(dtype):
        return np.dtype(dtype)
    return np.dtype(np.float64 if precise or dtype == "float64" else np.float32)


def rounded(array: Array, dtype: str) -> Array:
    """`array` with every value rounded to float `dtype` (to nearest, ties to even), in the type it came in."""
    if dtype == "float16":
        return array.astype(np.float16).astype(array.dtype)
    if dtype == "bfloat16":
        bits = array.astype(np.float32).view(np.uint32)
        carry = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        cut = ((bits + carry) & np.uint32(0xFFFF0000)).view(np.float32)
        return np.where(np.isnan(array), array, cut).astype(array.dtype)
    return array.astype(np.dtype(dtype), copy=False).astype(array.dtype, copy=False)


def converted(array: Array, dtype: str, precise: bool) -> Array:
    """`array` as values of `dtype`: floats to integers truncate, integers wrap, floats round unless `precise`."""
    if dtype == "bool":
        return np.not_equal(array, 0)
    target = compute_dtype(dtype, precise)
    if not is_float(dtype):
        return array.astype(target, copy=False)
    wide = array.astype(target, copy=False)
    return wide if precise else rounded(wide, dtype)


def constant_array(node: Const, precise: bool) -> Array:
    """A typed constant as an array of no dimensions, rounded to its own dtype first."""
    value = np.asarray(
        const_value(node), dtype=np.float64 if is_float(node.dtype) else compute_dtype(node.dtype, False)
    )
    if not is_float(node.dtype):
        return value
    return np.asarray(rounded(value, node.dtype).astype(compute_dtype(node.dtype, precise)))


def truncdiv(a: Array, b: Array) -> Array:
    """Integer quotient rounded towards zero."""
    return np.asarray((a - np.fmod(a, b)) // b, dtype=np.result_type(a, b))


def _erf(x: Array) -> Array:
    flat = np.fromiter((math.erf(value) for value in x.ravel().tolist()), dtype=x.dtype, count=x.size)
    return flat.reshape(x.shape)


def _rsqrt(x: Array) -> Array:
    return np.asarray(1 / np.sqrt(x), dtype=x.dtype)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), dtype=x.dtype)


INTRINSICS: Final[dict[str, Callable[..., Array]]] = {
    "exp": np.exp, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "exp2": np.exp2,
    "sqrt": np.sqrt, "rsqrt": _rsqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sigmoid": _sigmoid, "erf": _erf,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "pow": np.power, "atan2": np.arctan2,
    "fmod": np.fmod, "abs": np.abs,
}  # fmt: skip
"""Name → function of arrays, one for each of `expr.CALLS`; np.rint is half-to-even."""

OPERATORS: Final[dict[str, Callable[..., Array]]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "floordiv": np.floor_divide,
    "floormod": np.mod, "truncdiv": truncdiv, "truncmod": np.fmod, "min": np.minimum, "max": np.maximum,
    "bitand": np.bitwise_and, "bitor": np.bitwise_or, "bitxor": np.bitwise_xor, "shl": np.left_shift,
    "shr": np.right_shift,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip
"""Operator → function of two arrays of one type, for `Binary`, `Compare` and `Logic`; integers wrap."""
