"""Integer arithmetic on index expressions: linear forms, their bounds, and a simplifier built on both.

An index expression is a constant plus whole multiples of atoms: axes, or anything opaque (a floor division, a gather).
Division and remainder by constants are pulled apart where the ranges of the axes allow it:
``(jo * 32 + ji) // 32`` is ``jo`` and ``(jo * 32 + ji) % 32`` is ``ji`` for ``0 <= ji < 32``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from .dtypes import INDEX, integer_bounds, is_float
from .expr import (
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
    index,
)

Range: TypeAlias = tuple[int, int]
"""Least and greatest value, both included."""

UNBOUNDED: Range = integer_bounds(INDEX)
Terms: TypeAlias = dict[Expr, int]


@attrs.frozen
class Facts:
    """What is known where an expression stands: ranges of axes, of buffers' elements, and of guarded linear forms.

    `dtypes` of buffers bound their elements, and arithmetic on those, which wraps. What was found out from the facts is
    remembered with them: the bounds of a part are asked for at every level above it, twice as often at each.
    """

    axes: Mapping[str, Range]
    buffers: Mapping[str, Range] = {}
    guards: Mapping[frozenset[tuple[Expr, int]], Range] = {}
    dtypes: Mapping[str, str] = {}
    forms: dict[Expr, tuple[int, Terms]] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    bounds: dict[Expr, Range] = attrs.field(factory=dict, init=False, eq=False, repr=False)


def facts_from_extents(extents: Mapping[str, int], buffers: Mapping[str, Range] | None = None) -> Facts:
    """Facts of a stage whose axes run from 0 to their extent - 1."""
    return Facts({name: (0, extent - 1) for name, extent in extents.items()}, buffers or {})


_BITS_AND_FLOATS: Final = frozenset({"div", "bitand", "bitor", "bitxor", "shl", "shr"})


def is_index(node: Expr) -> bool:
    """True for arithmetic on axes and index constants alone, which never overflows, so that it may be rearranged."""
    if isinstance(node, Binary):
        return node.op not in _BITS_AND_FLOATS and is_index(node.a) and is_index(node.b)
    return isinstance(node, Axis) or (isinstance(node, Const) and node.dtype == INDEX)


def linear(node: Expr, facts: Facts) -> tuple[int, Terms]:
    """The linear form of an index expression: constant and coefficient of each atom, none of them zero."""
    if not isinstance(node, Binary):
        return (int(node.text), {}) if isinstance(node, Const) else (0, {node: 1})
    found = facts.forms.get(node)
    if found is None:
        found = facts.forms[node] = _linear(node, facts)
    return found[0], dict(found[1])


def _linear(node: Binary, facts: Facts) -> tuple[int, Terms]:
    # Plain tests, not patterns: every index of every pass comes by here, several times.
    op, a, b = node.op, node.a, node.b
    if op == "add":
        return sum_of(linear(a, facts), linear(b, facts), 1)
    if op == "sub":
        return sum_of(linear(a, facts), linear(b, facts), -1)
    if op == "mul":
        return _product(linear(a, facts), linear(b, facts))
    if op in _DIVISIONS and isinstance(b, Const) and int(b.text) > 0:
        form = linear(a, facts)
        if op.startswith("trunc") and form_range(form, facts)[0] < 0:
            return 0, {Binary(op, expr_from_linear(form), index(int(b.text))): 1}
        return (_quotient if op.endswith("div") else _remainder)(form, int(b.text), facts)
    if op in ("min", "max"):
        return _extreme(op, linear(a, facts), linear(b, facts), facts)
    return 0, {Binary(op, _in_form(a, facts), _in_form(b, facts)): 1}


def _in_form(node: Expr, facts: Facts) -> Expr:
    return expr_from_linear(linear(node, facts)) if isinstance(node, Binary) else node


_DIVISIONS: Final = ("floordiv", "floormod", "truncdiv", "truncmod")


def sum_of(a: tuple[int, Terms], b: tuple[int, Terms], sign: int) -> tuple[int, Terms]:
    """``a + sign * b``."""
    terms = a[1].copy()
    for atom, coefficient in b[1].items():
        total = terms.get(atom, 0) + sign * coefficient
        if total:
            terms[atom] = total
        else:
            del terms[atom]
    return a[0] + sign * b[0], terms


def joined_digits(form: tuple[int, Terms], facts: Facts) -> tuple[int, Terms]:
    """A form with ``x // n * n + x % n``, times any factor, as ``x``: clamps take such sums apart."""
    for atom, coefficient in form[1].items():
        if not (isinstance(atom, Binary) and atom.op == "floormod" and isinstance(atom.b, Const)):
            continue
        whole, factor = Binary("floordiv", atom.a, atom.b), coefficient * int(atom.b.text)
        if form[1].get(whole) == factor:
            digits: Terms = {atom: coefficient, whole: factor}
            form = sum_of(sum_of(form, (0, digits), -1), _product((coefficient, {}), linear(atom.a, facts)), 1)
    return form


