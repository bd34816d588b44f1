"""The point by which a sketch is known at first: what its numbers should be, reckoned from registers and caches.

As in BLIS: the tile fits the registers; what it reads along the vector over a block of the reduction stays in the first
cache while the tiles of the block go by; the accumulators of a block stay in the second; blocks are as large as that
and the number of threads allow. The analytic model says how good it is, and steps from it find what it misses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ..spec.dtypes import size_bytes
from .layouts import batch_axes, length_of
from .packing import divisor_at_most
from .registers import promise_of
from .structure import reads_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.workload import Stage
    from .hardware import Hardware
    from .knobs import Knob
    from .layouts import Layout

SHARE: Final = 0.5
"""Part of a cache for what is to stay there: the rest is for what goes by."""
TASKS: Final = 4
"""Parallel steps for each thread, at least, so that none waits for long."""
_SHRUNK: Final = ("vector_block", "row_block", "batch_block")
"""Blocks, in the order in which they are made smaller where threads would have too little to share."""


def standard_indices(stage: Stage, layout: Layout | None, knobs: Sequence[Knob], hardware: Hardware) -> tuple[int, ...]:
    """The index of the value of each of a reduction's knobs; the first of knobs that others than our rules brought."""
    values: dict[str, tuple[Any, ...]] = {knob.name: knob.values for knob in knobs}
    chosen = dict.fromkeys(values, 0)
    if layout is not None and "tile" in values:
        chosen["tile"] = _tile(stage, layout, values["tile"], hardware)
        if not layout.partial:
            tile = values["tile"][chosen["tile"]]
            chosen |= _blocks(stage, layout, tile, values, hardware)
    return tuple(chosen[knob.name] for knob in knobs)


def _tile(stage: Stage, layout: Layout, tiles: Sequence[tuple[int, int, int]], hardware: Hardware) -> int:
    """The most promising of tiles; elements that taps of a window share take registers."""
    shared = any(
        read.windowed and len(layout.rows) == 1 and {*layout.rows} & read.axes and not {*layout.vector} & read.axes
        for read in reads_of(stage)
    )
    return max(range(len(tiles)), key=lambda number: promise_of(*tiles[number], hardware, shares=shared))


def _blocks(
    stage: Stage,
    layout: Layout,
    tile: tuple[int, int, int],
    values: Mapping[str, Sequence[Any]],
    hardware: Hardware,
) -> dict[str, int]:
    lanes, vectors, rows = tile
    width, size = lanes * vectors, size_bytes(stage.outputs[0].dtype)
    batch = [axis.extent for axis in batch_axes(stage, layout)] or [1]
    counts = {
        "vector_block": -(-length_of(layout.vector, stage) // width),
        "row_block": -(-length_of(layout.rows, stage) // rows),
        "batch_block": batch[-1],
    }
    sizes = {name: values.get(name, (1,)) for name in counts}
    chosen = {name: len(found) - 1 for name, found in sizes.items()}

    def inner(name: str) -> int:
        return divisor_at_most(counts[name], sizes[name][chosen[name]])

    def held_bytes() -> int:
        return math.prod(map(inner, counts)) * width * rows * size

    def tasks() -> int:
        return math.prod(batch[:-1]) * math.prod(counts[name] // inner(name) for name in counts)

    least = min(TASKS * hardware.threads, math.prod(batch[:-1]) * math.prod(counts.values()))
    while held_bytes() > SHARE * hardware.l2_bytes or tasks() < least:
        name = next((name for name in _SHRUNK if chosen[name] > 0), None)
        if name is None:
            break
        chosen[name] -= 1
    found = {name: index for name, index in chosen.items() if name in values}
    if "reduce_block" in values:
        found["reduce_block"] = _reduce_block(stage, width * size, values["reduce_block"], hardware)
    if "unroll_reduce" in values:
        found["unroll_reduce"] = 1
    if "pack_inside" in values:
        apart = {name: counts[name] // inner(name) for name in counts}
        found["pack_inside"] = int(_comes_once(stage, layout, apart))
    if "skip_padding" in values:
        found["skip_padding"] = len(values["skip_padding"]) - 1
    return found


def _comes_once(stage: Stage, layout: Layout, apart: Mapping[str, int]) -> bool:
    """True where none of the parallel steps, so many along each group of axes, needs a piece of a staged read again."""
    batch = batch_axes(stage, layout)
    groups = {"vector_block": layout.vector, "row_block": layout.rows, "batch_block": tuple(a.name for a in batch[-1:])}
    staged = [read for read in reads_of(stage) if read.buffer in layout.staged]
    return all(apart[name] == 1 or {*axes} & read.axes for read in staged for name, axes in groups.items())


def _reduce_block(stage: Stage, step_bytes: int, values: Sequence[int], hardware: Hardware) -> int:
    """The largest block of the reduction whose vectors fit in the first cache; the value 0 is the whole of it."""
    first, *others = [axis.extent for axis in stage.reduce]
    steps = [value or first for value in values]
    room = SHARE * hardware.l1_bytes / (step_bytes * math.prod(others))
    fitting = [number for number, count in enumerate(steps) if count <= room]
    return max(fitting, key=lambda number: steps[number]) if fitting else steps.index(min(steps))
