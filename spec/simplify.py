"""Simplifying expressions: index arithmetic in linear form, decided comparisons and guards taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .expr import Axis, Binary, Compare, Const, Expr, If, Logic, Select, children, with_operands
from .linear import (
    NEGATED,
    UNBOUNDED,
    compare_bounds,
    expr_from_linear,
    form_range,
    is_index,
    linear,
    narrowed,
    sum_of,
)

if TYPE_CHECKING:
    from .linear import Facts


def simplify(node: Expr, facts: Facts) -> Expr:
    """An equal expression: index arithmetic in linear form, decided comparisons and guards taken away."""
    match node:
        case Axis() | Const():
            return node
        case Binary() if is_index(node):
            return node if _is_digit(node, facts) else expr_from_linear(linear(node, facts))
        case Compare():
            return _simplify_compare(node.op, simplify(node.a, facts), simplify(node.b, facts), facts)
        case Logic():
            return _simplify_logic(node, facts)
        case If() | Select():
            cond = simplify(node.cond, facts)
            decided = truth(cond)
            if decided is not None:
                return simplify(node.then if decided else node.otherwise, facts)
            then = simplify(node.then, narrowed(facts, cond, True))
            otherwise = simplify(node.otherwise, narrowed(facts, cond, False))
            return type(node)(cond, then, otherwise)
    old = children(node)
    new = with_operands(node, old, [simplify(child, facts) for child in old]) if old else node
    # A choice that was decided below may leave plain index arithmetic.
    return expr_from_linear(linear(new, facts)) if isinstance(new, Binary) and is_index(new) else new


def _is_digit(node: Binary, facts: Facts) -> bool:
    """True for ``j // 32`` and ``j % 32`` that stay what they are: most of what layouts are read by."""
    if not (isinstance(node.a, Axis) and isinstance(node.b, Const) and node.op in ("floordiv", "floormod")):
        return False
    by = int(node.b.text)
    if by <= 1 or facts.guards:
        return False
    low, high = facts.axes.get(node.a.name, UNBOUNDED)
    return low // by != high // by


TRUE = Const("bool", "1")
FALSE = Const("bool", "0")


def truth(node: Expr) -> bool | None:
    """The value of a constant condition, None for any other."""
    return bool(int(node.text)) if isinstance(node, Const) and node.dtype == "bool" else None


def _simplify_compare(op: str, a: Expr, b: Expr, facts: Facts) -> Expr:
    if not (is_index(a) and is_index(b)):
        return Compare(op, a, b)
    low, high = form_range(sum_of(linear(a, facts), linear(b, facts), -1), facts)
    bounds = compare_bounds(op)
    opposite = compare_bounds(NEGATED[op])
    if (bounds and bounds[0] <= low and high <= bounds[1]) or (op == "ne" and (low > 0 or high < 0)):
        return TRUE
    if (opposite and opposite[0] <= low and high <= opposite[1]) or (op == "eq" and (low > 0 or high < 0)):
        return FALSE
    return Compare(op, _past_bound(op, a, b), b)


def _past_bound(op: str, a: Expr, b: Expr) -> Expr:
    """``e`` for ``min(e, 9)`` in ``min(e, 9) < 5``: a bound beyond what it is compared with decides nothing."""
    match a, b:
        case Binary("min", inside, Const("index", most)), Const("index", other):
            beyond = int(most) - int(other)
            return inside if beyond > 0 or (beyond == 0 and op in ("lt", "ge")) else a
    return a


def _simplify_logic(node: Logic, facts: Facts) -> Expr:
    if node.op == "not":
        inner = simplify(node.args[0], facts)
        decided = truth(inner)
        return Logic("not", (inner,)) if decided is None else (FALSE if decided else TRUE)
    a = simplify(node.args[0], facts)
    b = simplify(node.args[1], narrowed(facts, a, node.op == "and"))
    neutral = node.op == "and"
    for this, other in ((a, b), (b, a)):
        decided = truth(this)
        if decided is not None:
            return other if decided == neutral else this
    return Logic(node.op, (a, b))
