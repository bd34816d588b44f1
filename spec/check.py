"""Checks of a schedule against its workload: every rule one function on the loop-nest model, before TVM is touched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from .backwards import backward_divisions
from .check_algorithm import check_algorithm
from .check_attached import (
    check_attached_consumer,
    check_attached_producer,
    check_attached_reduction,
    check_longer_axes,
    check_predicate_tails,
)
from .check_gpu import GPU_RULES, GpuRule, check_for_cpu
from .check_skip import check_skip
from .check_tensorize import check_intrinsics, check_tensorized
from .check_workload import check_reduced_together
from .dtypes import integer_bounds
from .errors import SpecError
from .expr import Binary, Call, Expr, If, Load, axes_in, const, index, transform, walk
from .gpu import GpuLimits, limits_of
from .nest import Plan, StageNest, plan_from_nests
from .once import check_once, packed_buffers
from .rewrite import rewrite
from .task import CPU, Target, Task

if TYPE_CHECKING:
    from .schedule import Nest, Schedule
    from .workload import Workload

MAX_LANES: Final = 64
MAX_UNROLLED: Final = 4096
WITHOUT_VECTORS: Final = frozenset({"acos", "asin", "atan", "atan2", "erf", "log1p", "rsqrt"})
"""Calls that TVM takes apart in a vectorized loop."""
MAX_LOOPS: Final = 64
"""Loops around a stage; TVM walks them by recursion and overflows its stack on a few thousand."""


def check_schedule(schedule: Schedule, task: Task | Workload) -> Plan:
    """Rewrites the workload, lays out the nests and checks every rule; returns the plan that lowering follows.

    A workload stands for a task for a CPU without constants. Raises SpecError whose path starts with
    ``schedule.algorithm``, ``schedule.stagings``, ``schedule.once`` or ``schedule.nests``.
    """
    workload, ranges = (task.workload, task.ranges) if isinstance(task, Task) else (task, ())
    if schedule.algorithm is not None:
        check_algorithm(schedule.algorithm, workload, {known.buffer: (known.low, known.high) for known in ranges})
    return check_rewritten(schedule, rewrite(schedule, workload), task)


def check_rewritten(schedule: Schedule, rewritten: Workload, task: Task | Workload) -> Plan:
    """The second half of `check_schedule`, on the workload with every staging applied."""
    target, constants = (task.target, task.constants) if isinstance(task, Task) else (CPU, ())
    plan = check_nests(schedule.nests, rewritten, target, schedule.once)
    check_once(plan, constants)
    check_intrinsics(plan)
    return plan


def check_nests(nests: Sequence[Nest], rewritten: Workload, target: Target = CPU, once: tuple[str, ...] = ()) -> Plan:
    """The plan of `nests` for a target, held against the rules that look at one stage at a time."""
    plan = plan_from_nests(rewritten, nests, target, once)
    rules = rules_for(target)
    place = {nest.stage: number for number, nest in enumerate(nests)}
    for stage_nest in plan.nests:
        for rule in rules:
            try:
                rule(plan, stage_nest)
            except SpecError as error:
                number = place.get(stage_nest.stage.name, len(nests))
                raise error.under(f"schedule.nests[{number}]") from error
    return plan


def check_depth(plan: Plan, nest: StageNest) -> None:
    """At most MAX_LOOPS loops stand around a stage, those of the stages it is attached to included."""
    depth, inner = len(nest.loops), nest
    while inner.at is not None:
        host = plan.by_stage[inner.at.stage]
        depth += host.position(inner.at.loop) + 1
        inner = host
    if depth > MAX_LOOPS:
        raise SpecError(f"{depth} loops stand around {nest.stage.name!r}; at most {MAX_LOOPS}: split less", "splits")


def check_vectorized_innermost(plan: Plan, nest: StageNest) -> None:
    """A vectorized loop is spatial, innermost, has no stage inside and at most MAX_LANES lanes."""
    for number, loop in enumerate(nest.bound):
        if loop.to != "vectorize":
            continue
        if number != len(nest.bound) - 1:
            inner = nest.bound[-1].name
            raise SpecError(f"loop {loop.name!r} is vectorized but {inner!r} is innermost; vectorize that one", "bind")
        if loop.reduce:
            raise SpecError(f"loop {loop.name!r} runs over a reduce axis; vectorize a spatial one", "bind")
        if loop.extent > MAX_LANES:
            raise SpecError(f"loop {loop.name!r} has {loop.extent} lanes; at most {MAX_LANES}: split it", "bind")
        if plan.inside(nest.stage.name, len(nest.loops) - 1):
            raise SpecError(f"a stage is computed at the vectorized loop {loop.name!r}; attach it further out", "bind")


def check_tuples(plan: Plan, nest: StageNest) -> None:
    """Stagings bring no bfloat16 into a reduction of several outputs."""
    check_reduced_together(nest.stage, plan.workload)


def check_vectorized_bfloat16(plan: Plan, nest: StageNest) -> None:
    """A vectorized loop does not fill a parameter's bfloat16 with one value for all lanes: TVM has no such store.

    Temporaries are kept in float32 by TVM; what is packed once, for calls to read, is a parameter too.
    """
    loop = nest.vector
    if loop is None or loop.extent == 1:
        return
    lanes = {part.name for part in loop.parts}
    for number, output in enumerate(nest.stage.outputs):
        if output.dtype != "bfloat16" or output.name not in (*plan.workload.params, *packed_buffers(plan)):
            continue
        if nest.stage.reducer is not None:
            message = (
                f"loop {loop.name!r} is vectorized, and its bfloat16 reduction starts from one value for all lanes"
            )
            remedy = "leave it serial, or reduce in float32"
            raise SpecError(f"{message}, which TVM cannot build; {remedy}", "bind")
        if not lanes & axes_in(_pinned(nest.body[number], plan.workload)):
            message = f"loop {loop.name!r} is vectorized, and all its lanes store one bfloat16 value"
            raise SpecError(f"{message}, which TVM cannot build; leave it serial", "bind")


def check_vectorized_tuples(_: Plan, nest: StageNest) -> None:
    """No lane of a reduction of several outputs is guarded, or calls what has no vectors, on its own.

    TVM does such a value lane by lane, and keeps of the new values only the last lane's.
    """
    loop, stage = nest.vector, nest.stage
    if loop is None or loop.extent == 1 or stage.reducer is None or len(stage.outputs) == 1:
        return
    lanes = {part.name for part in loop.parts}
    for node in (node for body in nest.body for node in walk(body)):
        apart = node.cond if isinstance(node, If) else node
        if isinstance(node, If) or (isinstance(node, Call) and node.name in WITHOUT_VECTORS):
            if not lanes & axes_in(apart):
                continue
            what = "is guarded" if isinstance(node, If) else f"calls {node.name}"
            message = (
                f"loop {loop.name!r} is vectorized, and {stage.name!r} {what} lane by lane in a reduction of several"
            )
            raise SpecError(f"{message} outputs, which TVM gets wrong; leave it serial", "bind")


def check_vectorized_backwards(_: Plan, nest: StageNest) -> None:
    """No lane's index divides what falls along the vector, ``X[(3 - i) // 2]``: TVM gets such vectors wrong."""
    loop = nest.vector
    if loop is None or loop.extent == 1:
        return
    along = {part.axis for part in loop.parts}
    if any(along & axes_in(part) for body in nest.stage.body for part in backward_divisions(body)):
        message = f"loop {loop.name!r} is vectorized, and {nest.stage.name!r} reads backwards along it through a layout"
        raise SpecError(f"{message}, which TVM gets wrong; vectorize another loop", "bind")


