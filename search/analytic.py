"""The analytic model: predicts a schedule's time from its loop nests and the hardware, nothing measured.

For each stage the greatest of four bounds counts: arithmetic (with register pressure and latency), load ports, and the
traffic from L2, L3 and memory that the loop order causes; then parallel balance. After the roofline and cache-footprint
models of Ansor and of BLIS ("Analytical Modeling Is Enough for High-Performance BLIS", TOMS 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from ..spec.dtypes import size_bytes
from ..spec.expr import Axis, Binary, Call, If, Load, axes_in, index, loads, substitute, walk
from ..spec.linear import Facts, facts_from_extents, linear, value_range

if TYPE_CHECKING:
    from ..spec.nest import BoundLoop, Plan, StageNest
    from ..spec.workload import Workload
    from .hardware import Hardware

_LINE = 64
_WAYS, _WAY_BYTES = 8, 4096
"""Sets of a first-level cache repeat every 4096 bytes; 8 ways is the least in use."""
_CONFLICT_COST = 3.0


@attrs.frozen(kw_only=True)
class Access:
    """One buffer access of a nest: how far each dimension moves with a step of each loop.

    `steps` has one mapping a dimension: loop name → elements. `strides` are the buffer's, in elements.
    """

    buffer: str
    element_bytes: int
    shape: tuple[int, ...]
    steps: tuple[Mapping[str, int], ...]

    def moves_with(self, loop: str) -> bool:
        """True where a step of `loop` changes the element accessed."""
        return any(loop in steps for steps in self.steps)

    def stride(self, loop: str) -> int:
        """Elements between two steps of `loop` in memory."""
        total, size = 0, 1
        for steps, extent in zip(reversed(self.steps), reversed(self.shape), strict=True):
            total += steps.get(loop, 0) * size
            size *= extent
        return total

    def lines(self, extents: Mapping[str, int]) -> float:
        """Cache lines touched while the loops in `extents` run.

        The innermost dimensions make one run in memory as far as they are touched whole.
        """
        run, outer, joined = 1.0, 1.0, True
        for steps, size in zip(reversed(self.steps), reversed(self.shape), strict=True):
            reach, count = 1, 1
            for loop, step in steps.items():
                extent = extents.get(loop, 1)
                reach += abs(step) * (extent - 1)
                count *= extent
            touched = min(reach, count, size)
            if joined:
                # Lines between widely spaced elements are not touched.
                run *= min(reach, size, touched * (_LINE // self.element_bytes))
                joined = touched == size
            else:
                outer *= touched
        return outer * max(1.0, run * self.element_bytes / _LINE)


@attrs.frozen(kw_only=True)
class StageCost:
    """Predicted seconds of one stage and the bounds behind them, each for all threads together."""

    stage: str
    seconds: float
    compute_s: float
    l2_s: float
    l3_s: float
    memory_s: float


def predict_s(plan: Plan, hardware: Hardware) -> float:
    """Predicted seconds of a plan."""
    return sum(cost.seconds for cost in stage_costs(plan, hardware))


def stage_costs(plan: Plan, hardware: Hardware) -> tuple[StageCost, ...]:
    """The predicted cost of every stage."""
    return tuple(_stage_cost(plan, nest, hardware) for nest in plan.nests)


def _stage_cost(plan: Plan, nest: StageNest, hardware: Hardware) -> StageCost:
    outer = _outer_loops(plan, nest)
    threads, balance = _parallelism(outer, nest, hardware)
    repeats = 1
    for loop in outer:
        repeats *= loop.extent
    accesses = _accesses(nest, plan.workload)
    cycles = repeats * _compute_cycles(nest, accesses, hardware)
    traffic = _traffic(nest, accesses, hardware, threads)
    share = threads * balance
    compute = cycles / share / hardware.hertz
    l2 = repeats * traffic[0] / hardware.l2_bandwidth / share / hardware.hertz
    l3 = repeats * traffic[1] / hardware.l3_bandwidth / share / hardware.hertz
    memory = repeats * traffic[2] / hardware.memory_bandwidth / hardware.hertz
    start = hardware.region_s if nest.at is None and threads > 1 else 0.0
    bound = max(compute, l2, l3, memory)
    # Bounds overlap imperfectly: a quarter of the others is paid as well.
    seconds = start + bound + 0.25 * (compute + l2 + l3 + memory - bound)
    return StageCost(stage=nest.stage.name, seconds=seconds, compute_s=compute, l2_s=l2, l3_s=l3, memory_s=memory)


def _outer_loops(plan: Plan, nest: StageNest) -> list[BoundLoop]:
    """The bound loops of other stages around an attached nest, outermost first."""
    found: list[BoundLoop] = []
    while nest.at is not None:
        parent = plan.by_stage[nest.at.stage]
        names = [loop.name for loop in parent.bound]
        found = [*parent.bound[: names.index(nest.at.loop) + 1], *found]
        nest = parent
    return found


def _parallelism(outer: Sequence[BoundLoop], nest: StageNest, hardware: Hardware) -> tuple[int, float]:
    """Threads that work on a nest, and the share of their time that is useful."""
    loops = [*outer, *nest.bound]
    parallel = next((loop for loop in loops if loop.to == "parallel"), None)
    if parallel is None or hardware.threads == 1:
        return 1, 1.0
    rounds = -(-parallel.extent // hardware.threads)
    return hardware.threads, parallel.extent / (rounds * hardware.threads)


def _accesses(nest: StageNest, workload: Workload) -> tuple[Access, ...]:
    """What the body touches: its loads, then the output."""
    values: dict[str, Binary] = {}
    for loop in nest.loops:
        term = Binary("mul", Axis(loop.name), index(loop.stride))
        values[loop.axis] = Binary("add", values[loop.axis], term) if loop.axis in values else term
    facts = facts_from_extents({loop.name: loop.extent for loop in nest.loops})
    found = dict.fromkeys(load for body in nest.stage.body for load in loads(body))
    outputs = [Load(output.name, tuple(Axis(axis.name) for axis in nest.stage.axes)) for output in nest.stage.outputs]
    return tuple(_access(load, values, facts, workload) for load in (*found, *outputs))


def _access(load: Load, values: Mapping[str, Binary], facts: Facts, workload: Workload) -> Access:
    buffer = workload.buffers[load.buffer]
    steps: list[dict[str, int]] = []
    for position in load.indices:
        _, terms = linear(substitute(position, values), facts)
        moved: dict[str, int] = {}
        for atom, coefficient in terms.items():
            if isinstance(atom, Axis):
                moved[atom.name] = moved.get(atom.name, 0) + coefficient
                continue
            low, high = value_range(atom, facts)
            for name in axes_in(atom):
                # A digit or a clamp: about as many values as the loop has steps, at most its own range.
                extent = facts.axes[name][1] + 1
                step = max(1, (high - low + 1) // extent) if extent > 1 else 1
                moved[name] = moved.get(name, 0) + coefficient * step
        steps.append(moved)
    return Access(buffer=buffer.name, element_bytes=size_bytes(buffer.dtype), shape=buffer.shape, steps=tuple(steps))


def _compute_cycles(nest: StageNest, accesses: Sequence[Access], hardware: Hardware) -> float:
    """Cycles of one thread for the whole nest."""
    total = 1
    for loop in nest.loops:
        total *= loop.extent
    last = nest.bound[-1] if nest.bound else None
    lanes = last.extent if last is not None and last.to == "vectorize" else 1
    width = hardware.lanes(max(access.element_bytes for access in accesses))
    instructions = -(-lanes // width) if lanes > 1 else 1
    tile = _register_tile(nest)
    copies = 1
    for extent in tile.values():
        copies *= extent
    work = _operations(nest)
    arithmetic = copies * instructions * work / hardware.fma_per_cycle
    reads = sum(_load_instructions(access, tile, nest, lanes, width) for access in accesses[:-1])
    stores = copies * instructions if not _accumulates_in_registers(nest) else 0
    out = accesses[-1]
    if lanes > 1 and last is not None and out.stride(last.name) != 1:
        stores *= lanes
    cycles = max(arithmetic, reads / hardware.loads_per_cycle, stores / hardware.stores_per_cycle)
    if nest.stage.reducer is not None:
        cycles = _with_registers(cycles, nest, tile, instructions, hardware)
    if any(isinstance(node, If) for body in nest.stage.body for node in walk(body)):
        cycles += copies * max(1, lanes)  # a guard in a vector is done lane by lane
    # Loop control and address arithmetic of one pass over the tile.
    return total / (copies * lanes) * (cycles + 1.0)


def _register_tile(nest: StageNest) -> dict[str, int]:
    """Loops that are unrolled inside the innermost serial loop, vector loop apart."""
    tile: dict[str, int] = {}
    for loop in reversed(nest.bound):
        if loop.to == "vectorize" or (loop.extent == 1):
            continue
        if loop.to != "unroll":
            break
        for part in loop.parts:
            tile[part.name] = part.extent
    return tile


def _accumulates_in_registers(nest: StageNest) -> bool:
    """True where the innermost serial loop is a reduction, so that sums stay in registers across it."""
    if nest.stage.reducer is None:
        return False
    for loop in reversed(nest.bound):
        if loop.to in ("vectorize", "unroll") or loop.extent == 1:
            continue
        return loop.reduce
    return True


def _operations(nest: StageNest) -> float:
    """Arithmetic instructions of one body; a multiply that feeds a sum counts as one with it."""
    count = 0.0
    for body in nest.stage.body:
        for node in walk(body):
            if isinstance(node, Call):
                count += 20.0
            elif isinstance(node, Binary) and not (axes_in(node) and not loads(node)):
                count += 1.0
    return max(1.0, count)


def _load_instructions(access: Access, tile: Mapping[str, int], nest: StageNest, lanes: int, width: int) -> float:
    """Load instructions for one pass over the register tile."""
    count = 1.0
    for loop, extent in tile.items():
        if access.moves_with(loop):
            count *= extent
    last = nest.bound[-1] if nest.bound else None
    conflicts = [
        loop
        for loop in tile
        if access.moves_with(loop) and access.stride(loop) * access.element_bytes % _WAY_BYTES == 0
    ]
    if conflicts and max(tile[loop] for loop in conflicts) > _WAYS - 2:
        count *= _CONFLICT_COST  # all of them in one set of the first cache
    if lanes > 1 and last is not None:
        part = last.parts[-1].name
        if not access.moves_with(part):
            return count
        step = access.stride(part)
        return count * (-(-lanes // width) if step == 1 else lanes)
    return count


def _with_registers(
    cycles: float,
    nest: StageNest,
    tile: Mapping[str, int],
    instructions: int,
    hardware: Hardware,
) -> float:
    """Cycles with what spilled accumulators and a short chain of them cost."""
    along = nest.loops[-1].axis
    vectors, rows = float(instructions), 1.0
    for loop in nest.loops:
        if loop.name in tile and loop.axis == along:
            vectors *= loop.extent
        elif loop.name in tile and not loop.reduce:
            rows *= loop.extent
    held = vectors * rows
    if not _accumulates_in_registers(nest):
        return cycles + 2 * held
    # Either the vectors or the rows' broadcasts are held, the others come from memory operand by operand.
    needed = held + 1 + min(vectors, rows)
    over = max(0.0, needed - (hardware.vector_registers - 3))
    cycles *= 1 + 0.5 * over * over
    chain = hardware.fma_latency * hardware.fma_per_cycle
    return cycles * max(1.0, chain / held)


def _traffic(
    nest: StageNest, accesses: Sequence[Access], hardware: Hardware, threads: int
) -> tuple[float, float, float]:
    """Bytes moved into L1 from L2, into L2 from L3, and into L3 from memory, for the whole nest.

    The outermost loop whose footprint fits a cache is found; what moves in is that footprint, once for every step of
    the loops further out. The first of those costs nothing for an access that it leaves where it is.
    """
    levels = (hardware.l1_bytes * 0.8, hardware.l2_bytes * 0.8, hardware.l3_bytes * 0.8 / max(1, threads))
    loops = [(loop.name, loop.extent) for loop in nest.loops]
    l1, l2, l3 = (_moved_into(capacity, loops, accesses) for capacity in levels)
    return l1, l2, l3


def _moved_into(capacity: float, loops: Sequence[tuple[str, int]], accesses: Sequence[Access]) -> float:
    """Bytes moved into a cache of `capacity` bytes."""

    def footprint(extents: Mapping[str, int]) -> float:
        return sum(access.lines(extents) for access in accesses) * _LINE

    inner: dict[str, int] = {}
    boundary = len(loops)
    while boundary > 0:
        name, extent = loops[boundary - 1]
        if footprint({**inner, name: extent}) > capacity:
            break
        inner[name] = extent
        boundary -= 1
    turns = [extent for _, extent in loops[:boundary]]
    if boundary > 0:
        # As many steps of the first loop that does not fit as do.
        name, extent = loops[boundary - 1]
        steps = 1
        while 2 * steps < extent and footprint({**inner, name: 2 * steps}) <= capacity:
            steps *= 2
        inner[name] = steps
        turns[-1] = -(-extent // steps)
    total = 0.0
    for access in accesses:
        amount = access.lines(inner) * _LINE
        for distance, ((name, _), turn) in enumerate(zip(reversed(loops[:boundary]), reversed(turns), strict=True)):
            if access.moves_with(name) or distance > 0:
                amount *= turn
        total += amount
    return total
