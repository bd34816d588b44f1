"""What a register tile costs beside its arithmetic: registers that are too many, and sums that wait for one another.

Which tiles spill was read off the machine code that LLVM makes of all shapes for AVX2 and AVX-512; what that costs was
timed with AVX2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..spec.footprint import register_tile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.footprint import Access
    from ..spec.nest import BoundLoop, StageNest
    from .hardware import Hardware

SPILL: Final = 0.45
"""Part of its time that a register tile takes longer for each register that is too many."""
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
    needed = needed_registers(held, vectors) + any(_overlaps(access, nest, tile) for access in accesses[:-1])
    cycles *= 1 + SPILL * max(0.0, needed - hardware.tile_registers)
    if _is_swapped(vectors, rows, hardware):
        cycles *= SWAPPED
    chain = hardware.fma_latency * hardware.fma_per_cycle * instructions / whole
    return cycles * max(1.0, chain / held)


def promise_of(lanes: int, vectors: int, rows: int, hardware: Hardware, *, more: int = 0) -> tuple[bool, float, float]:
    """What orders register tiles, the greater the better, while nothing else is known of the loops around them.

    They fit the registers, of which `more` are taken, hold sums enough to hide the latency of a multiply-add with some
    to spare, and share most.
    """
    held = vectors * rows
    fits = needed_registers(held, vectors) + more <= hardware.tile_registers
    enough = SPARE * hardware.fma_latency * hardware.fma_per_cycle
    return fits and not _is_swapped(vectors, rows, hardware), lanes * min(held, enough), lanes * held / (vectors + rows)


def needed_registers(held: float, vectors: float) -> float:
    """Registers of a tile: its sums, a vector of each column, and a broadcast."""
    return held + vectors + 1


def _is_swapped(vectors: float, rows: float, hardware: Hardware) -> bool:
    return vectors == 1 and rows >= SWAPPED_ROWS and not hardware.broadcasts_in_place


def _overlaps(access: Access, nest: StageNest, tile: Mapping[str, int]) -> bool:
    """True of what a row broadcasts where another step of an unrolled reduction needs the same element again.

    LLVM loads it once and holds it from one to the other.
    """
    if nest.vector is not None and access.moves_with(nest.vector.parts[-1].name):
        return False
    # A fused loop moves several dimensions; LLVM does not see that its elements meet again.
    rows = {loop.name for loop in nest.loops if loop.name in tile and not loop.reduce}
    rows = {name for name in rows if access.dimensions_moved_by(name) == 1}
    taps = _unrolled_reduction(nest)
    return any(
        steps[row] and steps[tap] % steps[row] == 0
        for steps in access.steps
        for row in rows & steps.keys()
        for tap in taps & steps.keys()
    )


def _unrolled_reduction(nest: StageNest) -> frozenset[str]:
    """The innermost reduce loops, as many as are unrolled: by the schedule, or by LLVM, which does so to short ones."""
    found: set[str] = set()
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
            found.add(loop.name)
    return frozenset(found)
