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
from .schedule import FRAGMENTS

if TYPE_CHECKING:
    from .intrinsics import Intrinsic
    from .nest import StageNest
    from .workload import Workload

_COMMUTES = frozenset({"add", "mul", "min", "max"})


@attrs.frozen(kw_only=True)
class Operand:
    """A load of a nest, or what it adds to, in the place of an intrinsic's operand.

    `moves` gives, for each dimension of its buffer, the elements that a step of each of the intrinsic's loops moves it
    by, by the intrinsic's names; None where that is no fixed number. What a use begins at is a multiple of `grains`
    there, 0 where that is always 0.
    """

    load: Load
    shape: tuple[int, ...]
    moves: tuple[Mapping[str, int] | None, ...]
    grains: tuple[int, ...]

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


def warp_intrinsic(nest: StageNest) -> Intrinsic | None:
    """The intrinsic that the threads of a warp do a nest by; None of any other nest."""
    intrinsic = intrinsic_of(nest)
    return intrinsic if intrinsic is not None and intrinsic.of_warp else None


def operands_of(nest: StageNest, intrinsic: Intrinsic, workload: Workload) -> dict[str, Operand] | None:
    """The operands, ``A``, ``B`` and the output, of a nest whose body is the intrinsic's; None of any other body.

    Where the body's factors may stand for either operand, those win that lie in memory as they should.
    """
    if len(nest.stage.body) > 1:
        return None
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
    fits = is_tile if intrinsic.of_warp else _is_whole
    for name, operand in operands.items():
        forward = all(step > 0 for moves in operand.moves if moves is not None for step in moves.values())
        if not forward or not fits(name, operand, intrinsic):
            yield name


def _is_whole(name: str, operand: Operand, intrinsic: Intrinsic) -> bool:
    """True where an operand lies in memory row by row, without gaps."""
    return operand.strides({axis.name: axis.extent for axis in intrinsic.loops}) == intrinsic.strides(name)


def is_tile(name: str, operand: Operand, intrinsic: Intrinsic) -> bool:
    """True where an operand of a warp is a tile: of a fragment, the intrinsic's rows and columns are its last axes.

    In memory it has its rows or its columns side by side, and the other ones any fixed step apart.
    """
    across, along = intrinsic.axes_of(name)
    if is_fragment(name, intrinsic):
        return (
            len(operand.moves) > 1 and operand.moves[-2:] == ({across: 1}, {along: 1}) and not any(operand.moves[:-2])
        )
    strides = operand.strides({axis.name: axis.extent for axis in intrinsic.loops})
    return strides is not None and 1 in (strides[across], strides[along])


def is_fragment(name: str, intrinsic: Intrinsic) -> bool:
    """True where an operand is in registers of a warp."""
    return intrinsic.scopes[name][0] in FRAGMENTS


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
    values, facts = _axis_values(nest, intrinsic)
    forms = [linear(substitute(place, values), facts) for place in load.indices]
    return Operand(
        load=load,
        shape=workload.buffers[load.buffer].shape,
        moves=tuple(_moves(terms, names) for _, terms in forms),
        grains=tuple(_grain(start, terms, names) for start, terms in forms),
    )


def _moves(terms: Mapping[Expr, int], names: Mapping[str, str]) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for atom, step in terms.items():
        if isinstance(atom, Axis):
            if atom.name in names:
                found[names[atom.name]] = step
        elif not axes_in(atom).isdisjoint(names):
            return None
    return found


def _grain(start: int, terms: Mapping[Expr, int], names: Mapping[str, str]) -> int:
    outside = [step for atom, step in terms.items() if not isinstance(atom, Axis) or atom.name not in names]
    return math.gcd(start, *outside)


def _axis_values(nest: StageNest, intrinsic: Intrinsic) -> tuple[dict[str, Expr], Facts]:
    """Each axis of the stage by the nest's loops, and what is known of these.

    Where only a part of an axis is run at a time, it begins anywhere: that is one more unknown, called ``@axis``. Of a
    warp's intrinsic the beginning is given by the loops around, because tiles must not begin anywhere.
    """
    values = dict(nest.axis_values)
    ranges = {loop.name: (0, loop.extent - 1) for loop in nest.loops}
    for axis in nest.axes:
        whole = nest.stage.extents[axis.name]
        if axis.extent < whole and intrinsic.of_warp:
            values[axis.name] = Binary("add", nest.box[axis.name].origin, values[axis.name])
        elif axis.extent < whole:
            values[axis.name] = Binary("add", Axis(f"@{axis.name}"), values[axis.name])
            ranges[f"@{axis.name}"] = (0, whole - axis.extent)
    return values, Facts(ranges)
