"""The analytic model: predicts a schedule's time from its loop nests and the hardware, nothing measured.

For each stage the greatest of four bounds counts: arithmetic (with register pressure and latency), load ports, and the
traffic from L2, L3 and memory that the loop order causes; then parallel balance. After the roofline and cache-footprint
models of Ansor and of BLIS ("Analytical Modeling Is Enough for High-Performance BLIS", TOMS 2016).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.dtypes import size_bytes
from ..spec.expr import Axis, Binary, Call, Load, children
from ..spec.footprint import LINE_BYTES, Access, accesses_of, outer_loops, register_tile
from ..spec.guards import cut_loops, is_guarded
from ..spec.nest import NESTS_KEPT, BoundLoop
from ..spec.once import main_part
from ..spec.tensorized import intrinsic_of
from ..spec.workload import Output
from .registers import accumulates_in_registers, innermost_serial, with_registers
from .skipping import share_of_steps
from .traffic import Traffic, latencies, leap_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.expr import Expr
    from ..spec.intrinsics import Intrinsic
    from ..spec.nest import Plan, StageNest
    from ..spec.schedule import At
    from .hardware import Hardware

_WAYS, _WAY_BYTES = 8, 4096
"""Sets of a first-level cache repeat every 4096 bytes; 8 ways is the least in use."""
_CONFLICT_COST = 3.0
LOOP_CYCLES: Final = 1.0
"""Loop control and addresses, once for each pass over the register tile. Cores hide most of it; but tiles that need it
hidden are also those that anything else disturbs."""
GUARD_CYCLES: Final = 0.25
"""For each element whose value a guard chooses: compared and blended in vectors, mostly."""
COPY_LANES: Final = 4
"""Elements at a time, in copies that LLVM turns into vectors by itself."""
SKIP_CYCLES: Final = 4.0
"""For each step that may be left out: its condition, and a branch."""
SKIP_SUMS: Final = 0.25
"""For each sum that goes to memory and back there: most of it goes on beside the next step."""
FULL: Final = 0.8
"""Part of a cache that is there for the data of a loop."""
PAID: Final = (0.25, 0.5, 0.75, 0.5)
"""Bounds overlap imperfectly: so much of arithmetic, and of what comes from L2, L3 and memory, is paid beside the one
that costs most if it is paid whole. These order 499 candidates best, which were timed in turn on a CPU with AVX2."""


@attrs.frozen(kw_only=True)
class StageCost:
    """Predicted seconds of one stage and the bounds behind them, each for all threads together.

    The nest runs `repeats` times; `accesses` are its loads, then its output, and `moved_bytes` what all runs together
    move into L1 from L2, into L2 from L3, and into L3 from memory.
    """

    stage: str
    threads: int
    seconds: float
    compute_s: float
    l2_s: float
    l3_s: float
    memory_s: float
    repeats: int
    accesses: tuple[Access, ...]
    moved_bytes: tuple[float, float, float]


@attrs.frozen(kw_only=True)
class _Place:
    """Where a stage runs: in loops of others, next to what the one it is attached to makes.

    `kept` tells of each cache whether it holds all buffers of the workload, `near` which buffers it holds from another
    stage of the same step, or for one. `done` is the part of its steps that are not left out.
    """

    outer: tuple[BoundLoop, ...]
    made: tuple[Output, ...]
    kept: tuple[bool, ...]
    near: tuple[frozenset[str], ...]
    done: float = 1.0


def predict_s(plan: Plan, hardware: Hardware) -> float:
    """Predicted seconds of a call; what is computed once, outside, costs it nothing."""
    return sum(cost.seconds for cost in call_costs(plan, hardware))


def call_costs(plan: Plan, hardware: Hardware) -> tuple[StageCost, ...]:
    """The predicted cost of every stage that each call runs."""
    return stage_costs(main_part(plan), hardware)


def stage_costs(plan: Plan, hardware: Hardware) -> tuple[StageCost, ...]:
    """The predicted cost of every stage."""
    held = plan.workload.bytes_in_all
    kept = tuple(held <= room for room in _rooms(hardware, 1))
    near = _near(plan, hardware)
    costs = []
    for nest in plan.nests:
        made = plan.by_stage[nest.at.stage].stage.outputs if nest.at is not None else ()
        held_near = near.get(nest.stage.name, (frozenset(),) * len(kept))
        done = share_of_steps(nest, plan.workload)
        place = _Place(outer=tuple(outer_loops(plan, nest)), made=made, kept=kept, near=held_near, done=done)
        costs.append(_stage_cost(nest, accesses_of(nest, plan.workload), place, hardware))
    return tuple(costs)


def _rooms(hardware: Hardware, threads: int) -> tuple[float, float, float]:
    """Bytes of each cache for the data of one of so many threads, which share the last one."""
    return FULL * hardware.l1_bytes, FULL * hardware.l2_bytes, FULL * hardware.l3_bytes / threads


def _near(plan: Plan, hardware: Hardware) -> dict[str, tuple[frozenset[str], ...]]:
    """For stages that make what a later one needs in each step of its loop, and for that one: see `_Place.near`.

    Each cache that has room for all that a step touches holds it until the step ends: what is made there never leaves
    it, and what is only read comes in with the first stage that reads it.
    """
    steps: dict[At, list[StageNest]] = {}
    for nest in plan.nests:
        if nest.at is not None and not nest.consumer:
            steps.setdefault(nest.at, []).append(nest)
    found: dict[str, tuple[frozenset[str], ...]] = {}
    for at, makers in steps.items():
        host = plan.by_stage[at.stage]
        inside = host.bound[host.bound_position(at.loop) + 1 :]
        loops = [{loop.name: loop.extent for loop in maker.loops} for maker in makers]
        loops.append({part.name: part.extent for loop in inside for part in loop.parts})
        touched: dict[str, float] = {}
        for nest, extents in zip((*makers, host), loops, strict=True):
            for access in accesses_of(nest, plan.workload):
                lines = access.lines(extents)
                touched[access.buffer] = max(lines, touched.get(access.buffer, 0.0))
        step_bytes = sum(touched.values()) * LINE_BYTES
        threads, _ = _parallelism(host.bound[: host.bound_position(at.loop) + 1], host, hardware)
        fits = [step_bytes <= room for room in _rooms(hardware, threads)]
        here = {output.name for maker in makers for output in maker.stage.outputs}
        for nest in (*makers, host):
            found[nest.stage.name] = tuple(frozenset(here if fit else ()) for fit in fits)
            here |= set(nest.stage.reads)
    return found


@lru_cache(maxsize=NESTS_KEPT)
def _stage_cost(nest: StageNest, accesses: tuple[Access, ...], place: _Place, hardware: Hardware) -> StageCost:
    outer = place.outer
    threads, balance = _parallelism(outer, nest, hardware)
    repeats = 1
    for loop in outer:
        repeats *= loop.extent
    cycles = repeats * (place.done * _compute_cycles(nest, accesses, hardware) + _skip_cycles(nest))
    from_l2, from_l3, from_memory = _traffic(nest, accesses, place, hardware, threads)
    leaps = [leap_of(access, nest) for access in accesses]
    share = threads * balance
    compute = cycles / share / hardware.hertz
    l2 = place.done * repeats * sum(from_l2) / hardware.l2_bandwidth / share / hardware.hertz
    l3 = repeats * sum(from_l3) / hardware.l3_bandwidth / share / hardware.hertz
    memory = repeats * sum(from_memory) / hardware.memory_bandwidth / hardware.hertz
    l2 += repeats * latencies(leaps, from_l2) * hardware.l2_latency / share / hardware.hertz
    l3 += repeats * latencies(leaps, from_l3) * hardware.l3_latency / share / hardware.hertz
    memory += repeats * latencies(leaps, from_memory) * hardware.memory_latency / share / hardware.hertz
    start = hardware.region_s if nest.at is None and threads > 1 else 0.0
    bounds = tuple(zip(PAID, (compute, l2, l3, memory), strict=True))
    rest = max((1 - paid) * bound for paid, bound in bounds)  # what is left of the one that is paid whole
    seconds = start + rest + sum(paid * bound for paid, bound in bounds)
    return StageCost(
        stage=nest.stage.name,
        threads=threads,
        seconds=seconds,
        compute_s=compute,
        l2_s=l2,
        l3_s=l3,
        memory_s=memory,
        repeats=repeats,
        accesses=accesses,
        moved_bytes=(repeats * sum(from_l2), repeats * sum(from_l3), repeats * sum(from_memory)),
    )


def _parallelism(outer: Sequence[BoundLoop], nest: StageNest, hardware: Hardware) -> tuple[int, float]:
    """Threads that work on a nest, and the share of their time that is useful."""
    loops = [*outer, *nest.bound]
    parallel = next((loop for loop in loops if loop.to == "parallel"), None)
    if parallel is None or hardware.threads == 1:
        return 1, 1.0
    rounds = -(-parallel.extent // hardware.threads)
    return hardware.threads, parallel.extent / (rounds * hardware.threads)


def _compute_cycles(nest: StageNest, accesses: Sequence[Access], hardware: Hardware) -> float:
    """Cycles of one thread for the whole nest."""
    total = math.prod(loop.extent for loop in nest.loops)
    if (intrinsic := intrinsic_of(nest)) is not None:
        uses = total / math.prod(loop.extent for loop in nest.tensorized)
        return uses * _intrinsic_cycles(nest, accesses, intrinsic, hardware)
    vector = nest.vector
    lanes = vector.extent if vector is not None else 1
    widest = max(access.element_bytes for access in accesses)
    width = hardware.lanes(widest)
    instructions = -(-lanes // width) if lanes > 1 else 1
    tile = register_tile(nest)
    copies = math.prod(tile.values())
    work = _operations(nest)
    vectors = hardware.whole_vectors(lanes, widest) if lanes > 1 else 1.0
    arithmetic = copies * vectors * work / hardware.fma_per_cycle
    reads = sum(_loads(access, tile, nest, lanes, hardware) for access in accesses[:-1])
    stores = 0 if accumulates_in_registers(nest) else copies
    out = accesses[-1]
    if vector is not None and lanes > 1:
        stores *= hardware.pieces(lanes, widest) if out.stride(vector.name) == 1 else lanes
    cycles = max(arithmetic, reads / hardware.loads_per_cycle, stores / hardware.stores_per_cycle)
    if nest.stage.reducer is not None:
        cycles = with_registers(cycles, nest, accesses, (instructions, vectors), hardware)
    if cut := cut_loops(nest):
        cycles *= _edges(nest, cut, lanes)
    elif is_guarded(nest.stage):
        cycles += GUARD_CYCLES * copies * max(1, lanes)
    cycles += LOOP_CYCLES
    if lanes == 1 and nest.stage.reducer is None and _walks_its_output(nest, out):
        cycles /= COPY_LANES
    return total / (copies * lanes) * cycles


def _skip_cycles(nest: StageNest) -> float:
    """What leaving steps out costs: a condition for each, and sums that go to memory and back where one is done."""
    if nest.nest.skip is None:
        return 0.0
    place = nest.bound_position(nest.nest.skip)
    steps = math.prod(loop.extent for loop in nest.bound[: place + 1] if loop.to != "unroll")
    sums = math.prod(loop.extent for loop in nest.bound[place + 1 :] if not loop.reduce and loop.to != "serial")
    vectors = sums / nest.vector.extent if nest.vector is not None else sums
    return steps * (SKIP_CYCLES + SKIP_SUMS * vectors)


def _edges(nest: StageNest, cut: Sequence[str], lanes: int) -> float:
    """What the vectors at the edges of cut loops, done element by element, make of the time: half of their elements."""
    steps = {loop.name: loop.extent for loop in nest.loops}
    return math.prod(1 + max(0.0, lanes / 2 - 1) / steps[name] for name in cut)


def _walks_its_output(nest: StageNest, out: Access) -> bool:
    """True where the innermost loop writes one element behind the other: LLVM makes vectors of it.

    Also around a few steps that are unrolled and write each into a row of its own.
    """
    around = innermost_serial(nest)
    return around is not None and out.stride(around.parts[-1].name) == 1


def _intrinsic_cycles(nest: StageNest, accesses: Sequence[Access], intrinsic: Intrinsic, hardware: Hardware) -> float:
    """Cycles of one use of an intrinsic: its instructions, or its loads, shared by the register tile around it."""
    tile = register_tile(nest)
    copies = math.prod(tile.values())
    vectors = max(1, intrinsic.lanes // hardware.lanes(size_bytes(intrinsic.output.dtype)))
    pieces = hardware.pieces(intrinsic.lanes, size_bytes(intrinsic.output.dtype))
    arithmetic = copies * vectors * intrinsic.instructions / hardware.fma_per_cycle
    reads = 0.0
    for access in accesses[:-1]:
        moving = [extent for loop, extent in tile.items() if access.moves_with(loop)]
        reads += math.prod(moving) * (pieces if access.moves_with(nest.tensorized[0].name) else 1)
    stores = 0 if accumulates_in_registers(nest) else copies * pieces
    cycles = max(arithmetic, reads / hardware.loads_per_cycle, stores / hardware.stores_per_cycle)
    return (with_registers(cycles, nest, accesses, (vectors, float(vectors)), hardware) + LOOP_CYCLES) / copies


def _operations(nest: StageNest) -> float:
    """Arithmetic instructions of one body; a multiply that feeds a sum counts as one with it."""
    return max(1.0, sum(_operations_in(body)[0] for body in nest.stage.body))


def _operations_in(node: Expr) -> tuple[float, bool, bool]:
    """Those of a tree; whether it mentions axes, and whether it loads: arithmetic on places alone costs nothing."""
    below = [_operations_in(child) for child in children(node)]
    count = sum(one for one, _, _ in below)
    places = isinstance(node, Axis) or any(axes for _, axes, _ in below)
    loaded = isinstance(node, Load) or any(found for _, _, found in below)
    if isinstance(node, Call):
        count += 20.0
    elif isinstance(node, Binary) and not (places and not loaded):
        count += 1.0
    return count, places, loaded


def _loads(access: Access, tile: Mapping[str, int], nest: StageNest, lanes: int, hardware: Hardware) -> float:
    """Loads of a piece of a vector, or of an element, for one pass over the register tile."""
    count = 1.0
    for loop, extent in tile.items():
        if access.moves_with(loop):
            count *= extent
    vector = nest.vector
    # The rows that the loop around the tile walks are read again by the next tile.
    around = innermost_serial(nest)
    rows = [*tile.items(), *([] if around is None else [(around.parts[-1].name, around.parts[-1].extent)])]
    if any(access.moves_with(loop) and _conflicts(access, loop, extent) for loop, extent in rows):
        count *= _CONFLICT_COST
    if lanes > 1 and vector is not None:
        part = vector.parts[-1].name
        if not access.moves_with(part):
            return count
        if access.stride(part) != 1:
            return count * lanes
        whole = min(lanes, hardware.lanes(access.element_bytes))
        return count * hardware.pieces(lanes, access.element_bytes) * _lines_a_load(access, nest, part, whole)
    return count


def _lines_a_load(access: Access, nest: StageNest, along: str, lanes: int) -> float:
    """Cache lines that one load of `lanes` elements touches on average: more than one where it begins anywhere."""
    others = [loop.name for loop in nest.loops if loop.name != along and loop.extent > 1]
    if all(access.stride(name) % lanes == 0 for name in others):
        return 1.0
    return 1.0 + (lanes - 1) * access.element_bytes / LINE_BYTES


def _conflicts(access: Access, loop: str, extent: int) -> bool:
    """True where the rows of a loop fall into so few sets of the first cache that they push one another out."""
    sets = _WAY_BYTES // math.gcd(access.stride(loop) * access.element_bytes, _WAY_BYTES)
    return extent > (_WAYS - 2) * sets


def _traffic(
    nest: StageNest, accesses: Sequence[Access], place: _Place, hardware: Hardware, threads: int
) -> tuple[list[float], list[float], list[float]]:
    """Bytes of each access moved into L1 from L2, into L2 from L3, and into L3 from memory, for the whole nest.

    Nothing moves into a cache that holds all buffers from call to call, nor of a buffer that a stage of the same step
    has just made or read.
    """
    made = {output.name for output in place.made}
    traffic = Traffic([(loop.name, loop.extent) for loop in nest.loops], accesses)
    found: list[list[float]] = []
    for room, holds, near in zip(_rooms(hardware, threads), place.kept, place.near, strict=True):
        if holds:
            found.append([0.0] * len(accesses))
            continue
        moved, whole = traffic.moved_into(room)
        held = near | made if whole else near
        found.append([0.0 if access.buffer in held else n for access, n in zip(accesses, moved, strict=True)])
    l1, l2, l3 = found
    return l1, l2, l3
