"""Hypothesis strategies of expressions: index arithmetic, conditions, and values of any dtype, all well typed."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from .dtypes import DTYPES, integer_bounds, is_float, is_integer
from .expr import (
    CALLS,
    COMPARE_OPS,
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
    const,
    index,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .workload import Buffer

_FLOAT_OPS: Final = ("add", "sub", "mul", "div", "min", "max")
_INTEGER_OPS: Final = ("add", "sub", "mul", "min", "max", "bitand", "bitor", "bitxor")
_DIVISIONS: Final = ("floordiv", "floormod", "truncdiv", "truncmod")


def index_expressions(extents: Mapping[str, int], max_leaves: int = 6) -> st.SearchStrategy[Expr]:
    """Index arithmetic on axes with these extents: sums, products, divisions by constants, extremes, guarded choices.

    Divisors are positive; nothing else is promised about the values.
    """
    leaves = st.integers(-3, 12).map(index)
    if extents:
        leaves = st.one_of(st.sampled_from([Axis(name) for name in extents]), leaves)

    def extend(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        sums = st.builds(Binary, st.sampled_from(["add", "sub", "min", "max"]), inner, inner)
        products = st.builds(Binary, st.just("mul"), inner, st.integers(-3, 8).map(index))
        quotients = st.builds(Binary, st.sampled_from(_DIVISIONS), inner, st.integers(1, 8).map(index))
        squares = st.builds(Binary, st.just("mul"), inner, inner)
        choices = st.builds(If, conditions(inner), inner, inner)
        return st.one_of(sums, products, quotients, squares, choices)

    return st.recursive(leaves, extend, max_leaves=max_leaves)


def conditions(operands: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """Comparisons of `operands`, and up to three of them joined by and, or, not."""
    compared: st.SearchStrategy[Expr] = st.builds(Compare, st.sampled_from(COMPARE_OPS), operands, operands)
    negated = st.builds(lambda a: Logic("not", (a,)), compared)
    joined = st.builds(
        lambda op, parts: reduce(lambda a, b: Logic(op, (a, b)), parts),
        st.sampled_from(["and", "or"]),
        st.lists(st.one_of(compared, negated), min_size=2, max_size=3),
    )
    return st.one_of(compared, joined, negated)


def constants(dtype: str) -> st.SearchStrategy[Const]:
    """Constants of a dtype: any it can hold, infinities included, small ones first."""
    if dtype == "bool":
        return st.integers(0, 1).map(lambda value: const(dtype, value))
    if is_float(dtype):
        numbers = st.one_of(st.sampled_from([0.0, 1.0, -0.5, 0.1, 3.0]), st.floats(allow_nan=False))
        return numbers.map(lambda value: const(dtype, value))
    low, high = integer_bounds(dtype)
    return st.one_of(st.integers(max(low, -3), 9), st.integers(low, high)).map(lambda value: const(dtype, value))


def clamped(node: Expr, extent: int) -> Expr:
    """`node` moved into 0 … extent - 1, so that it may index a dimension."""
    return Binary("min", Binary("max", node, index(0)), index(extent - 1))


def loads_of(buffer: Buffer, indices: st.SearchStrategy[Expr], in_bounds: bool = True) -> st.SearchStrategy[Expr]:
    """Loads of a buffer at drawn indices, clamped into its shape unless `in_bounds` is False."""

    def load(entries: Sequence[Expr]) -> Expr:
        pairs = zip(entries, buffer.shape, strict=True)
        return Load(buffer.name, tuple(clamped(entry, extent) if in_bounds else entry for entry, extent in pairs))

    return st.tuples(*[indices] * len(buffer.shape)).map(load)


def expressions(
    dtype: str,
    extents: Mapping[str, int],
    buffers: Sequence[Buffer] = (),
    *,
    in_bounds: bool = True,
    max_leaves: int = 6,
) -> st.SearchStrategy[Expr]:
    """Well-typed expressions of `dtype` over axes with these extents and loads of `buffers`.

    Every node of the language but accumulators is reached. Integers are divided by positive constants only. Floats may
    become nan and infinities: for texts, types and rewriting; `workloads` generates what can be compared numerically.
    """
    indices = index_expressions(extents, max_leaves=3)
    leaves: list[st.SearchStrategy[Expr]] = [constants(dtype)]
    leaves += [loads_of(buffer, indices, in_bounds) for buffer in buffers if buffer.dtype == dtype]
    leaves += [st.builds(Cast, st.just(dtype), indices)]
    for other in buffers:
        if other.dtype != dtype and dtype in DTYPES:
            leaves.append(st.builds(Cast, st.just(dtype), loads_of(other, indices, in_bounds)))
    return st.recursive(st.one_of(leaves), lambda inner: _extended(dtype, inner, indices), max_leaves=max_leaves)


def _extended(dtype: str, inner: st.SearchStrategy[Expr], indices: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    on_axes = conditions(indices)
    found: list[st.SearchStrategy[Expr]] = [
        st.builds(If, on_axes, inner, inner),
        st.builds(Select, on_axes, inner, inner),
    ]
    if dtype == "bool":
        ops = st.sampled_from(["bitand", "bitor", "bitxor"])
        return st.one_of(conditions(indices), st.builds(Binary, ops, inner, inner), *found)
    found.append(st.builds(If, conditions(inner), inner, inner))
    if is_float(dtype):
        found.append(st.builds(Binary, st.sampled_from(_FLOAT_OPS), inner, inner))
        for arity in (1, 2):
            names = st.sampled_from([name for name, count in CALLS.items() if count == arity])
            found.append(st.builds(Call, names, st.tuples(*[inner] * arity)))
    if is_integer(dtype):
        divisors = st.integers(1, 9).map(lambda value: const(dtype, value))
        shifts = st.integers(0, 5).map(lambda value: const(dtype, value))
        found.append(st.builds(Binary, st.sampled_from(_INTEGER_OPS), inner, inner))
        found.append(st.builds(Binary, st.sampled_from(_DIVISIONS), inner, divisors))
        found.append(st.builds(Binary, st.sampled_from(["shl", "shr"]), inner, shifts))
        found.append(st.builds(Call, st.just("abs"), st.tuples(inner)))
    return st.one_of(found)
