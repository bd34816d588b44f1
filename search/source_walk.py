"""How a staged read walks its source: which loops go along lines of it, and in which order its dimensions lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from ..spec.expr import Axis, Load, axes_in, index, substitute
from ..spec.linear import facts_from_extents
from ..spec.simplify import simplify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.workload import Stage

    Groups: TypeAlias = Mapping[tuple[str, ...], tuple[str, str]]


@attrs.frozen(kw_only=True)
class SourceWalk:
    """The loops of a staged read as its source sees them; those of a tile by the name of a piece.

    `run` walks the source without a gap, outermost first. `steady` is, for a read that jumps along a fused run of axes,
    the longest reduce axis that has no part in where else it is read. `dimensions` are the source's, outermost first.
    """

    run: tuple[str, ...]
    steady: str | None
    dimensions: tuple[str, ...]


def source_walk(load: Load, shape: Sequence[int], stage: Stage, groups: Groups, reduce: Sequence[str]) -> SourceWalk:
    """How `load` of a buffer of some `shape` walks it.

    `groups` has the axes that a tile is made of, each group with the names of its outer and its inner piece; `reduce`
    are the reduce axes in the order of their loops.
    """
    plain = _without_single(load, stage)
    run = _run(plain, shape, stage.extents)
    outer = {name: pieces[0] for axes, pieces in groups.items() for name in axes}
    ranks: dict[str, None] = {}
    for position in load.indices:
        ranks |= dict.fromkeys(outer.get(name, name) for name in sorted(axes_in(position)))
    fused = any(len(axes) > 1 and {*axes} & axes_in(load) for axes in groups)
    return SourceWalk(
        run=_along_tiles(run, groups),
        steady=_steady(plain, stage.extents, reduce) if fused and not run else None,
        dimensions=tuple(ranks),
    )


def _without_single(load: Load, stage: Stage) -> Load:
    """A read as it is where axes of a single step are 0."""
    facts = facts_from_extents(stage.extents)
    single = {name: index(0) for name, steps in stage.extents.items() if steps == 1}
    return Load(load.buffer, tuple(simplify(substitute(position, single), facts) for position in load.indices))


def _run(load: Load, shape: Sequence[int], extents: Mapping[str, int]) -> tuple[str, ...]:
    """Axes that walk the source without a gap, outermost first: each the whole of one of its last dimensions."""
    run: list[str] = []
    for position, extent in zip(reversed(load.indices), reversed(shape), strict=True):
        if not axes_in(position) and extent == 1:
            continue
        if not isinstance(position, Axis) or extents.get(position.name) is None:
            break
        run.insert(0, position.name)
        if extents[position.name] != extent:
            break
    return tuple(run)


def _along_tiles(run: tuple[str, ...], groups: Groups) -> tuple[str, ...]:
    """A run up to the innermost axes of it that a tile is made of, which go by the name of their inner piece."""
    along: list[str] = []
    while run:
        for axes, (_, inner) in groups.items():
            if run[-len(axes) :] == axes:
                return (inner, *along)
        along.insert(0, run[-1])
        run = run[:-1]
    return tuple(along)


def _steady(load: Load, extents: Mapping[str, int], reduce: Sequence[str]) -> str | None:
    alone = [
        name
        for name in reduce
        if Axis(name) in load.indices and sum(name in axes_in(position) for position in load.indices) == 1
    ]
    return max(alone, key=lambda name: extents[name], default=None)
