"""Scalar expressions: the closed set of nodes that say what a stage computes.

Nodes are frozen and hold no types of buffers; `infer.py` derives those. They print as, and are read from, a short
Python-like text (`expr_text.py`): ``X[n, c, h + r - 1, w] * W[k, c, r]``.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from .dtypes import DTYPES, INDEX, float_text, integer_bounds, is_float
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BINARY_OPS: Final = (
    "add", "sub", "mul", "div", "floordiv", "floormod", "truncdiv", "truncmod", "min", "max",
    "bitand", "bitor", "bitxor", "shl", "shr",
)  # fmt: skip
COMPARE_OPS: Final = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC_OPS: Final = ("and", "or", "not")
FLOAT_CALLS: Final = {
    "exp": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "exp2": 1, "sqrt": 1, "rsqrt": 1, "sin": 1, "cos": 1,
    "tan": 1, "sinh": 1, "cosh": 1, "tanh": 1, "asin": 1, "acos": 1, "atan": 1, "sigmoid": 1, "erf": 1,
    "floor": 1, "ceil": 1, "trunc": 1, "round": 1, "pow": 2, "atan2": 2, "fmod": 2,
}  # fmt: skip
ANY_CALLS: Final = {"abs": 1}
CALLS: Final = {**FLOAT_CALLS, **ANY_CALLS}
"""Name → number of arguments of every intrinsic; `round` is half-to-even as in NumPy."""


@attrs.frozen(cache_hash=True)
class Axis:
    """The value of a loop axis of the stage, by name; its type is the index type."""

    name: str


@attrs.frozen(cache_hash=True)
class Const:
    """A constant: dtype (or ``index``) and its exact text; make one with `const`."""

    dtype: str
    text: str


@attrs.frozen(cache_hash=True)
class Load:
    """An element of a buffer; indices may themselves contain loads (gathers)."""

    buffer: str
    indices: tuple[Expr, ...]


@attrs.frozen(cache_hash=True)
class Acc:
    """The accumulator number `slot`, in the update of a custom reducer."""

    slot: int


@attrs.frozen(cache_hash=True)
class Cast:
    """`value` converted to `dtype`; float to integer truncates."""

    dtype: str
    value: Expr


@attrs.frozen(cache_hash=True)
class Binary:
    """Arithmetic on two operands of one type; `op` is one of `BINARY_OPS`."""

    op: str
    a: Expr
    b: Expr


@attrs.frozen(cache_hash=True)
class Compare:
    """A comparison, of type bool; `op` is one of `COMPARE_OPS`."""

    op: str
    a: Expr
    b: Expr


@attrs.frozen(cache_hash=True)
class Logic:
    """``and``, ``or`` (two operands) or ``not`` (one) of bools."""

    op: str
    args: tuple[Expr, ...]


@attrs.frozen(cache_hash=True)
class Select:
    """``select(cond, a, b)``: both values may be computed, so both must be defined."""

    cond: Expr
    then: Expr
    otherwise: Expr


@attrs.frozen(cache_hash=True)
class If:
    """``a if cond else b``: only the chosen value is computed, so it may guard a load out of bounds."""

    cond: Expr
    then: Expr
    otherwise: Expr


@attrs.frozen(cache_hash=True)
class Call:
    """An intrinsic from `CALLS`."""

    name: str
    args: tuple[Expr, ...]


Expr: TypeAlias = Axis | Const | Load | Acc | Cast | Binary | Compare | Logic | Select | If | Call


def const(dtype: str, value: float) -> Const:
    """A constant with the normal text of its dtype; `value` must fit."""
    if is_float(dtype):
        number = float(value)
        if math.isnan(number):
            raise SpecError("a constant is nan; allowed are finite numbers and inf")
        return Const(dtype, float_text(dtype, number))
    if dtype not in DTYPES and dtype != INDEX:
        raise SpecError(f"unknown dtype {dtype!r} of a constant; allowed: {', '.join(DTYPES)}")
    low, high = integer_bounds(dtype)
    if int(value) != value or not low <= value <= high:
        raise SpecError(f"constant {value!r} does not fit {dtype}; allowed: {low}..{high}")
    return Const(dtype, str(int(value)))


@lru_cache(maxsize=4096, typed=True)
def index(value: int) -> Const:
    """An integer constant of the index type."""
    return Const(INDEX, str(value))


def const_value(node: Const) -> int | float:
    """The number a constant stands for."""
    return float(node.text) if is_float(node.dtype) else int(node.text)


_OPERANDS: Final[Mapping[type, Callable[[Any], tuple[Expr, ...]]]] = {
    **dict.fromkeys((Axis, Const, Acc), lambda _: ()),
    **dict.fromkeys((Binary, Compare), attrgetter("a", "b")),
    **dict.fromkeys((Select, If), attrgetter("cond", "then", "otherwise")),
    **dict.fromkeys((Call, Logic), attrgetter("args")),
    Load: attrgetter("indices"),
    Cast: lambda node: (node.value,),
}
"""Node → how its operands are fetched: a table, because every walk of every pass asks each node."""


def children(node: Expr) -> tuple[Expr, ...]:
    """The operands of a node, left to right."""
    return _OPERANDS[type(node)](node)


def with_children(node: Expr, new: tuple[Expr, ...]) -> Expr:
    """The node with other operands."""
    match node:
        case Binary():
            return Binary(node.op, new[0], new[1])
        case Load():
            return Load(node.buffer, new)
        case Compare():
            return Compare(node.op, new[0], new[1])
        case Select():
            return Select(new[0], new[1], new[2])
        case If():
            return If(new[0], new[1], new[2])
        case Call():
            return Call(node.name, new)
        case Logic():
            return Logic(node.op, new)
        case Cast():
            return Cast(node.dtype, new[0])
        case _:
            return node


def transform(node: Expr, visit: Callable[[Expr], Expr]) -> Expr:
    """Rebuilds a tree bottom up: `visit` sees every node after its operands were rebuilt."""
    old = _OPERANDS[type(node)](node)
    return visit(with_operands(node, old, [transform(child, visit) for child in old]) if old else node)


def substitute(node: Expr, axes: Mapping[str, Expr]) -> Expr:
    """Replaces axes by expressions, all at once; what stays as it is, is shared with the old tree."""
    if isinstance(node, Axis):
        found = axes.get(node.name, node)
        return node if found == node else found
    old = _OPERANDS[type(node)](node)
    return with_operands(node, old, [substitute(child, axes) for child in old]) if old else node


def with_operands(node: Expr, old: tuple[Expr, ...], new: list[Expr]) -> Expr:
    """The node with operands `new`; itself where they are the `old` ones it has, so that what stays is shared."""
    return node if all(map(operator.is_, old, new)) else with_children(node, tuple(new))


def walk(node: Expr) -> Iterator[Expr]:
    """Every node of a tree, operands before the node that uses them."""
    found: list[Expr] = []
    waiting = [node]
    while waiting:
        latest = waiting.pop()
        found.append(latest)
        waiting += _OPERANDS[type(latest)](latest)
    return reversed(found)


def loads(node: Expr) -> tuple[Load, ...]:
    """Every load of a tree, in order, repeats included."""
    return tuple(n for n in walk(node) if isinstance(n, Load))


def axes_in(node: Expr) -> frozenset[str]:
    """The names of the axes a tree mentions."""
    return frozenset(n.name for n in walk(node) if isinstance(n, Axis))


def rename(node: Expr, axes: Mapping[str, str], buffers: Mapping[str, str]) -> Expr:
    """Renames axes and buffers; names that are not in the mappings stay."""

    def visit(n: Expr) -> Expr:
        if isinstance(n, Axis):
            return Axis(axes.get(n.name, n.name))
        if isinstance(n, Load):
            return Load(buffers.get(n.buffer, n.buffer), n.indices)
        return n

    return transform(node, visit)
