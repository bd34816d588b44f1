"""The knobs of a sketch: what may be chosen, and among which values, for each tiled reduction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..spec.dtypes import size_bytes
from .layouts import Layout, batch_axes, length_of
from .packing import divisor_at_most
from .registers import needed_registers
from .skipping import tap_axes
from .structure import reads_of

if TYPE_CHECKING:
    from ..spec.workload import Stage, Workload
    from .hardware import Hardware

KnobValue: TypeAlias = int | bool | tuple[int, ...]

MOST_BATCH: Final = 8
"""Steps of the axis beside rows and vectors that share a block at most."""
SMALL_POINTS: Final = 2**18
"""A reduction of no more points may be done by one thread before others have begun: some microseconds."""


@attrs.frozen(kw_only=True)
class Knob:
    """A named choice; values stand in their natural order, so that neighbours are alike."""

    name: str
    values: tuple[KnobValue, ...]


def tile_knobs(stage: Stage, layout: Layout, workload: Workload, hardware: Hardware) -> list[Knob]:
    """Every knob of a reduction in a layout: what may be chosen of its tile."""
    knobs = [Knob(name="tile", values=register_tiles(stage, layout, hardware))]
    if layout.partial:
        return knobs
    first = stage.extents[stage.reduce[0].name]
    knobs.append(Knob(name="vector_block", values=_powers(length_of(layout.vector, stage) // hardware.lanes(4), 32)))
    if layout.rows:
        knobs.append(Knob(name="row_block", values=_powers(length_of(layout.rows, stage) // 4, 64)))
        knobs.append(Knob(name="rows_outer", values=(False, True)))
    rest = math.prod(axis.extent for axis in stage.reduce[1:])
    blocks = (b for b in (8, 16, 32, 64, 128, 256, 512) if b < first and b * rest >= 32)
    knobs.append(Knob(name="reduce_block", values=(0, *blocks)))
    if len(stage.reduce) > 1:
        knobs.append(Knob(name="rotate", values=tuple(range(len(stage.reduce)))))
        knobs.append(Knob(name="unroll_reduce", values=(0, 4)))
    else:
        knobs.append(Knob(name="unroll_reduce", values=(0, 4, 8)))
    if layout.staged or layout.windows:
        knobs.append(Knob(name="inline_producers", values=(False, True)))
    batch = batch_axes(stage, layout)
    if batch and batch[-1].extent >= 2 * hardware.threads:
        knobs.append(Knob(name="batch_block", values=_powers(batch[-1].extent // hardware.threads, MOST_BATCH)))
    if hardware.threads > 1 and stage.points <= SMALL_POINTS:
        knobs.append(Knob(name="parallel", values=(True, False)))
    if tap_axes(stage, layout, workload, hardware.lanes(size_bytes(stage.outputs[0].dtype))):
        knobs.append(Knob(name="skip_padding", values=(False, True)))
    if layout.staged:
        knobs.append(Knob(name="pack_inside", values=(False, True)))
    return knobs


def _powers(limit: int, most: int) -> tuple[int, ...]:
    values = [1]
    while values[-1] * 2 <= min(limit, most):
        values.append(values[-1] * 2)
    return tuple(values)


def register_tiles(stage: Stage, layout: Layout, hardware: Hardware) -> tuple[tuple[int, ...], ...]:
    """(lanes, vectors, rows) whose accumulators, one vector row and a broadcast fit the registers.

    Padding may waste up to a fifth of the work, or as little as any tile does. A vector read in place cannot be padded:
    its width divides the axis.
    """
    lanes = hardware.lanes(size_bytes(stage.outputs[0].dtype))
    piece = max(1, hardware.pipe_bytes // size_bytes(stage.outputs[0].dtype))
    widths = _partial_widths(stage, layout, lanes) if layout.partial else _widths(stage, layout, lanes, piece)
    length = length_of(layout.rows, stage) if layout.rows else 1
    tiles: list[tuple[float, tuple[int, ...]]] = []
    for width_waste, width_lanes, vectors in widths:
        registers = vectors * -(-width_lanes // lanes)
        for rows in range(1, min(length, 30) + 1):
            if length % rows and not _may_pad_rows(stage, layout):
                continue
            if needed_registers(registers * rows, registers) > hardware.vector_registers:
                break
            waste = width_waste * (-(-length // rows) * rows / length)
            tiles.append((waste, (width_lanes, vectors, rows)))
    least = min(waste for waste, _ in tiles)
    kept = [tile for waste, tile in tiles if waste <= max(1.2, least * 1.05)]
    return tuple(sorted(kept))


def _widths(stage: Stage, layout: Layout, lanes: int, piece: int) -> list[tuple[float, int, int]]:
    """(waste, lanes, vectors) of the vector group; several vectors of `piece` lanes where whole ones waste more."""
    length = length_of(layout.vector, stage)
    in_place = any({*layout.vector} & read.axes and not layout.copies(read.buffer) for read in reads_of(stage))
    if not in_place:
        options = [(-(-length // (lanes * v)) * lanes * v / length, lanes, v) for v in (1, 2, 3, 4, 6)]
        if length < lanes:
            options.append((1.0, length, 1))
        if piece < lanes:
            least = min(waste for waste, _, vectors in options if vectors > 1)
            pieces = [(-(-length // (piece * v)) * piece * v / length, piece, v) for v in range(2, 7)]
            options += [option for option in pieces if option[0] < least]
        return options
    # Widths above one vector that are no multiple of it are not kept in registers by LLVM.
    found = [(1.0, lanes, v) for v in (1, 2, 3, 4, 6) if length % (lanes * v) == 0]
    half = lanes // 2
    found += [(1.05, half, v) for v in range(1, 9) if half > 1 and length % (half * v) == 0 and length % lanes]
    found += [(1.0 if lanes - width < 3 else 1.1, width, 1) for width in range(4, lanes) if length % width == 0]
    return found or [(1.0, divisor_at_most(length, lanes), 1)]


def _may_pad_rows(stage: Stage, layout: Layout) -> bool:
    """True where every read that moves with the rows is staged; in place, each row would need a clamped address."""
    return all(layout.copies(read.buffer) for read in reads_of(stage) if {*layout.rows} & read.axes)


def _partial_widths(stage: Stage, layout: Layout, lanes: int) -> list[tuple[float, int, int]]:
    extent = stage.extents[layout.partial]
    found = [(-(-extent // (lanes * v)) * lanes * v / extent, lanes, v) for v in (1, 2, 4) if 2 * lanes * v <= extent]
    return found or [(1.0, 1, 1)]
