"""From a layout and numbers to stagings and nests: a register tile, blocked for the caches, with its reads repacked.

The loop order is BLIS': blocks of rows and vectors in parallel, a block of the reduction, register tiles inside, the
reduction innermost, rows and vectors unrolled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.expr import axes_in, loads
from ..spec.schedule import Accumulate, At, Bind, BindFused, BindLoop, Fuse, Nest, Partial, Reindex, Split, Staging
from .free_names import FreeNames
from .layouts import Layout, batch_axes, length_of
from .packing import copy_nest, divisor_at_most, parallel_bind
from .skipping import tap_axes
from .source_walk import source_walk

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..spec.workload import Stage, Workload
    from .hardware import Hardware

SHORT: Final = 8
"""A reduce loop of so few steps is written out whole, if at all."""


@attrs.frozen(kw_only=True)
class Tile:
    """The numbers of a tiling.

    `lanes` elements of a vector times `vectors`, by `rows`, stay in registers; blocks hold that many register tiles;
    `reduce_block` steps of the outermost reduce axis run before the next tile (0: all); `rotate` of the reduce axes go
    from the front to the end of the reduce order; `rows_outer` puts row blocks outside vector blocks;
    `batch_block` steps of the last axis beside both share what a block reads. `unroll_reduce` steps of the innermost
    reduce loop are written out (0: none), or all of a short one. Without `parallel`, one thread does it all.
    With `skip_padding`, taps over padding stand before the other reduce axes, and are left out there.
    With `pack_inside`, reads are staged by the piece that the next tiles need, before those, and not as a whole.
    """

    lanes: int
    vectors: int
    rows: int
    vector_block: int = 1
    row_block: int = 1
    reduce_block: int = 0
    rotate: int = 0
    rows_outer: bool = False
    unroll_reduce: int = 0
    parallel: bool = True
    batch_block: int = 1
    skip_padding: bool = False
    pack_inside: bool = False


@attrs.frozen(kw_only=True)
class Tiled:
    """A tiled stage: its stagings in order, the nests of the stages they create, and where its result is taken up.

    `accumulator` is the new stage with the tile; `attach` its innermost loop outside the reduction, empty where the
    copy out needs a nest of its own.
    """

    stagings: tuple[Staging, ...]
    nests: tuple[Nest, ...]
    accumulator: str
    attach: str


def tiled_reduction(workload: Workload, stage: Stage, layout: Layout, tile: Tile, hardware: Hardware) -> Tiled:
    """Stagings and nests for one reduction."""
    if layout.partial:
        return _partial_sums(stage, layout, tile, hardware.threads)
    return _Tiling(workload, stage, layout, tile, hardware).made()


def reach_of(stage: Stage, layout: Layout, tile: Tile) -> dict[str, int]:
    """How far a tile runs along the axes that it does not fill, of groups of one axis."""
    groups = ((layout.vector, tile.lanes * tile.vectors), (layout.rows, tile.rows))
    return {axes[0]: -(-length_of(axes, stage) // size) * size for axes, size in groups if len(axes) == 1}


class _Tiling:
    """One reduction being tiled: the names and numbers that its stagings and nests share."""

    def __init__(self, workload: Workload, stage: Stage, layout: Layout, tile: Tile, hardware: Hardware) -> None:
        self.workload, self.stage, self.layout, self.tile, self.hardware = workload, stage, layout, tile, hardware
        self.name = FreeNames(tuple(stage.extents))
        self.width = tile.lanes * tile.vectors
        self.vector = self._group(layout.vector)
        self.row = self._group(layout.rows)
        self.vector_blocks = -(-length_of(layout.vector, stage) // self.width)
        self.row_blocks = -(-length_of(layout.rows, stage) // tile.rows)
        self.batch = [axis.name for axis in batch_axes(stage, layout)]
        reduce = [axis.name for axis in stage.reduce]
        self.reduce = reduce[tile.rotate :] + reduce[: tile.rotate]
        self.accumulator = f"{stage.name}.acc"
        self.splits: list[Split] = []
        self._cut_reduce: dict[str, int] = {}
        self.outside: list[tuple[str, frozenset[str]]] = []
        """The loops between the parallel one and the reduction, with the axes that they move."""

    def made(self) -> Tiled:
        """The whole of it."""
        stagings: list[Staging] = [self._accumulate()]
        nests: list[Nest] = []
        nest, attach = self._accumulator_nest()
        for buffer in self.layout.staged:
            staging, copy = self._staged_read(buffer)
            stagings.append(staging)
            nests.append(copy)
        whole = len(self.layout.vector) == 1 and len(self.layout.rows) <= 1
        return Tiled(
            stagings=tuple(stagings),
            nests=(*nests, nest),
            accumulator=self.accumulator,
            attach=attach if whole else "",
        )

    def _group(self, axes: Sequence[str]) -> str:
        """The one name of a group: its axis, or that of the fused run."""
        return "" if not axes else axes[0] if len(axes) == 1 else self.name("".join(axes))

    def _pieces(self, axis: str) -> tuple[str, str]:
        return self.name(f"{axis}o"), self.name(f"{axis}i")

    def _accumulate(self) -> Accumulate:
        groups = [(self.layout.vector, self.vector, self.vector_blocks, self.width)]
        if self.row:
            groups.append((self.layout.rows, self.row, self.row_blocks, self.tile.rows))
        fuses = tuple(Fuse(fuse=axes, as_=name) for axes, name, _, _ in groups if len(axes) > 1)
        splits = []
        for axes, name, blocks, size in groups:
            tail = "none" if blocks * size == length_of(axes, self.stage) else "pad"
            splits.append(Split(axis=name, into=self._pieces(name), factors=(blocks, size), tail=tail))
        outer, inner = self._pieces(self.vector)
        rows = self._pieces(self.row) if self.row else ()
        order = (*self.batch, outer, *rows, inner)
        return Accumulate(stage=self.stage.name, as_=self.accumulator, fuses=fuses, splits=tuple(splits), order=order)

    def _staged_read(self, buffer: str) -> tuple[Reindex, Nest]:
        """A read laid out as the tile walks it: outer tiles, the reduction, the tile's own rows and lanes innermost."""
        load = next(load for body in self.stage.body for load in loads(body) if load.buffer == buffer)
        axes = axes_in(load)
        loops = [(name, self.stage.extents[name]) for name in self.batch if name in axes]
        ends: list[tuple[str, int]] = []
        if {*self.layout.rows} & axes:
            outer, inner = self._pieces(self.row)
            loops.append((outer, self.row_blocks))
            ends.append((inner, self.tile.rows))
        if {*self.layout.vector} & axes:
            outer, inner = self._pieces(self.vector)
            loops.append((outer, self.vector_blocks))
            ends.append((inner, self.width))
        loops += [(name, self.stage.extents[name]) for name in self.reduce if name in axes]
        name = f"{buffer}.pack"
        if name in self.workload.buffers:  # another reduction has a copy of its own
            name = f"{self.stage.name}.{name}"
        staging = Reindex(
            stage=self.accumulator, reads=buffer, as_=name, order=tuple(loop for loop, _ in (*loops, *ends))
        )
        groups = {self.layout.vector: self._pieces(self.vector)}
        if self.row:
            groups[self.layout.rows] = self._pieces(self.row)
        place = self._place(axes) if self.tile.pack_inside else None
        if place is not None:
            kept = dict(ends) | {axis.name: axis.extent for axis in self.stage.reduce} | self._cut_reduce
            loops = [(loop, kept.get(loop, 1)) for loop, _ in loops]
        nest = copy_nest(
            name,
            [*loops, *ends],
            len(ends),
            source_walk(load, self.workload.buffers[buffer].shape, self.stage, groups, self.reduce),
            threads=self.hardware.threads if place is None else 1,
            block=self._block(ends),
            gathers=self.hardware.gathers,
        )
        return staging, nest if place is None else attrs.evolve(nest, at=At(stage=self.accumulator, loop=place))

    def _place(self, axes: Collection[str]) -> str | None:
        """The loop at which a read that moves with `axes` is staged by the piece; None where pieces come again."""
        moves = [bool(moved & {*axes}) for _, moved in self.outside]
        last = max((number for number, does in enumerate(moves) if does), default=0)
        return self.outside[last][0] if all(moves[1 : last + 1]) else None

    def _block(self, ends: Sequence[tuple[str, int]]) -> int:
        """Elements of a copy's innermost loop that stay together where the tile goes past the end of its axis."""
        if not ends:
            return 1
        name, size = ends[-1]
        axes = self.layout.vector if name == self._pieces(self.vector)[1] else self.layout.rows
        return math.gcd(size, length_of(axes, self.stage))

    def _blocked(self, axis: str, extent: int, limit: int) -> tuple[list[str], list[str]]:
        """An axis cut into blocks of at most `limit`: its loops outside and inside a block."""
        inner = divisor_at_most(extent, limit)
        if inner == 1:
            return [axis], []
        if inner == extent:
            return [], [axis]
        pieces = (self.name(f"{axis}b"), self.name(f"{axis}t"))
        self.splits.append(Split(axis=axis, into=pieces, factors=(extent // inner, inner)))
        return [pieces[0]], [pieces[1]]

    def _accumulator_nest(self) -> tuple[Nest, str]:
        """The nest of the register tile, and its innermost loop outside the reduction."""
        tile = self.tile
        vector_outer, vector_inner = self._blocked(self._pieces(self.vector)[0], self.vector_blocks, tile.vector_block)
        row_outer: list[str] = []
        row_inner: list[str] = []
        if self.row:
            row_outer, row_inner = self._blocked(self._pieces(self.row)[0], self.row_blocks, tile.row_block)
        batch_outer: list[str] = self.batch
        batch_inner: list[str] = []
        if self.batch:
            last = self.batch[-1]
            cut, batch_inner = self._blocked(last, self.stage.extents[last], tile.batch_block)
            batch_outer = [*self.batch[:-1], *cut]
        around = [*row_outer, *vector_outer] if tile.rows_outer else [*vector_outer, *row_outer]
        parallel, inside = [*batch_outer, *around], [*vector_inner, *batch_inner, *row_inner]
        if not parallel:
            parallel, inside = inside[:1], inside[1:]
        reduce_outer: list[str] = []
        reduce_inner = list(self.reduce)
        first = self.stage.extents[self.reduce[0]]
        if 0 < tile.reduce_block < first:
            reduce_outer, kept = self._blocked(self.reduce[0], first, tile.reduce_block)
            self._cut_reduce = {self.reduce[0]: divisor_at_most(first, tile.reduce_block)}
            reduce_inner = [*kept, *self.reduce[1:]]
        taps = self._taps(reduce_inner)
        reduce_inner = [*taps, *(loop for loop in reduce_inner if loop not in taps)]
        reduce_inner, written_out = self._written_out(reduce_inner, taps)
        tail, binds = self._register_tile(written_out)
        head: tuple[Bind, ...] = ()
        place = parallel[-1]
        if tile.parallel and self.hardware.threads > 1:
            head = (BindLoop(loop=place, to="parallel"),)
            if len(parallel) > 1:
                place = self.name("par")
                head = (BindFused(fuse=tuple(parallel), as_=place, to="parallel"),)
        of_rows, of_vector = frozenset(self.layout.rows), frozenset(self.layout.vector)
        self.outside = [
            (place, frozenset(self.stage.extents)),
            *((loop, frozenset(self.reduce[:1])) for loop in reduce_outer),
            *((loop, of_vector) for loop in inside if loop in vector_inner),
            *((loop, frozenset(self.batch[-1:])) for loop in inside if loop in batch_inner),
            *((loop, of_rows) for loop in inside if loop in row_inner),
        ]
        nest = Nest(
            stage=self.accumulator,
            splits=tuple(self.splits),
            order=(*parallel, *reduce_outer, *inside, *reduce_inner, *tail),
            bind=(*head, *binds),
            start=(reduce_outer or reduce_inner)[0],
            skip=taps[-1] if taps else None,
        )
        return nest, inside[-1] if inside and not reduce_outer else place

    def _taps(self, reduce_inner: Sequence[str]) -> list[str]:
        """Of the loops of the reduction those whose steps over padding are left out, blocks of such an axis too."""
        if not self.tile.skip_padding:
            return []
        taps = tap_axes(self.stage, self.layout, self.workload, self.tile.lanes)
        pieces = {piece for split in self.splits if split.axis in taps for piece in split.into}
        return [loop for loop in reduce_inner if loop in taps or loop in pieces]

    def _written_out(self, reduce_inner: list[str], taps: Sequence[str]) -> tuple[list[str], list[str]]:
        """The loops of the reduction, the innermost one cut where it is long, and which of them are written out."""
        cuts = {split.into[-1]: split for split in self.splits}
        steps = {loop: cuts[loop].factors[-1] if loop in cuts else self.stage.extents[loop] for loop in reduce_inner}
        last = next((loop for loop in reversed(reduce_inner) if steps[loop] > 1), None)
        if not self.tile.unroll_reduce or last is None:
            return reduce_inner, []
        if steps[last] <= SHORT:
            return reduce_inner, [last] if len(reduce_inner) > 1 else []
        piece = divisor_at_most(steps[last], self.tile.unroll_reduce)
        if piece == 1 or last in taps:
            return reduce_inner, []
        if cut := cuts.get(last):
            self.splits.remove(cut)
            axis, into, factors = cut.axis, cut.into, cut.factors[:-1]
        else:
            axis, into, factors = last, (self.name(f"{last}t"),), ()
        inner = self.name(f"{axis}u")
        longer = Split(axis=axis, into=(*into, inner), factors=(*factors, steps[last] // piece, piece))
        self.splits.append(longer)
        return [*(into[-1] if loop == last else loop for loop in reduce_inner), inner], [inner]

    def _register_tile(self, written_out: Sequence[str]) -> tuple[list[str], list[Bind]]:
        """The loops inside the reduction, and what they and the loops that are written out become."""
        tail: list[str] = []
        binds: list[Bind] = []
        if self.row:
            tail.append(self._pieces(self.row)[1])
            binds.append(BindLoop(loop=tail[0], to="unroll"))
        inner = self._pieces(self.vector)[1]
        if self.tile.vectors > 1:
            pieces = (self.name(f"{self.vector}v"), self.name(f"{self.vector}l"))
            self.splits.append(Split(axis=inner, into=pieces, factors=(self.tile.vectors, self.tile.lanes)))
            binds.append(BindLoop(loop=pieces[0], to="unroll"))
            tail += pieces
        else:
            tail.append(inner)
        if self.tile.lanes > 1:
            binds.append(BindLoop(loop=tail[-1], to="vectorize"))
        binds += [BindLoop(loop=loop, to="unroll") for loop in written_out]
        return tail, binds


def _partial_sums(stage: Stage, layout: Layout, tile: Tile, threads: int) -> Tiled:
    """Dot products: vectors of partial sums along a reduce axis, a few rows at a time, then the sum of each vector."""
    name = FreeNames(tuple(stage.extents))
    axis, extent = layout.partial, stage.extents[layout.partial]
    width = tile.lanes * tile.vectors
    if width >= extent:
        width = divisor_at_most(extent, extent // 2)
    steps = -(-extent // width)
    outer, inner = name(f"{axis}o"), name(f"{axis}i")
    tail = "none" if steps * width == extent else "pad"
    part = f"{stage.name}.part"
    staging = Partial(
        stage=stage.name,
        as_=part,
        splits=(Split(axis=axis, into=(outer, inner), factors=(steps, width), tail=tail),),
        keep=(inner,),
    )
    splits: list[Split] = []
    binds: list[Bind] = []
    loops = [a.name for a in stage.axes]
    extents = dict(stage.extents)
    ends: list[str] = []
    if layout.rows:
        row = layout.rows[0]
        rows = divisor_at_most(stage.extents[row], tile.rows)
        pieces = (name(f"{row}o"), name(f"{row}i"))
        splits.append(Split(axis=row, into=pieces, factors=(stage.extents[row] // rows, rows)))
        extents[pieces[0]] = stage.extents[row] // rows
        loops[loops.index(row)] = pieces[0]
        ends.append(pieces[1])
        binds.append(BindLoop(loop=pieces[1], to="unroll"))
    if tile.vectors > 1 and width == tile.lanes * tile.vectors:
        pieces = (name(f"{axis}v"), name(f"{axis}l"))
        splits.append(Split(axis=inner, into=pieces, factors=(tile.vectors, tile.lanes)))
        binds.append(BindLoop(loop=pieces[0], to="unroll"))
        ends += pieces
    else:
        ends.append(inner)
    if 1 < width // (tile.vectors if len(ends) > 1 and ends[-1] != inner else 1) <= 64:
        binds.append(BindLoop(loop=ends[-1], to="vectorize"))
    head = parallel_bind(loops, extents, threads, stage.points)
    rest = [outer if a.name == axis else a.name for a in stage.reduce]
    nest = Nest(
        stage=part,
        splits=tuple(splits),
        order=(*loops, *rest, *ends),
        bind=(head, *binds) if head else tuple(binds),
        start=rest[0],
    )
    return Tiled(stagings=(staging,), nests=(nest,), accumulator=part, attach="")
