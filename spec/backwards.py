"""Divisions of what falls as an axis rises, ``(3 - i) // 2``: TVM 0.27 gets them wrong, so they are written otherwise.

A buffer read backwards through a layout gives such digits. TVM's simplifier turns ``(3 - i) // 2 * 22 + (3 - i) % 2``
into ``i // -2 * 22 …``, which is another number; and where it cannot bound an index it attaches no stage at all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs

from .expr import Binary, Const, Expr, index, transform, walk
from .linear import Facts, facts_from_extents, is_index, linear, value_range

if TYPE_CHECKING:
    from .workload import Workload


def divides_backwards(node: Expr) -> bool:
    """True for an index that divides, in either rounding, something that falls as an axis rises."""
    return bool(backward_divisions(node))


def backward_divisions(node: Expr) -> tuple[Expr, ...]:
    """The divisions in an expression, in either rounding, of something that falls as an axis rises."""
    return tuple(part for part in walk(node) if _is_backward(part))


def _is_backward(node: Expr) -> bool:
    match node:
        case Binary("floordiv" | "floormod" | "truncdiv" | "truncmod", a, Const()) if is_index(node):
            return any(coefficient < 0 for coefficient in linear(a, Facts({}))[1].values())
    return False


def truncated(workload: Workload) -> Workload:
    """The workload with backward divisions that round down as ones that truncate, which TVM leaves as they are.

    ``x // c`` is ``truncdiv(x + k * c, c) - k`` and ``x % c`` is ``truncmod(x + k * c, c)`` for a k that makes the
    dividend positive throughout.
    """
    stages = []
    for stage in workload.stages:
        if not any(divides_backwards(body) for body in stage.body):
            stages.append(stage)
            continue
        visit = functools.partial(_truncating, facts=facts_from_extents(stage.extents))
        stages.append(attrs.evolve(stage, body=tuple(transform(body, visit) for body in stage.body)))
    return attrs.evolve(workload, stages=tuple(stages))


def _truncating(node: Expr, facts: Facts) -> Expr:
    if not _is_backward(node) or not isinstance(node, Binary) or node.op not in ("floordiv", "floormod"):
        return node
    assert isinstance(node.b, Const)
    by = int(node.b.text)
    low, _ = value_range(node.a, facts)
    if by <= 0 or low < -(2**31):
        return node
    steps = max(0, -(low // by))
    dividend = Binary("add", node.a, index(steps * by)) if steps else node.a
    if node.op == "floormod":
        return Binary("truncmod", dividend, node.b)
    whole = Binary("truncdiv", dividend, node.b)
    return Binary("sub", whole, index(steps)) if steps else whole
