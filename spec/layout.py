"""Iteration spaces re-cut by fuses and splits: which new axes there are, and both ways of naming a point.

One form for loops and for buffer layouts: fuse neighbours, split, order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from .errors import SpecError
from .expr import Axis, Binary, Expr, index, substitute
from .workload import IterAxis

if TYPE_CHECKING:
    from .schedule import Fuse, Split

LEAST_BLOCK: Final = 4
"""Elements that are a vector at least."""


@attrs.frozen(kw_only=True)
class Recut:
    """Axes after fuses and splits.

    `old_in_new` gives each old axis by new ones, `new_in_old` the other way round. `padded` holds, for each axis that
    splits extend past its end, its value in new axes and its true extent: ``(jo * 32 + ji, 1000)``. `clamps` has such
    values by what stands for them where they must not leave the axis.
    """

    axes: tuple[IterAxis, ...]
    old_in_new: Mapping[str, Expr]
    new_in_old: Mapping[str, Expr]
    padded: tuple[tuple[Expr, int], ...]
    clamps: Mapping[Expr, Expr] = attrs.field(factory=dict)


def recut(
    axes: Sequence[IterAxis],
    fuses: Sequence[Fuse],
    splits: Sequence[Split],
    *,
    clamp: bool,
    order: Sequence[str] = (),
) -> Recut:
    """Applies `fuses`, then `splits`, to `axes`; with `clamp`, surplus points of an axis stand for some true ones.

    `order` is that of the new axes in memory, where it is known: of pieces out of their order no block is a vector.
    Raises SpecError, with a path, for unknown or repeated names and for factors that do not fit.
    """
    if not fuses and not splits:
        _check_names(axes)
        same = {axis.name: Axis(axis.name) for axis in axes}
        return Recut(axes=tuple(axes), old_in_new=same, new_in_old=same, padded=())
    fused, fused_old_in_new, fused_new_in_old = _fused(axes, fuses)
    extents = {axis.name: axis.extent for axis in fused}
    by_axis = splits_by_axis(splits, extents, "pad")
    new_axes: list[IterAxis] = []
    value: dict[str, Expr] = {}
    digits: dict[str, Expr] = {}
    padded: list[tuple[Expr, int]] = []
    clamps: dict[Expr, Expr] = {}
    for axis in fused:
        found = by_axis.get(axis.name)
        if found is None:
            new_axes.append(axis)
            value[axis.name] = Axis(axis.name)
            digits[axis.name] = fused_new_in_old[axis.name]
            continue
        whole = _joined(found.into, found.factors)
        if math.prod(found.factors) > axis.extent:
            padded.append((whole, axis.extent))
            if clamp:
                inner = 1 if _is_turned(found.into[1:], order) else math.prod(found.factors[1:])
                clamped = _kept_inside(whole, axis.extent, inner)
                clamps[clamped], whole = whole, clamped
        value[axis.name] = whole
        new_axes += [IterAxis(name=n, extent=f) for n, f in zip(found.into, found.factors, strict=True)]
        digits |= _digits(found, fused_new_in_old[axis.name])
    _check_names(new_axes)
    old_in_new = {name: substitute(expr, value) for name, expr in fused_old_in_new.items()}
    return Recut(axes=tuple(new_axes), old_in_new=old_in_new, new_in_old=digits, padded=tuple(padded), clamps=clamps)


def _is_turned(pieces: Sequence[str], order: Sequence[str]) -> bool:
    """True where `order` has pieces of an axis in another order than theirs."""
    places = [order.index(piece) for piece in pieces if piece in order]
    return places != sorted(places)


def _kept_inside(whole: Expr, extent: int, inner: int) -> Expr:
    """`whole` where it is below `extent`, and else a value that is.

    Of an axis in pieces of `inner`, blocks that divide both are moved as one, so that they can be vectors still:
    ``min(jo * 24 + ji // 8 * 8, 1016) + ji % 8``. Smaller ones than `LEAST_BLOCK` are not worth it.
    """
    block = math.gcd(extent, inner)
    if block < LEAST_BLOCK:
        return Binary("min", whole, index(extent - 1))
    begin = Binary("mul", Binary("floordiv", whole, index(block)), index(block))
    return Binary("add", Binary("min", begin, index(extent - block)), Binary("floormod", whole, index(block)))


def _fused(axes: Sequence[IterAxis], fuses: Sequence[Fuse]) -> tuple[list[IterAxis], dict[str, Expr], dict[str, Expr]]:
    current = list(axes)
    old_in_new: dict[str, Expr] = {axis.name: Axis(axis.name) for axis in axes}
    new_in_old: dict[str, Expr] = {axis.name: Axis(axis.name) for axis in axes}
    for number, fuse in enumerate(fuses):
        names = [axis.name for axis in current]
        for name in fuse.fuse:
            if name not in names:
                raise SpecError(f"no axis {name!r} to fuse; axes here: {', '.join(names)}", f"fuses[{number}].fuse")
        first = names.index(fuse.fuse[0]) if fuse.fuse else 0
        if len(fuse.fuse) < 2 or tuple(names[first : first + len(fuse.fuse)]) != fuse.fuse:
            message = f"axes {', '.join(fuse.fuse)} are not neighbours in this order; axes here: {', '.join(names)}"
            raise SpecError(message, f"fuses[{number}].fuse")
        parts = current[first : first + len(fuse.fuse)]
        extents = tuple(axis.extent for axis in parts)
        inner = _digits_of(Axis(fuse.as_), extents)
        replaced = {axis.name: digit for axis, digit in zip(parts, inner, strict=True)}
        old_in_new = {name: substitute(expr, replaced) for name, expr in old_in_new.items()}
        joined = _joined(fuse.fuse, extents)
        new_in_old[fuse.as_] = substitute(joined, {name: new_in_old[name] for name in fuse.fuse})
        current[first : first + len(fuse.fuse)] = [IterAxis(name=fuse.as_, extent=math.prod(extents))]
        _check_names(current)
    return current, old_in_new, new_in_old


def splits_by_axis(splits: Sequence[Split], extents: Mapping[str, int], tail: str) -> dict[str, Split]:
    """Axis → its split; SpecError, with a path, where one does not fit. `tail` is the one allowed where they stand."""
    found: dict[str, Split] = {}
    for number, split in enumerate(splits):
        try:
            if split.axis not in extents:
                raise SpecError(f"no axis {split.axis!r} to split; axes here: {', '.join(extents)}", "axis")
            if split.axis in found:
                raise SpecError(f"axis {split.axis!r} is split twice; give one list of factors", "axis")
            _check_factors(split, extents[split.axis], tail)
        except SpecError as error:
            raise error.under(f"splits[{number}]") from error
        found[split.axis] = split
    return found


def _check_factors(split: Split, extent: int, tail: str) -> None:
    """Factors multiply to the extent or, with a tail, to the least multiple of the inner ones that covers it.

    `tail` is the one that is allowed where the split stands.
    """
    product = math.prod(split.factors)
    if product == extent:
        return
    listed = ", ".join(map(str, split.factors))
    if product < extent or split.tail == "none":
        remedy = f'use factors that divide it, or tail="{tail}"' if product > extent else "make them cover it"
        raise SpecError(
            f"factors ({listed}) of axis {split.axis!r} give {product}, extent is {extent}; {remedy}",
            "factors",
        )
    inner = product // split.factors[0]
    if split.factors[0] != -(-extent // inner):
        needed = -(-extent // inner)
        message = f"factors ({listed}) of axis {split.axis!r} give {product} for extent {extent}: whole surplus steps"
        raise SpecError(f"{message}; make the first factor {needed}", "factors")


def _check_names(axes: Sequence[IterAxis]) -> None:
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two axes are called {name!r}; give each its own name")


def _joined(names: Sequence[str], extents: Sequence[int]) -> Expr:
    """``a * (E_b * E_c) + b * E_c + c``."""
    result: Expr = Axis(names[0])
    for name, extent in zip(names[1:], extents[1:], strict=True):
        result = Binary("add", Binary("mul", result, index(extent)), Axis(name))
    return result


def _digits_of(value: Expr, extents: Sequence[int]) -> list[Expr]:
    """The mixed-radix digits of `value`, outermost first; the first is not reduced by its own extent."""
    found: list[Expr] = []
    inner = math.prod(extents)
    for number, extent in enumerate(extents):
        rest = value if number == 0 else Binary("floormod", value, index(inner))
        inner //= extent
        found.append(rest if inner == 1 else Binary("floordiv", rest, index(inner)))
    return found


def _digits(split: Split, value: Expr) -> dict[str, Expr]:
    return dict(zip(split.into, _digits_of(value, split.factors), strict=True))
