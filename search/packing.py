"""Nests for staged reads: copies that walk the source along its lines and keep both sides in the first cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..spec.schedule import Bind, BindFused, BindLoop, Nest, Split
from .free_names import FreeNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .source_walk import SourceWalk

VECTOR_ELEMENTS: Final = 64
"""Elements that are copied as one vector at most; TVM and LLVM make as many of the machine's as it takes."""
LEAST_VECTOR: Final = 4
"""Shorter runs are no vectors."""
LINE_ELEMENTS: Final = 16
"""Elements copied along the source before the next line of the copy is begun: a cache line of floats.

LLVM unrolls this loop with the tile's rows around it. Of 64 elements by 16 rows it makes blocks that run half as fast
and take seconds to compile.
"""
WHOLE_PIECE: Final = 256
"""Elements side by side on both sides, from which on pieces are copied in the order of the source: prefetchers follow
what is read, and what is written waits for nobody."""
STEPS_A_PLACE: Final = 32
"""Elements copied from a place along the source that took quotients and conditions to find."""


def divisor_at_most(extent: int, limit: int) -> int:
    """The greatest divisor of `extent` that is at most `limit` (at least 1)."""
    return next(d for d in range(min(extent, max(1, limit)), 0, -1) if extent % d == 0)


SERIAL_POINTS: Final = 4096
"""A nest of no more points is done by one thread sooner than others take part: about a microsecond."""


def parallel_bind(loops: Sequence[str], extents: Mapping[str, int], threads: int, points: int) -> Bind | None:
    """Fuses as many outer loops as it takes to keep every thread busy, and binds them parallel.

    None for one thread, and for a nest of so few `points` in all that it is not worth it.
    """
    if threads == 1 or points <= SERIAL_POINTS:
        return None
    taken: list[str] = []
    total = 1
    for loop in loops:
        taken.append(loop)
        total *= extents[loop]
        if total >= 8 * threads:
            break
    if total < 2:
        return None
    if len(taken) == 1:
        return BindLoop(loop=taken[0], to="parallel")
    return BindFused(fuse=tuple(taken), as_="par", to="parallel")


def copy_nest(
    stage: str,
    loops: Sequence[tuple[str, int]],
    tile: int,
    walk: SourceWalk,
    *,
    threads: int,
    block: int,
    gathers: bool,
) -> Nest:
    """The nest of a staged read whose layout is `loops`, the last `tile` of them the tile's own rows and lanes.

    Where the innermost loop walks the source too, it is vectorized: as a whole, or where it may go past the source's
    end in pieces that divide `block`, the elements that stay together there, unless those are too few. Elsewhere the
    loops of the walk's run that make up about `LINE_ELEMENTS` go inside the tile, so that lines of the source are read
    whole while the tile's lines are written. Where LLVM `gathers` they stand around the tile's last loop instead, which
    is a vector of single loads. Instead of a run, steps of its steady axis may go there: quotients, remainders and
    conditions are worked out once for all of them. Loops around pieces of `WHOLE_PIECE` elements and more follow the
    source's dimensions.
    """
    run, steady = walk.run, walk.steady
    extents = dict(loops)
    points = math.prod(extents.values())
    names = [name for name, _ in loops]
    outer, ends = names[: len(names) - tile], names[len(names) - tile :]
    if ends and run and run[-1] == ends[-1] and (piece := divisor_at_most(block, VECTOR_ELEMENTS)) >= LEAST_VECTOR:
        return _contiguous(stage, names, extents, piece, parallel_bind(outer, extents, threads, points))
    inner: list[str] = []
    splits: list[Split] = []
    budget = LINE_ELEMENTS if steady is None else STEPS_A_PLACE
    free = FreeNames(names)
    for name in reversed(run if steady is None else (steady,)):
        if name not in outer or budget < 2:
            break
        piece = divisor_at_most(extents[name], budget)
        if piece == 1:
            break
        budget //= piece
        if piece == extents[name]:
            outer.remove(name)
            inner.insert(0, name)
            continue
        pieces = (free(f"{name}x"), free(f"{name}y"))
        splits.append(Split(axis=name, into=pieces, factors=(extents[name] // piece, piece)))
        outer[outer.index(name)] = pieces[0]
        extents |= {pieces[0]: extents[name] // piece, pieces[1]: piece}
        inner.insert(0, pieces[1])
        break
    outer = _as_the_source(outer, walk.dimensions, math.prod(extents[name] for name in (*ends, *inner)), extents)
    bind = parallel_bind(outer, extents, threads, points)
    binds = (bind,) if bind else ()
    lanes = divisor_at_most(block, LINE_ELEMENTS)
    if not (gathers and run and ends and lanes >= LEAST_VECTOR):
        return Nest(stage=stage, splits=tuple(splits), order=(*outer, *ends, *inner), bind=binds)
    tile_loops, cut = _with_vector(ends, extents, lanes, free)
    order = (*outer, *tile_loops[:-1], *inner, tile_loops[-1])
    vector = BindLoop(loop=tile_loops[-1], to="vectorize")
    return Nest(stage=stage, splits=(*splits, *cut), order=order, bind=(*binds, vector))


def _as_the_source(loops: list[str], source: Sequence[str], piece: int, extents: Mapping[str, int]) -> list[str]:
    """Loops around a `piece` in the order of the source, where pieces are large enough before that changes anything."""
    ordered = [name for name in source if name in loops]
    if len(ordered) < len(loops):
        return loops
    while ordered and ordered[-1] == loops[len(ordered) - 1]:
        piece *= extents[ordered.pop()]
    return loops if piece < WHOLE_PIECE else [*ordered, *loops[len(ordered) :]]


def _contiguous(stage: str, names: Sequence[str], extents: Mapping[str, int], piece: int, bind: Bind | None) -> Nest:
    """A copy that walks both sides, in vectors of `piece` elements of the last of `names`."""
    order, splits = _with_vector(names, extents, piece, FreeNames(names))
    binds = (BindLoop(loop=order[-1], to="vectorize"),)
    return Nest(stage=stage, splits=splits, order=order, bind=(bind, *binds) if bind else binds)


def _with_vector(
    names: Sequence[str], extents: Mapping[str, int], piece: int, free: FreeNames
) -> tuple[tuple[str, ...], tuple[Split, ...]]:
    """Loops whose last one has `piece` steps, and what splits it off."""
    last = names[-1]
    if piece == extents[last]:
        return tuple(names), ()
    whole, vector = free(f"{last}v"), free(f"{last}l")
    split = Split(axis=last, into=(whole, vector), factors=(extents[last] // piece, piece))
    return (*names[:-1], whole, vector), (split,)
