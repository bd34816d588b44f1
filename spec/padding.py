"""Surplus steps of padded axes: those of reductions add nothing, those of others are dropped, whatever they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import SpecError
from .expr import Binary, Cast, Compare, Const, Expr, If, Load, axes_in, const, index, loads, transform
from .linear import value_range
from .reducers import identity_element

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .layout import Recut
    from .linear import Facts
    from .workload import Buffer, Stage


def padded_with_identity(body: Expr, reduced: Recut, stage: Stage, buffers: Mapping[str, Buffer]) -> Expr:
    """Makes surplus steps of padded reduce axes add nothing.

    In a sum of products whose every load moves with the padded axis, the loads give 0 there, which packing then takes
    along; anything else is guarded as a whole.
    """
    if not reduced.padded or stage.reducer is None:
        return body
    if stage.reducer.op == "custom":
        raise SpecError("a custom reducer's axis cannot be padded; use factors that divide it", "splits")
    neutral = identity_element(stage.reducer.op, stage.outputs[0].dtype)
    for value, extent in reduced.padded:
        guard = Compare("lt", value, index(extent))
        moving = axes_in(value)
        if stage.reducer.op == "sum" and _is_product(body) and all(moving & axes_in(load) for load in loads(body)):
            body = _guarded_factors(body, guard, buffers)
        else:
            body = If(guard, body, neutral)
    return body


def reaching(body: Expr, clamps: Mapping[Expr, Expr], facts: Facts, buffers: Mapping[str, Buffer]) -> Expr:
    """Lets loads run past the end of padded axes where their buffers go on: what they find there is dropped.

    `clamps` has the values of such axes by what keeps them inside.
    """

    def free(node: Expr) -> Expr:
        return clamps.get(node, node)

    def visit(node: Expr) -> Expr:
        if not isinstance(node, Load):
            return node
        freed = tuple(transform(position, free) for position in node.indices)
        shape = buffers[node.buffer].shape
        ranges = [value_range(position, facts) for position in freed]
        inside = all(low >= 0 and high < extent for (low, high), extent in zip(ranges, shape, strict=True))
        return Load(node.buffer, freed) if inside else node

    return transform(body, visit)


def _guarded_factors(node: Expr, guard: Expr, buffers: Mapping[str, Buffer]) -> Expr:
    """A product whose every load, or what guards it already, is replaced by zero where `guard` does not hold."""
    match node:
        case Binary(op, a, b):
            return Binary(op, _guarded_factors(a, guard, buffers), _guarded_factors(b, guard, buffers))
        case Cast(dtype, value):
            return Cast(dtype, _guarded_factors(value, guard, buffers))
        case Load(buffer, _):
            return If(guard, node, const(buffers[buffer].dtype, 0))
        case If(_, _, zero):
            return If(guard, node, zero)
    raise AssertionError("not a product of loads")


def _is_product(node: Expr) -> bool:
    """True for loads multiplied, each perhaps guarded or cast."""
    match node:
        case Binary("mul", a, b):
            return _is_product(a) and _is_product(b)
        case Cast(_, value):
            return _is_product(value)
        case If(_, then, Const(_, text)):
            return float(text) == 0 and _is_product(then)
        case Load():
            return True
    return False
