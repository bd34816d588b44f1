"""From a layout and numbers to stagings and nests: a register tile, blocked for the caches, with its reads repacked.

The loop order is BLIS': blocks of rows and vectors in parallel, a block of the reduction, register tiles inside, the
reduction innermost, rows and vectors unrolled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from ..spec.schedule import Accumulate, Bind, BindFused, BindLoop, Fuse, Nest, Partial, Reindex, Split, Staging
from .layouts import Layout, length_of
from .structure import reads_of

if TYPE_CHECKING:
    from ..spec.workload import Stage


@attrs.frozen(kw_only=True)
class Tile:
    """The numbers of a tiling.

    `lanes` elements of a vector times `vectors`, by `rows`, stay in registers; blocks hold that many register tiles;
    `reduce_block` steps of the outermost reduce axis run before the next tile (0: all); `rotate` of the reduce axes go
    from the front to the end of the reduce order; `rows_outer` puts row blocks outside vector blocks.
    """

    lanes: int
    vectors: int
    rows: int
    vector_block: int = 1
    row_block: int = 1
    reduce_block: int = 0
    rotate: int = 0
    rows_outer: bool = False
    unroll_reduce: bool = False


@attrs.frozen(kw_only=True)
class Tiled:
    """A tiled stage: its stagings in order, nests of the stages these create, and where its result can be taken up.

    `accumulator` is the new stage with the tile; `attach` the loop of it outside every reduction, empty where the copy
    out needs a nest of its own.
    """

    stagings: tuple[Staging, ...]
    nests: tuple[Nest, ...]
    accumulator: str
    attach: str


def divisor_at_most(extent: int, limit: int) -> int:
    """The greatest divisor of `extent` that is at most `limit` (at least 1)."""
    for candidate in range(min(extent, max(1, limit)), 0, -1):
        if extent % candidate == 0:
            return candidate
    return 1


def tiled_reduction(stage: Stage, layout: Layout, tile: Tile, threads: int) -> Tiled:
    """Stagings and nests for one reduction."""
    if layout.partial:
        return _tiled_partial(stage, layout, tile, threads)
    names = _Names(stage)
    fuses, splits = [], []
    vector, row = names.group(layout.vector), names.group(layout.rows)
    for group, fused in ((layout.vector, vector), (layout.rows, row)):
        if len(group) > 1:
            fuses.append(Fuse(fuse=group, as_=fused))
    width = tile.lanes * tile.vectors
    vector_blocks = -(-length_of(layout.vector, stage) // width)
    splits.append(
        _padded(vector, (names.outer(vector), names.inner(vector)), (vector_blocks, width), layout.vector, stage)
    )
    batch = [axis.name for axis in stage.axes if axis.name not in (*layout.vector, *layout.rows)]
    order = [*batch, names.outer(vector)]
    row_blocks = 1
    if layout.rows:
        row_blocks = -(-length_of(layout.rows, stage) // tile.rows)
        splits.append(_padded(row, (names.outer(row), names.inner(row)), (row_blocks, tile.rows), layout.rows, stage))
        order += [names.outer(row), names.inner(row)]
    order.append(names.inner(vector))
    accumulator = f"{stage.name}.acc"
    stagings: list[Staging] = [
        Accumulate(stage=stage.name, as_=accumulator, fuses=tuple(fuses), splits=tuple(splits), order=tuple(order))
    ]
    nests: list[Nest] = []
    reduce = [axis.name for axis in stage.reduce]
    reduce = reduce[tile.rotate :] + reduce[: tile.rotate]
    block = divisor_at_most(stage.extents[reduce[0]], tile.reduce_block) if tile.reduce_block else 0
    for read in reads_of(stage):
        if read.buffer not in layout.staged:
            continue
        staging, nest = _staged_read(stage, read.buffer, read.axes, layout, tile, names, batch, reduce, block, threads)
        stagings.append(staging)
        nests.append(nest)
    nest, attach = _accumulator_nest(
        stage, accumulator, layout, tile, names, batch, reduce, block, vector_blocks, row_blocks
    )
    nests.append(nest)
    whole = len(layout.vector) == 1 and len(layout.rows) <= 1
    return Tiled(stagings=tuple(stagings), nests=tuple(nests), accumulator=accumulator, attach=attach if whole else "")


class _Names:
    """Names of the pieces of axes, free of clashes within one stage."""

    def __init__(self, stage: Stage) -> None:
        self._taken = set(stage.extents)
        self._made: dict[str, str] = {}

    def group(self, axes: Sequence[str]) -> str:
        """The one name of a group: the axis itself, or of the fused run."""
        return axes[0] if len(axes) == 1 else self._make("".join(axes)) if axes else ""

    def outer(self, axis: str) -> str:
        """Name of the outer piece."""
        return self._make(f"{axis}o")

    def inner(self, axis: str) -> str:
        """Name of the inner piece."""
        return self._make(f"{axis}i")

    def piece(self, axis: str, letter: str) -> str:
        """Name of a further piece."""
        return self._make(f"{axis}{letter}")

    def _make(self, wanted: str) -> str:
        if wanted not in self._made:
            name = wanted
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            self._made[wanted] = name
        return self._made[wanted]


def _padded(axis: str, into: tuple[str, str], factors: tuple[int, int], group: Sequence[str], stage: Stage) -> Split:
    exact = factors[0] * factors[1] == length_of(group, stage)
    return Split(axis=axis, into=into, factors=factors, tail="none" if exact else "pad")


def _staged_read(
    stage: Stage,
    buffer: str,
    axes: frozenset[str],
    layout: Layout,
    tile: Tile,
    names: _Names,
    batch: Sequence[str],
    reduce: Sequence[str],
    block: int,
    threads: int,
) -> tuple[Staging, Nest]:
    """A read laid out as the tile walks it: outer tiles, the reduction, the tile's own rows and vectors innermost."""
    vector, row = names.group(layout.vector), names.group(layout.rows)
    extents = stage.extents
    order: list[tuple[str, int]] = [(name, extents[name]) for name in batch if name in axes]
    inner: list[tuple[str, int]] = []
    width = tile.lanes * tile.vectors
    if {*layout.rows} & axes:
        order.append((names.outer(row), -(-length_of(layout.rows, stage) // tile.rows)))
        inner.append((names.inner(row), tile.rows))
    if {*layout.vector} & axes:
        order.insert(len(order), (names.outer(vector), -(-length_of(layout.vector, stage) // width)))
        inner.append((names.inner(vector), width))
    order += [(name, extents[name]) for name in reduce if name in axes]
    name = f"{buffer}.pack"
    staging = Reindex(stage=f"{stage.name}.acc", reads=buffer, as_=name, order=tuple(n for n, _ in (*order, *inner)))
    source = next(read for read in reads_of(stage) if read.buffer == buffer).contiguous
    last = inner[-1][0] if inner else order[-1][0]
    contiguous = any(last in (axis, names.inner(axis)) for axis in source)
    return staging, _pack_nest(name, [*order, *inner], contiguous, len(inner), source, tile, threads)


def _pack_nest(
    name: str,
    loops: Sequence[tuple[str, int]],
    contiguous: bool,
    inner: int,
    source: frozenset[str],
    tile: Tile,
    threads: int,
) -> Nest:
    """Copies along the source's lines: vectors where the layouts agree, else tiles of 16 so that both sides stay cached."""
    outer = [loop for loop, _ in loops[: len(loops) - inner]]
    ends = [loop for loop, _ in loops[len(loops) - inner :]]
    extents = dict(loops)
    splits: list[Split] = []
    bind: list[Bind] = []
    order = [*outer, *ends]
    if contiguous and extents[ends[-1]] <= 64:
        bind.append(BindLoop(loop=ends[-1], to="vectorize"))
    else:
        along = next((loop for loop in reversed(outer) if loop in source), None)
        if along is not None and outer:
            piece = divisor_at_most(extents[along], 16)
            if 1 < piece < extents[along]:
                splits.append(
                    Split(axis=along, into=(f"{along}x", f"{along}y"), factors=(extents[along] // piece, piece))
                )
                outer = [f"{along}x" if loop == along else loop for loop in outer]
                extents |= {f"{along}x": extents[along] // piece, f"{along}y": piece}
                order = [*outer, *ends, f"{along}y"]
            elif len(outer) > 1:
                outer = [loop for loop in outer if loop != along]
                order = [*outer, *ends, along]
    bind.insert(0, parallel_bind(outer, extents, threads))
    return Nest(stage=name, splits=tuple(splits), order=tuple(order), bind=tuple(b for b in bind if b is not None))


def parallel_bind(loops: Sequence[str], extents: Mapping[str, int], threads: int) -> Bind | None:
    """Fuses as many outer loops as it takes to keep every thread busy, and binds them parallel."""
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


def _accumulator_nest(
    stage: Stage,
    accumulator: str,
    layout: Layout,
    tile: Tile,
    names: _Names,
    batch: Sequence[str],
    reduce: Sequence[str],
    block: int,
    vector_blocks: int,
    row_blocks: int,
) -> tuple[Nest, str]:
    """The nest of the register tile, and its innermost loop outside the reduction."""
    vector, row = names.group(layout.vector), names.group(layout.rows)
    splits: list[Split] = []

    def blocked(axis: str, extent: int, limit: int) -> tuple[list[str], list[str]]:
        inner = divisor_at_most(extent, limit)
        if inner == 1:
            return [axis], []
        if inner == extent:
            return [], [axis]
        pieces = (names.piece(axis, "b"), names.piece(axis, "t"))
        splits.append(Split(axis=axis, into=pieces, factors=(extent // inner, inner)))
        return [pieces[0]], [pieces[1]]

    vector_outer, vector_inner = blocked(names.outer(vector), vector_blocks, tile.vector_block)
    row_outer, row_inner = blocked(names.outer(row), row_blocks, tile.row_block) if row else ([], [])
    around = [*row_outer, *vector_outer] if tile.rows_outer else [*vector_outer, *row_outer]
    parallel = [*batch, *around]
    reduce_outer: list[str] = []
    reduce_inner = list(reduce)
    if block and block < stage.extents[reduce[0]]:
        reduce_outer, first = blocked(reduce[0], stage.extents[reduce[0]], block)
        reduce_inner = [*first, *reduce[1:]]
    tail: list[str] = []
    bind: list[Bind] = []
    if row:
        tail.append(names.inner(row))
        bind.append(BindLoop(loop=names.inner(row), to="unroll"))
    inner_vector = names.inner(vector)
    if tile.vectors > 1:
        pieces = (names.piece(vector, "v"), names.piece(vector, "l"))
        splits.append(Split(axis=inner_vector, into=pieces, factors=(tile.vectors, tile.lanes)))
        bind.append(BindLoop(loop=pieces[0], to="unroll"))
        tail += pieces
    else:
        tail.append(inner_vector)
    if tile.lanes > 1:
        bind.append(BindLoop(loop=tail[-1], to="vectorize"))
    if tile.unroll_reduce and len(reduce_inner) > 1 and stage.extents[reduce_inner[-1]] <= 8:
        bind.append(BindLoop(loop=reduce_inner[-1], to="unroll"))
    inside = [*vector_inner, *row_inner]
    if not parallel:
        parallel, inside = inside[:1], inside[1:]
    order = [*parallel, *reduce_outer, *inside, *reduce_inner, *tail]
    attach = inside[-1] if inside and not reduce_outer else ""
    start = reduce_outer[0] if reduce_outer else reduce_inner[0]
    if len(parallel) > 1:
        bind.insert(0, BindFused(fuse=tuple(parallel), as_="par", to="parallel"))
    elif parallel:
        bind.insert(0, BindLoop(loop=parallel[0], to="parallel"))
    attach = attach or ("par" if len(parallel) > 1 else parallel[0] if parallel else "")
    nest = Nest(stage=accumulator, splits=tuple(splits), order=tuple(order), bind=tuple(bind), start=start)
    return nest, attach


def _tiled_partial(stage: Stage, layout: Layout, tile: Tile, threads: int) -> Tiled:
    """Dot products: vectors of partial sums along a reduce axis, a few rows at a time, then the sum of each vector."""
    names = _Names(stage)
    axis, width = layout.partial, tile.lanes * tile.vectors
    extent = stage.extents[axis]
    steps = -(-extent // width)
    outer, inner = names.outer(axis), names.inner(axis)
    part = f"{stage.name}.part"
    if steps == 1:
        width, steps = divisor_at_most(extent, extent // 2), 0
        steps = extent // width
    split = Split(
        axis=axis, into=(outer, inner), factors=(steps, width), tail="none" if steps * width == extent else "pad"
    )
    staging = Partial(stage=stage.name, as_=part, splits=(split,), keep=(inner,))
    spatial = [a.name for a in stage.axes]
    rest = [outer if a.name == axis else a.name for a in stage.reduce]
    splits: list[Split] = []
    bind: list[Bind] = []
    loops, tail = list(spatial), []
    if layout.rows:
        row = layout.rows[0]
        rows = divisor_at_most(stage.extents[row], tile.rows)
        if 1 < rows:
            pieces = (names.outer(row), names.inner(row))
            splits.append(Split(axis=row, into=pieces, factors=(stage.extents[row] // rows, rows)))
            loops[loops.index(row)] = pieces[0]
            tail.append(pieces[1])
            bind.append(BindLoop(loop=pieces[1], to="unroll"))
    if width > tile.lanes and width % tile.lanes == 0:
        pieces = (names.piece(axis, "v"), names.piece(axis, "l"))
        splits.append(Split(axis=inner, into=pieces, factors=(width // tile.lanes, tile.lanes)))
        bind.append(BindLoop(loop=pieces[0], to="unroll"))
        tail += pieces
    else:
        tail.append(inner)
    if width <= 64 or width % tile.lanes == 0:
        bind.append(BindLoop(loop=tail[-1], to="vectorize"))
    extents = {**stage.extents, **{s.into[0]: s.factors[0] for s in splits}}
    parallel = parallel_bind(loops, extents, threads)
    nests = (
        Nest(
            stage=part,
            splits=tuple(splits),
            order=(*loops, *rest, *tail),
            bind=tuple(b for b in (parallel, *bind) if b is not None),
            start=rest[0],
        ),
    )
    return Tiled(stagings=(staging,), nests=nests, accumulator=part, attach="")
