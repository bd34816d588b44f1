"""What each reducer starts from and how it combines."""

from __future__ import annotations

from .dtypes import integer_bounds, is_float
from .errors import SpecError
from .expr import Const, const

COMBINE = {"sum": "add", "prod": "mul", "min": "min", "max": "max"}
"""Reducer → the binary operator that combines accumulator and value."""


def identity_element(op: str, dtype: str) -> Const:
    """The value that leaves the others as they are: 0 for sum, 1 for prod, the extremes for min and max."""
    if op in ("sum", "prod"):
        return const(dtype, 0 if op == "sum" else 1)
    if op not in ("min", "max"):
        raise SpecError(f"reducer {op!r} has no identity element known here; allowed: sum, prod, min, max")
    if is_float(dtype):
        return const(dtype, float("inf") if op == "min" else float("-inf"))
    low, high = integer_bounds(dtype)
    return const(dtype, high if op == "min" else low)
