"""What a learned model sees of a candidate: numbers of its loop nests, comparable from task to task.

Sizes and times are logarithms (base 2) or ratios: of the least work that the task takes, of a cache, of all that is
predicted. Most are those of the main stage, the one with the most arithmetic; the others show in what they cost beside
it. Nothing here knows an operator's name, a machine's name or the point of a space.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

from ..spec.expr import If, walk
from ..spec.flops import flop_count
from ..spec.footprint import LINE_BYTES, outer_loops, register_tile, touched_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.footprint import Access
    from ..spec.nest import BoundLoop, Plan, StageNest
    from ..spec.task import Task
    from .analytic import StageCost
    from .hardware import Hardware
    from .space import Candidate

Features: TypeAlias = tuple[float, ...]

VERSION: Final = 1
"""Raised when a feature gets another meaning: a model of other features is of no use."""
NAMES: Final = (
    # the whole call
    "predicted_work",  # predicted seconds over those that its flops, or bytes, take at the peak
    "compute_share",  # the bounds of all stages, over the predicted seconds
    "l2_share",
    "l3_share",
    "memory_share",
    "main_share",  # predicted seconds of the main stage, of the costliest other one, over all
    "other_share",
    "stages",  # counts
    "attached",
    "regions",  # parallel regions to start, and their share of the predicted seconds
    "region_share",
    "intensity",  # flops per byte of the parameters
    "temporary_l2",  # bytes of the buffers between stages over the L2 caches of all threads
    "temporary_share",  # and over those of the parameters
    "size",  # predicted seconds
    # the main stage: its work
    "waste",  # steps over those of the task: padding
    "lanes",  # of a vector instruction: elements
    "fullness",  # of whole vectors
    "vectors",  # of a register tile, along the vector
    "rows",
    "reduce_copies",  # unrolled steps of reductions
    "accumulators",  # vectors that are held over a reduction
    "accumulates",  # 1.0: in registers
    "registers_over",  # how many more than there are
    "latency",  # accumulators that hide a chain of additions, over those that it takes
    "loads_per_work",  # loads of a tile over its arithmetic
    "body",  # instructions of an unrolled body
    "guarded",
    # its bounds, over its own predicted seconds
    "main_compute",
    "main_l2",
    "main_l3",
    "main_memory",
    "l2_per_flop",  # bytes moved
    "l3_per_flop",
    "memory_per_flop",
    # its loops
    "parallel",  # steps of the parallel loop per thread
    "balance",
    "inner_steps",  # of the innermost serial loop
    "inner_reduces",
    "depth",  # loops of more than one step
    "starts",  # how often sums are begun and ended: outputs held over all of the reduction
    # the bytes that are touched, over a cache's
    "inner_l1",  # in the innermost serial loop
    "middle_l1",  # in the two innermost
    "middle_l2",
    "task_l2",  # in a step of the parallel loop
    "task_l3",
    # its accesses
    "reads",
    "broadcasts",  # that the vector does not move
    "gathers",  # whose elements along the vector do not lie together
    "widest_stride",  # bytes between steps of the innermost serial loop: the most of all reads
    "mean_stride",
    "leaps",  # that go to another page each step
    "out_stride",  # bytes from row to row of the tile
    "pitch_tail",  # rows of the read along the vector that begin inside a cache line: their part
    # the costliest other stage
    "other_compute",
    "other_memory",
    "other_vector",  # elements
    "other_parallel",  # 1.0: it, or what it is attached to, is parallel
    "other_read_stride",  # along its innermost loop, bytes
    "other_write_stride",
    "other_bytes",  # that it moves per flop of the task
    "other_body",
    "other_attached",
)
"""The names of the features, in order."""

_LEAST: Final = 1e-9


def features_of(candidate: Candidate, task: Task, hardware: Hardware) -> Features:
    """The features of a candidate, all of them finite; the same for the same plan."""
    plan, costs = candidate.plan, candidate.costs
    nests = [plan.by_stage[cost.stage] for cost in costs]
    if not costs:
        return (0.0,) * len(NAMES)
    work = [_steps(nest) * cost.repeats for nest, cost in zip(nests, costs, strict=True)]
    main = max(range(len(costs)), key=lambda n: (nests[n].stage.reducer is not None, work[n]))
    others = [n for n in range(len(costs)) if n != main]
    other = max(others, key=lambda n: costs[n].seconds, default=None)
    flops = _work_of(task)
    found = [
        *_of_call(candidate, task, hardware, costs[main], costs[other] if other is not None else None),
        *_of_work(nests[main], costs[main], task, hardware),
        *_of_bounds(costs[main], flops),
        *_of_loops(plan, nests[main], hardware),
        *_of_reach(nests[main], costs[main], hardware),
        *_of_accesses(nests[main], costs[main]),
        *(_of_other(plan, nests[other], costs[other], flops) if other is not None else (0.0,) * 9),
    ]
    return tuple(found)


def _log(value: float) -> float:
    return math.log2(max(value, _LEAST))


def _steps(nest: StageNest) -> int:
    return math.prod(loop.extent for loop in nest.loops)


def _work_of(task: Task) -> float:
    """Flops of the task, or elements where nothing is multiplied."""
    return float(flop_count(task.workload) or sum(math.prod(stage.shape) for stage in task.workload.stages))


def _of_call(
    candidate: Candidate, task: Task, hardware: Hardware, main: StageCost, other: StageCost | None
) -> list[float]:
    flops = _work_of(task)
    plan, costs, seconds = candidate.plan, candidate.costs, max(candidate.predicted_s, 1e-12)
    given = sum(task.workload.buffers[name].bytes_in_all for name in task.workload.params)
    written = [output.name for stage in plan.workload.stages for output in stage.outputs]
    between = sum(plan.workload.buffers[name].bytes_in_all for name in written if name not in task.workload.params)
    peak = 2 * hardware.lanes(4) * hardware.fma_per_cycle * hardware.hertz * hardware.threads
    regions = sum(cost.threads > 1 and plan.by_stage[cost.stage].at is None for cost in costs)
    return [
        _log(seconds / max(flops / peak, given / hardware.memory_bandwidth / hardware.hertz)),
        sum(cost.compute_s for cost in costs) / seconds,
        sum(cost.l2_s for cost in costs) / seconds,
        sum(cost.l3_s for cost in costs) / seconds,
        sum(cost.memory_s for cost in costs) / seconds,
        main.seconds / seconds,
        other.seconds / seconds if other is not None else 0.0,
        float(len(costs)),
        float(sum(plan.by_stage[cost.stage].at is not None for cost in costs)),
        float(regions),
        regions * hardware.region_s / seconds,
        _log(flops / given),
        _log((between + 1) / (hardware.l2_bytes * hardware.threads)),
        between / given,
        _log(seconds),
    ]


def _of_work(nest: StageNest, cost: StageCost, task: Task, hardware: Hardware) -> list[float]:
    least = max(math.prod(axis.extent for axis in (*stage.axes, *stage.reduce)) for stage in task.workload.stages)
    tile = register_tile(nest)
    vector = nest.vector
    elements = vector.extent if vector is not None else math.prod(loop.extent for loop in nest.tensorized)
    width = hardware.lanes(max(access.element_bytes for access in cost.accesses))
    instructions = -(-elements // width)
    along = (nest.tensorized or nest.loops[-1:] or (None,))[0]
    vectors = rows = copies = 1
    for loop in nest.loops:
        if loop.name not in tile:
            continue
        if along is not None and loop.axis == along.axis:
            vectors *= loop.extent
        elif loop.reduce:
            copies *= loop.extent
        else:
            rows *= loop.extent
    held = vectors * rows * instructions
    reads = sum(_tile_loads(access, tile, vector, instructions) for access in cost.accesses[:-1])
    innermost = _inner(nest)
    accumulates = nest.stage.reducer is not None and (innermost is None or innermost.reduce)
    return [
        _log(_steps(nest) * cost.repeats / least),
        _log(elements),
        elements / (instructions * width),
        _log(vectors * instructions),
        _log(rows),
        _log(copies),
        float(held),
        float(accumulates),
        float(max(0, held + 1 + min(vectors * instructions, rows) - hardware.vector_registers)),
        held / (hardware.fma_latency * hardware.fma_per_cycle),
        reads / (held * copies),
        _log(held * copies + reads),
        float(any(isinstance(node, If) for body in nest.stage.body for node in walk(body))),
    ]


def _tile_loads(access: Access, tile: dict[str, int], vector: BoundLoop | None, instructions: int) -> float:
    count = math.prod(extent for loop, extent in tile.items() if access.moves_with(loop))
    moved = vector is not None and access.moves_with(vector.parts[-1].name)
    return float(count * (instructions if moved else 1))


def _of_bounds(cost: StageCost, flops: float) -> list[float]:
    seconds = max(cost.seconds, 1e-12)
    return [
        cost.compute_s / seconds,
        cost.l2_s / seconds,
        cost.l3_s / seconds,
        cost.memory_s / seconds,
        *(_log((moved + 1) / flops) for moved in cost.moved_bytes),
    ]


def _inner(nest: StageNest) -> BoundLoop | None:
    """The innermost serial loop of more than one step."""
    serial = (loop for loop in reversed(nest.outside) if loop.to not in ("vectorize", "unroll") and loop.extent > 1)
    return next(serial, None)


def _of_loops(plan: Plan, nest: StageNest, hardware: Hardware) -> list[float]:
    loops = [*outer_loops(plan, nest), *nest.bound]
    parallel = next((loop for loop in loops if loop.to == "parallel"), None)
    steps = parallel.extent if parallel is not None else 1
    inner = _inner(nest)
    outside = 1
    for loop in nest.bound:
        if loop.reduce:
            break
        outside *= loop.extent
    outputs = math.prod(loop.extent for loop in nest.loops if not loop.reduce)
    return [
        _log(steps / hardware.threads),
        steps / (-(-steps // hardware.threads) * hardware.threads),
        _log(inner.extent if inner is not None else 1),
        float(inner is not None and inner.reduce),
        float(sum(loop.extent > 1 for loop in loops)),
        _log(outputs / outside),
    ]


def _of_reach(nest: StageNest, cost: StageCost, hardware: Hardware) -> list[float]:
    """Bytes touched inside of loops further and further out."""
    inside: dict[str, int] = {}
    reached: list[float] = []
    whole = None
    for loop in reversed(nest.bound):
        serial = loop.to not in ("vectorize", "unroll", "parallel") and loop.extent > 1
        if loop.to == "parallel":
            whole = touched_bytes(cost.accesses, inside)
            break
        inside.update((part.name, part.extent) for part in loop.parts)
        if serial and len(reached) < 2:
            reached.append(touched_bytes(cost.accesses, inside))
    if whole is None:
        whole = touched_bytes(cost.accesses, inside)
    inner, middle = (*reached, whole, whole)[:2]
    return [
        _log(inner / hardware.l1_bytes),
        _log(middle / hardware.l1_bytes),
        _log(middle / hardware.l2_bytes),
        _log(whole / hardware.l2_bytes),
        _log(whole * hardware.threads / hardware.l3_bytes),
    ]


def _of_accesses(nest: StageNest, cost: StageCost) -> list[float]:
    *reads, out = cost.accesses
    inner = _inner(nest)
    along = nest.vector.parts[-1].name if nest.vector is not None else None
    strides = [abs(read.stride(inner.parts[-1].name)) * read.element_bytes if inner else 0 for read in reads]
    still = [along is None or not read.moves_with(along) for read in reads]
    gathers = sum(along is not None and read.stride(along) not in (0, 1) for read in reads)
    rows = [loop.name for loop in nest.loops if loop.name in register_tile(nest) and not loop.reduce]
    pitches = [read.shape[-1] * read.element_bytes % LINE_BYTES for read, s in zip(reads, still, strict=True) if not s]
    return [
        float(len(reads)),
        float(sum(still)),
        float(gathers),
        math.log2(1 + max(strides, default=0)),
        sum(math.log2(1 + stride) for stride in strides) / max(1, len(strides)),
        float(sum(stride >= 4096 for stride in strides)),
        math.log2(1 + max((abs(out.stride(row)) * out.element_bytes for row in rows), default=0)),
        sum(pitch > 0 for pitch in pitches) / max(1, len(pitches)),
    ]


def _of_other(plan: Plan, nest: StageNest, cost: StageCost, flops: float) -> list[float]:
    seconds = max(cost.seconds, 1e-12)
    innermost = next((loop.parts[-1].name for loop in reversed(nest.bound) if loop.extent > 1), None)
    loops = [*outer_loops(plan, nest), *nest.bound]
    *reads, out = [abs(a.stride(innermost)) * a.element_bytes if innermost else 0 for a in cost.accesses]
    return [
        cost.compute_s / seconds,
        cost.memory_s / seconds,
        _log(nest.vector.extent if nest.vector is not None else 1),
        float(any(loop.to == "parallel" for loop in loops)),
        math.log2(1 + max(reads, default=0)),
        math.log2(1 + out),
        _log((_moved(cost) + 1) / flops),
        _log(nest.copies),
        float(nest.at is not None),
    ]


def _moved(cost: StageCost) -> float:
    return max(cost.moved_bytes)


assert len(set(NAMES)) == len(NAMES), "two features of one name"


def as_mapping(features: Sequence[float]) -> dict[str, float]:
    """Feature name → value."""
    return dict(zip(NAMES, features, strict=True))
