"""Hypothesis strategies of expressions: index arithmetic, conditions, and values of any dtype, all well typed.

Trees are drawn by plain recursion with a limit on depth: st.recursive takes 50 times as long on so many kinds of nodes.
The first kind of every choice is a leaf, so that shrinking ends there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import attrs
from hypothesis import strategies as st

from .dtypes import integer_bounds, is_float, is_integer
from .expr import (
    BINARY_OPS,
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
from .workload import Buffer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Choice = TypeVar("Choice")

_FLOAT_OPS: Final = ("add", "sub", "mul", "div", "min", "max")
_INDEX_OPS: Final = ("add", "sub", "mul", "min", "max")
_DIVISIONS: Final = ("floordiv", "floormod", "truncdiv", "truncmod")
_BIT_OPS: Final = ("bitand", "bitor", "bitxor")
_SHIFTS: Final = ("shl", "shr")


@attrs.frozen
class _Trees:
    """Draws trees over some axes and buffers."""

    draw: st.DrawFn
    axes: tuple[str, ...]
    buffers: tuple[Buffer, ...] = ()
    in_bounds: bool = True

    def pick(self, choices: Sequence[Choice]) -> Choice:
        # An integer instead of sampled_from: hypothesis keeps those strategies, with what it found out about them.
        return choices[self.draw(st.integers(0, len(choices) - 1))]

    def index(self, depth: int) -> Expr:
        kind = self.pick(["axis", "const", "binary", "divide", "scale", "if"][: 6 if depth else 2])
        match kind:
            case "axis" if self.axes:
                return Axis(self.pick(self.axes))
            case "axis" | "const":
                return index(self.draw(st.integers(-3, 12)))
            case "binary":
                return Binary(self.pick(_INDEX_OPS), self.index(depth - 1), self.index(depth - 1))
            case "divide":
                return Binary(self.pick(_DIVISIONS), self.index(depth - 1), index(self.draw(st.integers(1, 8))))
            case "scale":
                return Binary("mul", self.index(depth - 1), index(self.draw(st.integers(-3, 8))))
        return If(self.condition(depth - 1, None), self.index(depth - 1), self.index(depth - 1))

    def condition(self, depth: int, dtype: str | None) -> Expr:
        """A condition on values of `dtype`, on index arithmetic where that is None."""
        kind = self.pick(["compare", "and", "or", "not"][: 4 if depth else 1])
        if kind == "compare":
            depth = max(depth - 1, 0)
            sides = [self.index(depth) if dtype is None else self.value(dtype, depth) for _ in range(2)]
            return Compare(self.pick(COMPARE_OPS), sides[0], sides[1])
        if kind == "not":
            return Logic("not", (self.condition(depth - 1, dtype),))
        return Logic(kind, (self.condition(depth - 1, dtype), self.condition(depth - 1, None)))

    def load(self, buffer: Buffer) -> Expr:
        entries = [self.index(1) for _ in buffer.shape]
        if self.in_bounds:
            entries = [clamped(entry, extent) for entry, extent in zip(entries, buffer.shape, strict=True)]
        return Load(buffer.name, tuple(entries))

    def leaf(self, dtype: str) -> Expr:
        alike = [buffer for buffer in self.buffers if buffer.dtype == dtype]
        others = [buffer for buffer in self.buffers if buffer.dtype != dtype]
        kinds = ["const", "cast index"] + ["load"] * 2 * bool(alike) + ["cast load"] * bool(others)
        match self.pick(kinds):
            case "load":
                return self.load(self.pick(alike))
            case "cast load":
                return Cast(dtype, self.load(self.pick(others)))
            case "cast index":
                return Cast(dtype, self.index(1))
        return self.draw(constants(dtype))

    def value(self, dtype: str, depth: int) -> Expr:
        kinds = ["leaf", "binary", "if", "select"]
        kinds += ["call"] if is_float(dtype) else ["divide", "shift", "abs"] if is_integer(dtype) else ["condition"]
        kind = self.pick(kinds if depth else kinds[:1])
        if kind == "leaf":
            return self.leaf(dtype)
        if kind == "condition":
            return self.condition(depth - 1, self.pick(["float32", "int32"]))
        if kind in ("if", "select"):
            on = None if dtype == "bool" else self.pick([None, dtype])
            cond, a, b = self.condition(depth - 1, on), self.value(dtype, depth - 1), self.value(dtype, depth - 1)
            return If(cond, a, b) if kind == "if" else Select(cond, a, b)
        if kind == "call":
            name = self.pick(tuple(CALLS))
            return Call(name, tuple(self.value(dtype, depth - 1) for _ in range(CALLS[name])))
        first = self.value(dtype, depth - 1)
        match kind:
            case "divide":
                return Binary(self.pick(_DIVISIONS), first, const(dtype, self.draw(st.integers(1, 9))))
            case "shift":
                return Binary(self.pick(_SHIFTS), first, const(dtype, self.draw(st.integers(0, 5))))
            case "abs":
                return Call("abs", (first,))
        integer_ops = [op for op in BINARY_OPS if op not in ("div", *_DIVISIONS, *_SHIFTS)]
        ops = _FLOAT_OPS if is_float(dtype) else _BIT_OPS if dtype == "bool" else integer_ops
        return Binary(self.pick(ops), first, self.value(dtype, depth - 1))


@st.composite
def index_expressions(draw: st.DrawFn, extents: Mapping[str, int], depth: int = 3) -> Expr:
    """Index arithmetic on the axes of `extents`: sums, products, divisions, extremes, guarded choices.

    Divisors are positive constants; nothing else is promised about the values.
    """
    return _Trees(draw, tuple(extents)).index(depth)


@st.composite
def conditions(draw: st.DrawFn, extents: Mapping[str, int], depth: int = 2) -> Expr:
    """Comparisons of index arithmetic, joined by and, or, not."""
    return _Trees(draw, tuple(extents)).condition(depth, None)


@st.composite
def expressions(
    draw: st.DrawFn,
    dtype: str,
    extents: Mapping[str, int],
    buffers: Sequence[Buffer] = (),
    *,
    in_bounds: bool = True,
    depth: int = 3,
) -> Expr:
    """Well-typed expressions of `dtype` over the axes of `extents` and loads of `buffers`.

    Every node of the language but accumulators is reached. Indices are clamped into the buffers' shapes unless
    `in_bounds` is False; integers are divided by positive constants only. Floats may become nan and infinities: for
    texts, types and rewriting. `workloads` generates what can be compared numerically.
    """
    return _Trees(draw, tuple(extents), tuple(buffers), in_bounds).value(dtype, depth)


def constants(dtype: str) -> st.SearchStrategy[Const]:
    """Constants of a dtype: any it can hold, infinities included, small ones first."""
    if dtype == "bool":
        return st.integers(0, 1).map(lambda value: const(dtype, value))
    if is_float(dtype):
        return st.floats(allow_nan=False).map(lambda value: const(dtype, value))
    low, high = integer_bounds(dtype)
    return st.integers(low, high).map(lambda value: const(dtype, value))


def clamped(node: Expr, extent: int) -> Expr:
    """`node` moved into 0 … extent - 1, so that it may index a dimension."""
    return Binary("min", Binary("max", node, index(0)), index(extent - 1))
