"""What a register tile costs beside its arithmetic: registers that are too many, and sums that wait for one another.

Which tiles spill was read off the machine code that LLVM makes of all shapes for AVX2 and AVX-512; what that costs was
timed with AVX2, and for what taps share with AVX-512 too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..spec.footprint import register_tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ..spec.footprint import Access
    from ..spec.nest import BoundLoop, StageNest
    from .hardware import Hardware

SPILL: Final = 0.45
"""Part of its time that a register tile takes longer for each register that is too many."""
HELD_TOO: Final = 0.2
"""Times the root of how many registers are lacking for what taps share: its part of the time. One more of what goes to
memory and back costs the less, the more does so already."""
SWAPPED_ROWS: Final = 8
SWAPPED: Final = 2.0
"""A tile of one vector and so many rows takes so many times as long where a broadcast takes a register: LLVM adds the
accumulator to the product there, in the broadcast's register, and sends accumulators through memory to keep up."""
SPARE: Final = 1.5
"""So many times the sums that just hide the latency of a multiply-add leave none of it to chance."""
UNROLLED: Final = 9
"""Steps of the innermost reduce loops that LLVM writes out."""


def innermost_serial(nest: StageNest) -> BoundLoop | None:
    """The innermost loop of more than one step outside the register tile; None where there is none."""
    serial = (loop for loop in reversed(nest.outside) if loop.to not in ("vectorize", "unroll") and loop.extent > 1)
    return next(serial, None)


def accumulates_in_registers(nest: StageNest) -> bool:
    """True where the innermost serial loop is a reduction, so that sums stay in registers across it."""
    innermost = innermost_serial(nest)
    return nest.stage.reducer is not None and (innermost is None or innermost.reduce)


def with_registers(
    cycles: float,
    nest: StageNest,
    accesses: Sequence[Access],
    vector: tuple[int, float],
    hardware: Hardware,
) -> float:
    """Cycles with what spilled accumulators and a short chain of them cost.

    `vector`: the registers that the vector loop takes, and its time in operations on full ones.
    """
    instructions, whole = vector
    tile = register_tile(nest)
    along = (nest.tensorized or nest.loops[-1:])[0].axis
    vectors, rows = float(instructions), 1.0
    for loop in nest.loops:
        if loop.name in tile and loop.axis == along:
            vectors *= loop.extent
        elif loop.name in tile and not loop.reduce:
            rows *= loop.extent
    held = vectors * rows
    if not accumulates_in_registers(nest):
        return cycles + 2 * held
    needed, shared = needed_registers(held, vectors), _shared_by_taps(accesses[:-1], nest, tile, instructions)
    over = max(0.0, needed - hardware.tile_registers)
    over_with_taps = max(0.0, needed + shared - hardware.tile_registers)
    cycles *= 1 + SPILL * over + HELD_TOO * math.sqrt(over_with_taps - over)
    if not shared and _is_swapped(vectors, rows, hardware):
        cycles *= SWAPPED
    chain = hardware.fma_latency * hardware.fma_per_cycle * instructions / whole
    return cycles * max(1.0, chain / held)


def promise_of(
    lanes: int, vectors: int, rows: int, hardware: Hardware, *, shares: bool = False
) -> tuple[bool, float, float]:
    """What orders register tiles, the greater the better, while nothing else is known of the loops around them.

    They fit the registers, with what the taps of a window share if it `shares`, hold sums enough to hide the latency of
    a multiply-add with some to spare, and share most.
    """
    held = vectors * rows
    fits = needed_registers(held, vectors) + (rows - 1 if shares else 0) <= hardware.tile_registers
    enough = SPARE * hardware.fma_latency * hardware.fma_per_cycle
    return (
        fits and (shares or not _is_swapped(vectors, rows, hardware)),
        lanes * min(held, enough),
        lanes * held / (vectors + rows),
    )


def needed_registers(held: float, vectors: float) -> float:
    """Registers of a tile: its sums, a vector of each column, and a broadcast."""
    return held + vectors + 1


def _is_swapped(vectors: float, rows: float, hardware: Hardware) -> bool:
    return vectors == 1 and rows >= SWAPPED_ROWS and not hardware.broadcasts_in_place


def _shared_by_taps(reads: Sequence[Access], nest: StageNest, tile: Mapping[str, int], instructions: int) -> int:
    """Registers of what one step of an unrolled reduction reads and another one needs again, for another row.

    LLVM loads it once and holds it from one to the other: with rows one tap apart, all but one of a tap's elements.
    Where rows are several taps apart, so are those that share, and as many taps' elements are held at a time. Of
    several reads the one that shares most counts.
    """
    rows = {loop.name for loop in nest.loops if loop.name in tile and not loop.reduce}
    taps = _unrolled_reduction(nest)
    most = 0
    for access in reads:
        along_vector = nest.vector is not None and access.moves_with(nest.vector.parts[-1].name)
        moving = [name for name in rows if access.moves_with(name)]
        for row, elements in _rows_that_meet(access, rows, taps):
            beside = math.prod(tile[name] for name in moving if name != row)
            most = max(most, (tile[row] - 1) * elements * beside * (instructions if along_vector else 1))
    return most


def _rows_that_meet(access: Access, rows: AbstractSet[str], taps: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Loops over rows whose steps read what taps read for other rows, each with how many taps' elements are held."""
    for steps in access.steps:
        for row in rows & steps.keys():
            # A fused loop moves several dimensions: unless its piece is made of whole rows, or of whole parts of one,
            # LLVM does not see that its elements meet again.
            if access.dimensions_moved_by(row) > 1 and steps.keys() - taps.keys() != {row}:
                continue
            for tap in taps.keys() & steps.keys():
                ratio, rest = divmod(abs(steps[row]), abs(steps[tap])) if steps[tap] else (0, 1)
                if not rest and 0 < ratio < taps[tap]:
                    yield row, min(ratio, taps[tap] - ratio)


def _unrolled_reduction(nest: StageNest) -> Mapping[str, int]:
    """The innermost reduce loops, as many as are unrolled: by the schedule, or by LLVM, which does so to short ones."""
    found: dict[str, int] = {}
    copies = 1
    for loop in reversed(nest.loops):
        if not loop.reduce:
            if copies > 1:
                break
            continue
        copies *= loop.extent
        if copies > UNROLLED:
            break
        if loop.extent > 1:
            found[loop.name] = loop.extent
    return found
