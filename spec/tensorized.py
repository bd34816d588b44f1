"""How a nest fits the intrinsic that tensorizes it: which loads are its operands, and how they lie in memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from .expr import Axis, Binary, Expr, Load, axes_in, children, substitute, with_children
from .intrinsics import INTRINSICS
from .linear import Facts, linear

if TYPE_CHECKING:
    from .intrinsics import Intrinsic
    from .nest import StageNest
    from .workload import Workload

_COMMUTES = frozenset({"add", "mul", "min", "max"})


@attrs.frozen(kw_only=True)
class Operand:
    """A load of a nest, or what it adds to, in the place of an intrinsic's operand.

    `moves` gives, for each dimension of its buffer, the elements that a step of each of the intrinsic's loops moves it
    by, by the intrinsic's names; None where that is no fixed number.
    """

    load: Load
    shape: tuple[int, ...]
    moves: tuple[Mapping[str, int] | None, ...]

    def strides(self, loops: Mapping[str, int]) -> dict[str, int] | None:
        """Elements in memory that a step of each loop moves it by; None where that is no fixed number."""
        found = dict.fromkeys(loops, 0)
        for dimension, moves in enumerate(self.moves):
            if moves is None:
                return None
            for name, step in moves.items():
                found[name] += step * math.prod(self.shape[dimension + 1 :])
        return found

    def region(self, loops: Mapping[str, int]) -> tuple[int, ...]:
        """How many elements of each dimension one use of the intrinsic touches, given the extents of its loops."""
        return tuple(1 + sum(step * (loops[name] - 1) for name, step in (moves or {}).items()) for moves in self.moves)


def intrinsic_of(nest: StageNest) -> Intrinsic | None:
    """The intrinsic that tensorizes a nest; None where none does, or none of that name is known."""
    return INTRINSICS.get(nest.nest.tensorize.intrinsic) if nest.nest.tensorize is not None else None


def operands_of(nest: StageNest, intrinsic: Intrinsic, workload: Workload) -> dict[str, Operand] | None:
    """The operands, ``A``, ``B`` and the output, of a nest whose body is the intrinsic's; None of any other body.

    Where the body's factors may stand for either operand, those win that lie in memory as they should.
    """
    (body,) = nest.stage.body
    (pattern,) = intrinsic.stage.body
    dtypes = {name: buffer.dtype for name, buffer in workload.buffers.items()}
    output = Load(nest.stage.name, tuple(Axis(axis.name) for axis in nest.stage.axes))
    found = []
    for loads in _matches(pattern, body):
        if all(dtypes[load.buffer] == intrinsic.computes.buffers[name].dtype for name, load in loads.items()):
            loads[intrinsic.output.name] = output
            found.append({name: _operand(load, nest, intrinsic, workload) for name, load in loads.items()})
    return next((one for one in found if not any(misplaced(one, intrinsic))), found[0] if found else None)


def misplaced(operands: Mapping[str, Operand], intrinsic: Intrinsic) -> Iterator[str]:
    """The names of operands that do not lie in memory as the intrinsic needs them."""
    extents = {axis.name: axis.extent for axis in intrinsic.loops}
    for name, operand in operands.items():
        forward = all(step > 0 for moves in operand.moves if moves is not None for step in moves.values())
        if not forward or operand.strides(extents) != intrinsic.strides(name):
            yield name


def _matches(pattern: Expr, body: Expr) -> Iterator[dict[str, Load]]:
    """Every way in which `body` is `pattern` with loads of its own; operands of a commutative node may be exchanged."""
    if isinstance(pattern, Load):
        if isinstance(body, Load):
            yield {pattern.buffer: body}
        return
    inner, own = children(pattern), children(body)
    if type(pattern) is not type(body) or len(inner) != len(own) or with_children(body, inner) != pattern:
        return
    orders = [own]
    if isinstance(pattern, Binary) and pattern.op in _COMMUTES:
        orders.append(own[::-1])
    for order in orders:
        parts = [list(_matches(a, b)) for a, b in zip(inner, order, strict=True)]
        for chosen in itertools.product(*parts):
            yield {name: load for part in chosen for name, load in part.items()}


def _operand(load: Load, nest: StageNest, intrinsic: Intrinsic, workload: Workload) -> Operand:
    names = {own.name: loop.name for own, loop in zip(nest.tensorized, intrinsic.loops, strict=True)}
    values, facts = _axis_values(nest)
    moves = tuple(_moves(linear(substitute(place, values), facts)[1], names) for place in load.indices)
    return Operand(load=load, shape=workload.buffers[load.buffer].shape, moves=moves)


def _moves(terms: Mapping[Expr, int], names: Mapping[str, str]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for atom, step in terms.items():
        if isinstance(atom, Axis):
            if atom.name in names:
                found[names[atom.name]] = step
        elif not axes_in(atom).isdisjoint(names):
            return None
    return found


def _axis_values(nest: StageNest) -> tuple[dict[str, Expr], Facts]:
    """Each axis of the stage by the nest's loops, and what is known of these.

    Where only a part of an axis is run at a time, it begins anywhere: that is one more unknown, called ``@axis``.
    """
    values = nest.axis_values
    ranges = {loop.name: (0, loop.extent - 1) for loop in nest.loops}
    for axis in nest.axes:
        whole = nest.stage.extents[axis.name]
        if axis.extent < whole:
            values[axis.name] = Binary("add", Axis(f"@{axis.name}"), values[axis.name])
            ranges[f"@{axis.name}"] = (0, whole - axis.extent)
    return values, Facts(ranges)
