"""A scheduled workload as text for people: its buffers, and every nest with the stages computed inside it.

# C.acc: float32[8, 32, 8, 32]; temporary; k = kb * 64 + kt
parallel par in 256:  # jo, io
C.acc[jo, io, ii, ji] = 0.0
for kb in 4:
for kt in 64:
unroll ii in 8:
vectorize ji in 32:
C.acc[jo, io, ii, ji] += A[io * 8 + ii, k] * B[k, jo * 32 + ji]
# C: float32[256, 256]; here i: 8, j: 32
for i in 8:
for j in 32:
C[i, j] = C.acc[j // 32, i // 8, i % 8, j % 32]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .check import check_schedule
from .expr_text import text_from_expr
from .gpu import limits_of
from .zeros import step_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nest import BoundLoop, Plan, StageNest
    from .schedule import Schedule
    from .task import Task
    from .workload import Workload

_WORDS: Final = {"serial": "for"}
_UPDATES: Final = {"sum": "{0} += {1}", "prod": "{0} *= {1}"}
_INDENT: Final = "  "


def text_from_schedule(schedule: Schedule, task: Task) -> str:
    """The task and its loops under `schedule`; SpecError where the schedule does not fit."""
    plan = check_schedule(schedule, task)
    return "\n".join([*_task_lines(task), *_algorithm_lines(schedule), "", text_from_plan(plan)])


def text_from_plan(plan: Plan) -> str:
    """Every nest, in the order in which they run: what is computed once comes first."""
    own = sorted((nest for nest in plan.nests if nest.at is None), key=lambda nest: nest.stage.name not in plan.once)
    return "\n\n".join("\n".join(_nest_lines(plan, nest)) for nest in own)


def _task_lines(task: Task) -> Iterator[str]:
    if task.op is not None:
        yield task.op.text
    options = "".join(f" {option.name}={option.value}" for option in task.target.options)
    threads = "" if limits_of(task.target) else f", {task.threads} thread{'s' * (task.threads != 1)}"
    yield f"for {task.target.kind}{options}{threads}"
    yield from _parameter_lines(task.workload, frozenset(task.constants))


def _algorithm_lines(schedule: Schedule) -> Iterator[str]:
    if schedule.algorithm is not None:
        yield f"algorithm {schedule.algorithm.name}, {schedule.algorithm.accuracy}"


def _parameter_lines(workload: Workload, constants: frozenset[str]) -> Iterator[str]:
    width = max(len(name) for name in workload.params)
    for name in workload.params:
        buffer = workload.buffers[name]
        role = "out" if name in workload.writer else "constant" if name in constants else "in"
        yield f"  {name.ljust(width)}  {buffer.dtype}[{', '.join(map(str, buffer.shape))}]  {role}"


def _nest_lines(plan: Plan, nest: StageNest, depth: int = 0) -> Iterator[str]:
    """The lines of a nest, with those of the stages computed inside it."""
    yield f"{_INDENT * depth}# {nest.stage.name}: {_stage_text(plan, nest)}"
    done = 0
    for number, bound in enumerate(nest.outside):
        indent = _INDENT * (depth + number)
        if nest.nest.start == bound.name:
            yield from (f"{indent}{target} = {start}" for target, start in _starts(nest))
        yield f"{indent}{_loop_text(bound)}"
        if nest.nest.skip == bound.name:
            tests = step_tests(nest, plan.workload, bound.name)
            yield f"{indent}{_INDENT}skip unless {' and '.join(map(text_from_expr, tests))}"
        done += len(bound.parts)
        for inner in plan.inside(nest.stage.name, done - 1):
            if not inner.consumer:
                yield from _nest_lines(plan, inner, depth + number + 1)
    indent = _INDENT * (depth + len(nest.outside))
    if nest.tensorized and nest.nest.start == nest.tensorized[0].name:
        yield from (f"{indent}{target} = {start}" for target, start in _starts(nest))
    for line in (*(f"if {condition}:" for condition in _tails(nest)), *_intrinsic_lines(nest)):
        yield f"{indent}{line}"
        indent += _INDENT
    yield from (f"{indent}{line}" for line in _body_lines(nest))
    for number in range(len(nest.outside) - 1, -1, -1):
        for inner in plan.inside(nest.stage.name, done - 1):
            if inner.consumer:
                yield from _nest_lines(plan, inner, depth + number + 1)
        done -= len(nest.bound[number].parts)


def _stage_text(plan: Plan, nest: StageNest) -> str:
    """What is said of a stage above its loops: dtype and shape, and how much of it is computed at a time."""
    stage = nest.stage
    shapes = ", ".join(f"{output.dtype}[{', '.join(map(str, stage.shape))}]" for output in stage.outputs)
    notes = [shapes]
    if all(output.name not in plan.workload.params for output in stage.outputs):
        made = "temporary" if nest.nest.scope == "global" else nest.nest.scope
        notes.append("computed once, outside" if stage.name in plan.once else made)
    if (align := nest.nest.align) is not None:
        notes.append(f"a step of {align.axis} is {align.offset} more than a multiple of {align.factor}")
    if nest.nest.ahead:
        notes.append(f"{nest.nest.ahead} step{'s' * (nest.nest.ahead != 1)} ahead")
    if nest.at is not None:
        part = ", ".join(f"{axis.name}: {axis.extent}" for axis in nest.axes)
        notes.append(f"here {part}")
    if stage.reducer is not None and nest.nest.start is None:
        notes.append(f"from {', '.join(start.text for start in stage.reducer.init)}")
    if pieces := _pieces(nest):
        notes.append(pieces)
    if nest.nest.unroll_limit is not None:
        notes.append(f"unrolled up to {nest.nest.unroll_limit} steps")
    return "; ".join(notes)


def _pieces(nest: StageNest) -> str:
    """How split axes are put together from their loops: ``k = kb * 64 + kt``."""
    by_axis: dict[str, list[str]] = {}
    rank = {axis.name: number for number, axis in enumerate(nest.axes)}
    # Loops of one step may stand anywhere: where they do changes nothing that is said.
    for loop in sorted(nest.loops, key=lambda loop: (-loop.stride, -loop.extent, rank[loop.axis], loop.name)):
        by_axis.setdefault(loop.axis, []).append(loop.name if loop.stride == 1 else f"{loop.name} * {loop.stride}")
    sums = [f"{axis} = {' + '.join(terms)}" for axis, terms in by_axis.items() if terms != [axis]]
    return ", ".join(sums)


def _loop_text(bound: BoundLoop) -> str:
    text = f"{_WORDS.get(bound.to, bound.to)} {bound.name} in {bound.extent}:"
    fused = [part.name for part in bound.parts]
    return text if fused == [bound.name] else f"{text}  # {', '.join(fused)}"


def _tails(nest: StageNest) -> Iterator[str]:
    """The conditions that skip surplus steps."""
    extents = {axis.name: axis.extent for axis in nest.axes}
    for split in nest.nest.splits:
        if split.tail == "predicate":
            yield f"{split.axis} < {extents[split.axis]}"


def _intrinsic_lines(nest: StageNest) -> Iterator[str]:
    if nest.nest.tensorize is not None:
        yield f"tensorize {nest.nest.tensorize.intrinsic} ({', '.join(loop.name for loop in nest.tensorized)}):"


def _starts(nest: StageNest) -> Iterator[tuple[str, str]]:
    """Each output and its start value."""
    assert nest.stage.reducer is not None
    for target, start in zip(_targets(nest), nest.stage.reducer.init, strict=True):
        yield target, start.text


def _targets(nest: StageNest) -> list[str]:
    where = ", ".join(axis.name for axis in nest.stage.axes)
    return [f"{output.name}[{where}]" for output in nest.stage.outputs]


def _body_lines(nest: StageNest) -> Iterator[str]:
    reducer = nest.stage.reducer
    for target, body in zip(_targets(nest), nest.stage.body, strict=True):
        value = text_from_expr(body)
        if reducer is None or reducer.op == "custom":
            yield f"{target} = {value}"
        else:
            yield _UPDATES.get(reducer.op, f"{{0}} = {reducer.op}({{0}}, {{1}})").format(target, value)
