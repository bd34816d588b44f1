"""Which steps of a sum add nothing but zeros: those whose every product has a factor in padding.

before: ``for r in 3: for c in 64: Y[h] += pad[c, h + r] * W[c, r]``
after (skip r): ``for r in 3: if h + r >= 1 and h + r < 15: for c in 64: Y[h] += pad[c, h + r] * W[c, r]``

A condition on single elements becomes one on all that a step of the loop reads, by the least and the greatest value of
what is compared there: the step is left out where not one of its elements can be other than zero.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from .expr import Axis, Binary, Cast, Compare, Const, Expr, If, Load, Logic, Select, axes_in, index, loads, substitute
from .linear import NEGATED, compare_bounds, value_range
from .nest import NESTS_KEPT
from .simplify import TRUE, simplify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .linear import Facts
    from .nest import StageNest
    from .workload import Workload

_MOST_STAGES: Final = 4
"""Stages between a sum and the padding that it reads at most: copies, windows, phases."""
_MOST_TESTS: Final = 64
"""Tests of one buffer at most; with fewer of them, more steps are done."""
_Known: TypeAlias = "dict[tuple[str, int], tuple[Compare, ...]]"
"""Tests of the elements of buffers, by the axes of who writes them, found so many stages away."""


def zero_tests(value: Expr, workload: Workload) -> Iterator[Compare]:
    """Comparisons that all hold wherever `value` is not zero, by the axes that it is in."""
    return _tests(value, workload, 0, {})


def _tests(value: Expr, workload: Workload, depth: int, known: _Known) -> Iterator[Compare]:
    match value:
        case If(cond, then, otherwise) | Select(cond, then, otherwise):
            if _is_zero(otherwise):
                yield from _parts(cond)
                yield from _tests(then, workload, depth, known)
            elif _is_zero(then):
                yield from _parts(Logic("not", (cond,)))
                yield from _tests(otherwise, workload, depth, known)
        case Binary("mul", a, b):
            yield from _tests(a, workload, depth, known)
            yield from _tests(b, workload, depth, known)
        case Cast(_, inner):
            yield from _tests(inner, workload, depth, known)
        case Load(buffer, indices):
            writer = workload.writer.get(buffer)
            if writer is None or writer.reduce or depth == _MOST_STAGES:
                return
            if (buffer, depth) not in known:  # once, however often it is read
                body = writer.body[[output.name for output in writer.outputs].index(buffer)]
                known[buffer, depth] = tuple(islice(_tests(body, workload, depth + 1, known), _MOST_TESTS))
            axes = {axis.name: position for axis, position in zip(writer.axes, indices, strict=True)}
            for test in known[buffer, depth]:
                yield Compare(test.op, substitute(test.a, axes), substitute(test.b, axes))


@lru_cache(maxsize=NESTS_KEPT)
def step_tests(nest: StageNest, workload: Workload, loop: str) -> tuple[Compare, ...]:
    """What holds, by the loops down to `loop`, where a step of it may add something; empty where each step may.

    SpecError where the nest has no such loop.
    """
    place = nest.bound_position(loop)
    inside = {part.name: part.extent for bound in nest.bound[place + 1 :] for part in bound.parts}
    found: dict[Compare, None] = {}
    single = {part.name: index(0) for part in nest.loops if part.extent == 1}
    values = {axis: substitute(value, single) for axis, value in nest.axis_values.items()}
    for body in nest.stage.body:
        for test in zero_tests(body, workload):
            here = simplify(substitute(test, values), nest.facts)
            for part in _parts(here):
                reached = simplify(_reached(part, inside), nest.facts)
                if isinstance(reached, Compare) and not _holds(reached, nest.facts):
                    found[reached] = None
    return tuple(found)


def _holds(test: Compare, facts: Facts) -> bool:
    """True for what always holds, by the ranges of both sides alone."""
    (low, high), (least, most) = value_range(test.a, facts), value_range(test.b, facts)
    bounds = compare_bounds(test.op)
    return bounds is not None and bounds[0] <= low - most and high - least <= bounds[1]


def _is_zero(value: Expr) -> bool:
    return isinstance(value, Const) and float(value.text) == 0


def _parts(cond: Expr) -> Iterator[Compare]:
    """Comparisons that all hold where `cond` does; whatever else it says is left out."""
    match cond:
        case Compare():
            yield cond
        case Logic("and", (a, b)):
            yield from _parts(a)
            yield from _parts(b)
        case Logic("not", (Compare(op, a, b),)):
            yield Compare(NEGATED[op], a, b)
        case Logic("not", (Logic("or", (a, b)),)):
            yield from _parts(Logic("not", (a,)))
            yield from _parts(Logic("not", (b,)))


def _reached(test: Compare, inside: Mapping[str, int]) -> Expr:
    """What holds in a step where `test` does for some of the elements `inside` of it; `test` of none is as it is."""
    if not inside.keys() & axes_in(test):
        return test if not loads(test) else TRUE
    a, b = _extremes(test.a, inside), _extremes(test.b, inside)
    if a is None or b is None:
        return TRUE
    match test.op:
        case "lt" | "le":
            return Compare(test.op, a[0], b[1])
        case "gt" | "ge":
            return Compare(test.op, a[1], b[0])
        case _:
            return TRUE


def _extremes(node: Expr, inside: Mapping[str, int]) -> tuple[Expr, Expr] | None:
    """The least and the greatest value of an index while the loops `inside` run; None where that is not known."""
    if not inside.keys() & axes_in(node):
        return None if loads(node) else (node, node)
    match node:
        case Axis(name):
            return index(0), index(inside[name] - 1)
        case Binary(op, first, second):
            a, b = _extremes(first, inside), _extremes(second, inside)
            if a is None or b is None:
                return None
            return _combined(op, a, b)
    return None


def _combined(op: str, a: tuple[Expr, Expr], b: tuple[Expr, Expr]) -> tuple[Expr, Expr] | None:
    """The extremes of an operation by those of its operands."""
    if op in ("add", "min", "max"):
        return Binary(op, a[0], b[0]), Binary(op, a[1], b[1])
    if op == "sub":
        return Binary(op, a[0], b[1]), Binary(op, a[1], b[0])
    if op == "mul" and isinstance(a[0], Const) and a[0] == a[1]:
        a, b = b, a
    if not (isinstance(b[0], Const) and b[0] == b[1]):
        return None
    by = int(b[0].text)
    if op == "mul":
        low, high = a if by >= 0 else (a[1], a[0])
        return Binary(op, low, b[0]), Binary(op, high, b[0])
    if by <= 0:
        return None
    if op == "floordiv":
        return Binary(op, a[0], b[0]), Binary(op, a[1], b[0])
    if op == "floormod":
        # Within one multiple remainders go on as what they are of; past its end they begin anew.
        together = Compare("eq", Binary("floordiv", a[0], b[0]), Binary("floordiv", a[1], b[0]))
        low = Select(together, Binary(op, a[0], b[0]), index(0))
        return low, Select(together, Binary(op, a[1], b[0]), index(by - 1))
    return None