def _pinned(node: Expr, workload: Workload) -> Expr:
    """A value without what TVM finds out to be 0: indices of a dimension of one element, ``x - x``, ``0 * x``."""
    zero = const("bfloat16", 0)

    def visit(part: Expr) -> Expr:
        match part:
            case Load(buffer, indices):
                shape = workload.buffers[buffer].shape
                return Load(buffer, tuple(index(0) if n == 1 else i for i, n in zip(indices, shape, strict=True)))
            case Binary("sub", a, b) if a == b:
                return zero
            case Binary("mul", a, b) if zero in (a, b):
                return zero
        return part

    return transform(node, visit)


def check_parallel(_: Plan, nest: StageNest) -> None:
    """At most one parallel loop on the way to any stage, spatial, with nothing but serial loops around it."""
    parallel = [number for number, loop in enumerate(nest.bound) if loop.to == "parallel"]
    if not parallel:
        return
    for number in parallel:
        loop = nest.bound[number]
        if loop.reduce:
            message = (
                f"loop {loop.name!r} runs over a reduce axis; its steps add into one place, so they cannot be parallel"
            )
            raise SpecError(message, "bind")
    if len(parallel) > 1:
        names = " and ".join(nest.bound[number].name for number in parallel)
        raise SpecError(f"loops {names} are both parallel; fuse them or keep one", "bind")
    if parallel[0] != 0:
        outer = nest.bound[0].name
        raise SpecError(f"the parallel loop is inside {outer!r}; make it the outermost, fused with the others", "bind")
    if nest.at is not None:
        raise SpecError("an attached stage cannot be parallel; bind the loop it is attached to", "bind")