def _product(a: tuple[int, Terms], b: tuple[int, Terms]) -> tuple[int, Terms]:
    if a[1] and b[1]:
        return 0, {Binary("mul", expr_from_linear(a), expr_from_linear(b)): 1}
    (factor, _), (const, terms) = (b, a) if a[1] else (a, b)
    return const * factor, {atom: c * factor for atom, c in terms.items()} if factor else {}


def _divided(form: tuple[int, Terms], by: int) -> tuple[tuple[int, Terms], tuple[int, Terms]]:
    """`form` as ``by * whole + rest`` with every coefficient of the rest in 1 … by - 1 in size."""
    const, terms = form
    whole = {atom: c // by for atom, c in terms.items() if c % by == 0}
    rest = {atom: c for atom, c in terms.items() if c % by}
    return (const // by, whole), (const % by, rest)


def _quotient(form: tuple[int, Terms], by: int, facts: Facts) -> tuple[int, Terms]:
    whole, rest = _divided(form, by)
    low, high = form_range(rest, facts)
    if low // by == high // by:
        return whole[0] + low // by, whole[1]
    common = math.gcd(by, *rest[1].values())
    rest = (rest[0] // common, {atom: c // common for atom, c in rest[1].items()})
    inner = by // common
    atom: Expr
    match rest:
        case (0, {**only}) if len(only) == 1 and next(iter(only.values())) == 1:
            match next(iter(only)):
                case Binary("floordiv", value, Const(_, text)):
                    atom = Binary("floordiv", value, index(inner * int(text)))
                case single:
                    atom = Binary("floordiv", single, index(inner))
        case _:
            atom = Binary("floordiv", expr_from_linear(rest), index(inner))
    return sum_of(whole, (0, {atom: 1}), 1)


def _remainder(form: tuple[int, Terms], by: int, facts: Facts) -> tuple[int, Terms]:
    _, rest = _divided(form, by)
    low, high = form_range(rest, facts)
    if low // by == high // by:
        return rest[0] - by * (low // by), rest[1]
    return 0, {Binary("floormod", expr_from_linear(rest), index(by)): 1}


def _extreme(op: str, a: tuple[int, Terms], b: tuple[int, Terms], facts: Facts) -> tuple[int, Terms]:
    low, high = form_range(sum_of(a, b, -1), facts)
    if low >= 0:
        return a if op == "max" else b
    if high <= 0:
        return b if op == "max" else a
    return 0, {Binary(op, expr_from_linear(a), expr_from_linear(b)): 1}


def expr_from_linear(form: tuple[int, Terms]) -> Expr:
    """An expression for a linear form: terms in order, the constant last, subtraction where a sign is negative."""
    const, terms = form
    result: Expr | None = None
    for atom, coefficient in sorted(terms.items(), key=lambda item: item[1] < 0):
        size = abs(coefficient) if result is not None else coefficient
        term = atom if size == 1 else Binary("mul", atom, index(size))
        result = term if result is None else Binary("add" if coefficient > 0 else "sub", result, term)
    if result is None:
        return index(const)
    if const:
        result = Binary("add" if const > 0 else "sub", result, index(abs(const)))
    return result


def form_range(form: tuple[int, Terms], facts: Facts) -> Range:
    """Bounds of a linear form, narrowed by a guard on the same terms."""
    const, terms = form
    low = high = 0
    for atom, coefficient in terms.items():
        a, b = facts.axes.get(atom.name, UNBOUNDED) if isinstance(atom, Axis) else _atom_range(atom, facts)
        low += coefficient * (a if coefficient > 0 else b)
        high += coefficient * (b if coefficient > 0 else a)
    if facts.guards and terms:
        key = _guard_key(terms)
        guard = facts.guards.get(key)
        if guard is not None:
            low, high = max(low, guard[0]), min(high, guard[1])
        guard = facts.guards.get(frozenset((atom, -c) for atom, c in key))
        if guard is not None:
            low, high = max(low, -guard[1]), min(high, -guard[0])
    return const + low, const + high


def _guard_key(terms: Terms) -> frozenset[tuple[Expr, int]]:
    return frozenset(terms.items())


def value_range(node: Expr, facts: Facts) -> Range:
    """Bounds of an integer expression."""
    if isinstance(node, Load):
        return form_range((0, {node: 1}), facts)
    return form_range(linear(node, facts), facts) if is_index(node) else _atom_range(node, facts)


def _atom_range(atom: Expr, facts: Facts) -> Range:
    """Bounds of anything but an axis."""
    found = facts.bounds.get(atom)
    if found is None:
        found = facts.bounds[atom] = _computed_range(atom, facts)
    return found


def _computed_range(atom: Expr, facts: Facts) -> Range:
    match atom:
        case Binary():
            found = _binary_range(atom.op, value_range(atom.a, facts), value_range(atom.b, facts))
            if UNBOUNDED[0] <= found[0] and found[1] <= UNBOUNDED[1] and is_index(atom):
                return found
            held = _held(_dtype_of(atom, facts))
            return found if held[0] <= found[0] and found[1] <= held[1] else held
        case Load():
            return facts.buffers.get(atom.buffer, _held(_dtype_of(atom, facts)))
        case Const() if not is_float(atom.dtype):
            return int(atom.text), int(atom.text)
        case Select() | If():
            first = value_range(atom.then, narrowed(facts, atom.cond, holds=True))
            second = value_range(atom.otherwise, narrowed(facts, atom.cond, holds=False))
            return min(first[0], second[0]), max(first[1], second[1])
        case Cast(dtype, value) if dtype == INDEX or dtype.lstrip("u").startswith("int"):
            inner, outer = value_range(value, facts), integer_bounds(dtype)
            return inner if outer[0] <= inner[0] and inner[1] <= outer[1] else outer
        case Compare() | Logic():
            return 0, 1
    return UNBOUNDED


def _dtype_of(node: Expr, facts: Facts) -> str:
    """The dtype of well-typed integer arithmetic: that of any typed operand, else the index type."""
    match node:
        case Load(buffer, _):
            return facts.dtypes.get(buffer, INDEX)
        case Const(dtype, _) | Cast(dtype, _):
            return dtype
        case Binary(_, a, b) | Select(_, a, b) | If(_, a, b):
            first = _dtype_of(a, facts)
            return _dtype_of(b, facts) if first == INDEX else first
        case Call(_, (a, *_)):
            return _dtype_of(a, facts)
    return INDEX


def _held(dtype: str) -> Range:
    """What a dtype can hold; of floats nothing is known."""
    return UNBOUNDED if is_float(dtype) else integer_bounds(dtype)


def _binary_range(op: str, a: Range, b: Range) -> Range:
    match op:
        case "add":
            found = (a[0] + b[0], a[1] + b[1])
        case "sub":
            found = (a[0] - b[1], a[1] - b[0])
        case "mul":
            corners = [x * y for x in a for y in b]
            found = (min(corners), max(corners))
        case "floordiv" if b[0] > 0:
            corners = [x // y for x in a for y in b]
            found = (min(corners), max(corners))
        case "truncdiv" if b[0] > 0 and a[0] >= 0:
            found = (a[0] // b[1], a[1] // b[0])
        case "floormod" if b[0] > 0:
            found = a if a[0] >= 0 and a[1] < b[0] else (0, b[1] - 1)
        case "truncmod" if b[0] > 0:
            found = (max(min(a[0], 0), 1 - b[1]), min(max(a[1], 0), b[1] - 1))
        case "min":
            found = (min(a[0], b[0]), min(a[1], b[1]))
        case "max":
            found = (max(a[0], b[0]), max(a[1], b[1]))
        case _:
            return UNBOUNDED
    return max(found[0], UNBOUNDED[0]), min(found[1], UNBOUNDED[1])


def narrowed(facts: Facts, cond: Expr, holds: bool) -> Facts:
    """The facts inside a branch where `cond` holds, or does not."""
    match cond:
        case Logic("not", (a,)):
            return narrowed(facts, a, not holds)
        case Logic("and", (a, b)) if holds:
            return narrowed(narrowed(facts, a, True), b, True)
        case Logic("or", (a, b)) if not holds:
            return narrowed(narrowed(facts, a, False), b, False)
        case Compare(op, a, b) if _is_integer_form(a) and _is_integer_form(b):
            const, terms = sum_of(linear(a, facts), linear(b, facts), -1)
            bounds = compare_bounds(op if holds else NEGATED[op])
            if bounds is None or not terms:
                return facts
            key = _guard_key(terms)
            old = facts.guards.get(key, UNBOUNDED)
            new = (max(old[0], bounds[0] - const), min(old[1], bounds[1] - const))
            axes = facts.axes
            match tuple(key):
                case ((Axis(name), 1 | -1 as sign),):
                    low, high = axes.get(name, UNBOUNDED)
                    a0, b0 = new if sign == 1 else (-new[1], -new[0])
                    axes = {**axes, name: (max(low, a0), min(high, b0))}
            return Facts(axes, facts.buffers, {**facts.guards, key: new}, facts.dtypes)
    return facts


def _is_integer_form(node: Expr) -> bool:
    """Index arithmetic, or a single load compared with it (a gather's own guard)."""
    return is_index(node) or isinstance(node, Load)


NEGATED = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def compare_bounds(op: str) -> Range | None:
    """Bounds of ``a - b`` where ``a op b`` holds; None where they are not an interval."""
    low, high = UNBOUNDED
    return {"lt": (low, -1), "le": (low, 0), "gt": (1, high), "ge": (0, high), "eq": (0, 0)}.get(op)
