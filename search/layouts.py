"""Which layouts a reduction is worth trying in: what lies along vectors, what gives rows, which reads are repacked.

Everything follows from how reads move with axes, never from an operator's name. A read that stays while another axis
moves is what a register tile reuses; a read that is not contiguous along the vector has to be staged first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.dtypes import size_bytes
from .structure import Read, axis_runs, reads_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..spec.workload import IterAxis, Stage
    from .hardware import Hardware


@attrs.frozen(kw_only=True)
class Layout:
    """Axes along vectors, axes of rows (empty: none), and the reads that are staged in the tile's order.

    `windows` are buffers that sliding windows read, staged whole (`windows.py`), each with the number of its phases.
    `partial` names a reduce axis whose sums are kept apart along the vector and added up at the end (rfactor); the
    vector group is empty then.
    """

    vector: tuple[str, ...]
    rows: tuple[str, ...]
    staged: tuple[str, ...] = ()
    windows: tuple[tuple[str, int], ...] = ()
    partial: str = ""

    @property
    def text(self) -> str:
        """A short description: ``vectors along h*w, rows k, X staged``."""
        along = f"partial sums along {self.partial}" if self.partial else f"vectors along {'*'.join(self.vector)}"
        rows = f", rows {'*'.join(self.rows)}" if self.rows else ""
        staged = f", {' and '.join(self.staged)} staged" if self.staged else ""
        windows = "".join(f", windows of {name}{f' in {n} phases' if n > 1 else ''}" for name, n in self.windows)
        return f"{along}{rows}{staged}{windows}"

    def copies(self, buffer: str) -> bool:
        """True where tiles read a copy of a buffer, which may go on past its end."""
        return buffer in self.staged or buffer in dict(self.windows)


def vector_layouts(stage: Stage, hardware: Hardware) -> tuple[Layout, ...]:
    """The layouts of a reduction with vectors along its axes, most ordinary first; empty where none gives vectors."""
    reads = reads_of(stage)
    groups = _groups(stage, reads)
    lanes = hardware.lanes(size_bytes(stage.outputs[0].dtype))
    longest = max((length_of(group, stage) for group in groups), default=1)
    found: list[Layout] = []
    by_windows: list[Layout] = []
    for vector in groups:
        if length_of(vector, stage) < min(lanes, longest):
            continue
        partners = [rows for rows in groups if not {*rows} & {*vector} and _worth_rows(rows, reads)]
        for rows in partners or [()]:
            found += [Layout(vector=vector, rows=rows, staged=staged) for staged in _stagings(vector, rows, reads)]
            if windows := _windows(vector, rows, stage, reads, lanes):
                others = [read for read in reads if read.buffer not in dict(windows)]
                ways = _stagings(vector, rows, others)
                by_windows += [Layout(vector=vector, rows=rows, staged=staged, windows=windows) for staged in ways]
    return tuple(dict.fromkeys(found + by_windows))


def partial_layouts(stage: Stage) -> tuple[Layout, ...]:
    """The layouts of a reduction with partial sums along a reduce axis; empty where its reads are not contiguous."""
    reads = reads_of(stage)
    return tuple(dict.fromkeys(_partial_sums(stage, _groups(stage, reads), reads)))


def most_promising(layouts: Sequence[Layout | None], stage: Stage) -> tuple[Layout | None, ...]:
    """The same layouts: first those whose vectors and rows lie along whole runs of axes, or along the last ones.

    Of a run of axes that are one in all but name, an axis in its middle gives shorter and scattered accesses, and no
    tile that the run does not give. Otherwise the order stays.
    """
    runs = [frozenset(run) for run in _groups(stage, reads_of(stage))]
    last = {axis.name for axis in stage.axes[-1:]}

    def is_part(group: tuple[str, ...]) -> bool:
        return last.isdisjoint(group) and any({*group} < run for run in runs)

    def parts(layout: Layout | None) -> int:
        return 0 if layout is None else is_part(layout.vector) + is_part(layout.rows)

    return tuple(sorted(layouts, key=parts))


def _groups(stage: Stage, reads: Sequence[Read]) -> list[tuple[str, ...]]:
    """Axes, and runs of them that are one in all but name, which may lie along vectors or give rows."""
    groups = [(axis.name,) for axis in stage.axes if axis.extent > 1] + list(axis_runs(stage))
    return [group for group in groups if _moves_together(group, reads)]


def length_of(group: Sequence[str], stage: Stage) -> int:
    """Number of points of a group of axes."""
    return math.prod(stage.extents[name] for name in group)


def batch_axes(stage: Stage, layout: Layout) -> list[IterAxis]:
    """The axes of a stage beside those along vectors and rows, in order."""
    return [axis for axis in stage.axes if axis.name not in (*layout.vector, *layout.rows)]


def _moves_together(group: Sequence[str], reads: Sequence[Read]) -> bool:
    """True where each read moves with every axis of the group or with none: one axis in all but name."""
    return all(len({*group} & read.axes) in (0, len(group)) for read in reads)


def _worth_rows(rows: Sequence[str], reads: Sequence[Read]) -> bool:
    """True where some read stays along the rows, so that the rows of a tile share it."""
    return any(not {*rows} & read.axes for read in reads)


def _stagings(vector: Sequence[str], rows: Sequence[str], reads: Sequence[Read]) -> Iterator[tuple[str, ...]]:
    """Sets of reads to stage. Reads along the vector must be contiguous or staged; the others may be."""
    must: list[str] = []
    may: list[str] = []
    for read in reads:
        contiguous = len(vector) == 1 and vector[0] in read.contiguous
        if {*vector} & read.axes and not contiguous:
            if read.several:
                return
            must.append(read.buffer)
        elif not read.several and not read.windowed and ({*vector} | {*rows}) & read.axes:
            may.append(read.buffer)
    yield tuple(must)
    for extra in may:
        yield (*must, extra)
    if len(may) > 1:
        yield (*must, *may)


MOST_ROWS: Final = 12
FILLED: Final = 0.75
"""Of the vectors, or of that many rows, a tile that divides its axis should fill so much."""
MOST_PHASES: Final = 4
"""Reads further apart than that have too little to do with one another."""


def _windows(
    vector: Sequence[str], rows: Sequence[str], stage: Stage, reads: Sequence[Read], lanes: int
) -> tuple[tuple[str, int], ...]:
    """The reads by windows that are worth staging whole, with their phases; empty where none is.

    They go by a few elements along the vector, or by one along an axis whose length no tile fits.
    """
    found = {}
    for read in reads:
        if not read.windowed:
            continue
        phases = read.strides.get(vector[0], 1) if len(vector) == 1 else MOST_PHASES + 1
        uneven = (_is_uneven(vector, stage, lanes), _is_uneven(rows, stage, MOST_ROWS))
        moving = ({*vector} & read.axes, {*rows} & read.axes)
        if moving[0] and phases > 1:
            if phases <= MOST_PHASES:
                found[read.buffer] = phases
        elif any(way and odd for way, odd in zip(moving, uneven, strict=True)):
            found[read.buffer] = 1
    return tuple(found.items())


def _is_uneven(axes: Sequence[str], stage: Stage, most: int) -> bool:
    """True for an axis that is longer than a tile, and that tiles read in place, which have to divide it, fit badly."""
    if len(axes) != 1:
        return False
    length = stage.extents[axes[0]]
    return length > most and max(d for d in range(1, most + 1) if length % d == 0) < FILLED * most


def _partial_sums(stage: Stage, groups: Sequence[tuple[str, ...]], reads: Sequence[Read]) -> list[Layout]:
    """Vectors along a reduce axis where every read that moves with it is contiguous in it: dot products."""
    if stage.reducer is None or stage.reducer.op == "custom":
        return []
    found = []
    for axis in stage.reduce:
        moving = [read for read in reads if axis.name in read.axes]
        if axis.extent >= 8 and moving and all(axis.name in read.contiguous and not read.several for read in moving):
            rows: list[tuple[str, ...]] = [group for group in groups if len(group) == 1] or [()]
            found += [Layout(vector=(), rows=group, partial=axis.name) for group in rows[-2:]]
    return found