def check_counts(plan: Plan, nest: StageNest) -> None:
    """What the loops of an axis count to, the steps they skip included, and fused loops, fits the index type."""
    most = integer_bounds(plan.workload.index_dtype)[1]
    for number, split in enumerate(nest.nest.splits):
        if (count := math.prod(split.factors)) > most:
            message = (
                f"the loops of axis {split.axis!r} make {count} steps, more than {plan.workload.index_dtype} counts"
            )
            raise SpecError(f"{message}; use smaller factors", f"splits[{number}].factors")
    for loop in nest.bound:
        if loop.extent > most:
            message = f"loop {loop.name!r} has {loop.extent} steps, more than {plan.workload.index_dtype} counts"
            raise SpecError(f"{message}; fuse fewer", "bind")


def check_unrolled(_: Plan, nest: StageNest) -> None:
    """What unrolled loops copy, vector lanes apart, stays within MAX_UNROLLED bodies."""
    if nest.copies > MAX_UNROLLED:
        message = f"unrolled loops copy the body {nest.copies} times; at most {MAX_UNROLLED}: unroll fewer"
        raise SpecError(message, "bind")
    if nest.nest.unroll_limit is not None and not 0 <= nest.nest.unroll_limit <= MAX_UNROLLED:
        raise SpecError(f"unroll limit {nest.nest.unroll_limit}; allowed: 0 to {MAX_UNROLLED}", "unroll_limit")


def check_start(_: Plan, nest: StageNest) -> None:
    """`start` names a loop of a reduction with every reduce loop at or inside it."""
    start = nest.nest.start
    if start is None:
        return
    if nest.stage.reducer is None:
        raise SpecError(f"stage {nest.stage.name!r} has no reduction to start; leave start out", "start")
    names = [loop.name for loop in nest.bound]
    if start not in names:
        raise SpecError(f"no loop {start!r}; loops here: {', '.join(names)}", "start")
    for loop in nest.bound[: names.index(start)]:
        if loop.reduce:
            message = f"the reduce loop {loop.name!r} is outside {start!r}, so the start would come too late"
            raise SpecError(f"{message}; start at {loop.name!r} or further out", "start")


def check_custom_order(_: Plan, nest: StageNest) -> None:
    """A custom reducer may depend on the order of its steps, so its reduce loops stay in the order of the axes."""
    if nest.stage.reducer is None or nest.stage.reducer.op != "custom":
        return
    rank = {axis.name: number for number, axis in enumerate(nest.stage.reduce)}
    steps = [(rank[loop.axis], -loop.stride) for loop in nest.loops if loop.reduce and loop.extent > 1]
    if steps != sorted(steps):
        names = ", ".join(
            loop.name
            for loop in sorted(
                (loop for loop in nest.loops if loop.reduce), key=lambda loop: (rank[loop.axis], -loop.stride)
            )
        )
        raise SpecError(f"a custom reducer runs in the order of its axes; keep the reduce loops as {names}", "order")


Rule = Callable[[Plan, StageNest], None]
RULES: Final[tuple[Rule, ...]] = (
    check_depth,
    check_counts,
    check_parallel,
    check_tuples,
    check_vectorized_innermost,
    check_vectorized_bfloat16,
    check_vectorized_tuples,
    check_vectorized_backwards,
    check_unrolled,
    check_start,
    check_attached_reduction,
    check_custom_order,
    check_attached_consumer,
    check_attached_producer,
    check_predicate_tails,
    check_longer_axes,
    check_tensorized,
    check_skip,
)
"""The rules of every target in the order they are tried."""


def rules_for(target: Target) -> tuple[Rule, ...]:
    """`RULES`, and those of the kind of target, for one stage to be held against."""
    limits = limits_of(target)
    if limits is None:
        return (*RULES, lambda plan, nest: check_for_cpu(plan, nest, target.kind))
    return (*RULES, *(_for_limits(rule, limits) for rule in GPU_RULES))


def _for_limits(rule: GpuRule, limits: GpuLimits) -> Rule:
    return lambda plan, nest: rule(plan, nest, limits)
