"""Whether index arithmetic stays within the index type: what a machine wraps, the bounds of a load know nothing of.

``X[i * 2147483647 // 2147483647]`` is inside X by arithmetic on whole numbers, and before it by that of int32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dtypes import integer_bounds, size_bytes
from .errors import SpecError, shortened
from .expr import Axis, Binary, Const, Expr
from .expr_text import text_from_expr
from .linear import is_index

if TYPE_CHECKING:
    from .linear import Facts, Range


def check_overflow(node: Expr, facts: Facts, index_dtype: str) -> None:
    """Raises SpecError where a part of index arithmetic may leave `index_dtype`, or a shift is not by 0 to bits - 1."""
    if is_index(node):
        _held_range(node, facts, index_dtype)
    elif isinstance(node, Binary) and node.op in ("shl", "shr") and is_index(node.b):
        low, high = _held_range(node.b, facts, index_dtype)
        bits = 8 * size_bytes(index_dtype)
        if low < 0 or high >= bits:
            raise SpecError(f"{_short(node)} shifts by {low}..{high}; allowed is 0..{bits - 1}", "body")
        if node.op == "shl" and is_index(node.a):
            a = _held_range(node.a, facts, index_dtype)
            _check_held(node, (min(a[0], a[0] << high), max(a[1], a[1] << high)), index_dtype)


def _held_range(node: Expr, facts: Facts, index_dtype: str) -> Range:
    """Bounds of index arithmetic as it is written, operation by operation."""
    match node:
        case Axis(name):
            return facts.axes[name]
        case Const(_, text):
            found = int(text), int(text)
        case Binary(op, a, b):
            found = _range(op, _held_range(a, facts, index_dtype), _held_range(b, facts, index_dtype))
        case _:
            raise AssertionError(f"{type(node).__name__} is no index arithmetic")
    _check_held(node, found, index_dtype)
    return found


def _range(op: str, a: Range, b: Range) -> Range:
    match op:
        case "add":
            return a[0] + b[0], a[1] + b[1]
        case "sub":
            return a[0] - b[1], a[1] - b[0]
        case "mul":
            corners = [x * y for x in a for y in b]
            return min(corners), max(corners)
        case "min" | "max":
            choose = min if op == "min" else max
            return choose(a[0], b[0]), choose(a[1], b[1])
        case "floordiv" if b[0] > 0:
            corners = [x // y for x in a for y in b]
            return min(corners), max(corners)
        case "floormod" | "truncmod" if b[0] > 0:
            return (0 if a[0] >= 0 or op == "floormod" else 1 - b[1]), b[1] - 1
    # A quotient is no larger than what is divided, but for its sign; a remainder is smaller than the divisor.
    reach = max(map(abs, b if op.endswith("mod") else a))
    return -reach, reach


def _check_held(node: Expr, found: Range, index_dtype: str) -> None:
    low, high = integer_bounds(index_dtype)
    if found[0] < low or found[1] > high:
        allowed = "use index_dtype int64, or smaller numbers" if index_dtype == "int32" else "use smaller numbers"
        raise SpecError(
            f"{_short(node)} runs over {found[0]}..{found[1]}, which {index_dtype} cannot hold; {allowed}", "body"
        )


def _short(node: Expr) -> str:
    return shortened(text_from_expr(node), 60)
