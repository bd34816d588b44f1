"""Stages computed once, outside the kernel, from inputs that keep their value from call to call: packed weights.

A plan with such stages has two parts. The pack part computes them from the constants; the main part, which is what a
call costs, takes them as further parameters behind the task's own. What a stage reads decides whether it may be in the
former, so the check needs the task's constants; everything else of the model sees one workload, as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .errors import SpecError
from .gpu import limits_of
from .nest import Plan
from .workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nest import StageNest

PACK: Final = "pack"
"""The function of a lowered module that does the pack part; ``main`` is the other."""


def check_once(plan: Plan, constants: Sequence[str]) -> None:
    """Raises SpecError unless each stage in `once` is an intermediate one that reads constants and others of them."""
    once = plan.once
    if not once:
        return
    names = [stage.name for stage in plan.workload.stages]
    if limits_of(plan.target) is not None:
        message = f"found {once[0]!r}, and target {plan.target.kind!r} has no function that packs"
        raise SpecError(f"{message}; leave once out, the stage is then computed in each call", "schedule.once")
    for number, name in enumerate(once):
        place = f"schedule.once[{number}]"
        if name not in names:
            message = f"no stage {name!r} after the stagings; stages there: {', '.join(names)}"
            raise SpecError(message, place)
        stage = plan.workload.stage(name)
        if any(output.name in plan.workload.params for output in stage.outputs):
            raise SpecError(f"stage {name!r} is an output, which each call fills; list temporaries only", place)
        for buffer in stage.reads:
            writer = plan.workload.writer.get(buffer)
            if writer is None and buffer not in constants:
                known = ", ".join(constants) or "none"
                message = f"stage {name!r} reads {buffer!r}, which is no constant of the task (constants: {known})"
                raise SpecError(f"{message}; leave it out, or make the input a constant", place)
            if writer is not None and writer.name not in once:
                message = f"stage {name!r} reads {buffer!r}, which each call computes anew"
                raise SpecError(f"{message}; list {writer.name!r} too, or leave {name!r} out", place)
    for nest in plan.nests:
        if nest.at is not None and (nest.stage.name in once) != (nest.at.stage in once):
            inner, outer = nest.stage.name, nest.at.stage
            apart = inner if inner in once else outer
            message = f"{inner!r} is computed inside {outer!r}, but only {apart!r} is computed once"
            raise SpecError(f"{message}; give {inner!r} a nest of its own", f"schedule.once[{once.index(apart)}]")


def main_part(plan: Plan) -> Plan:
    """What each call does: the parameters are the task's, then the packed buffers."""
    if not plan.once:
        return plan
    stages = tuple(stage for stage in plan.workload.stages if stage.name not in plan.once)
    packed = packed_buffers(plan)
    workload = attrs.evolve(
        plan.workload,
        inputs=(*plan.workload.inputs, *(plan.workload.buffers[name] for name in packed)),
        stages=stages,
        params=(*plan.workload.params, *packed),
    )
    return Plan(workload=workload, nests=_nests(plan, workload), target=plan.target)


def pack_part(plan: Plan) -> Plan | None:
    """What is done once: the parameters are the constants that are read, then the packed buffers; None: nothing."""
    if not plan.once:
        return None
    stages = tuple(stage for stage in plan.workload.stages if stage.name in plan.once)
    read = {name for stage in stages for name in stage.reads}
    inputs = tuple(buffer for buffer in plan.workload.inputs if buffer.name in read)
    workload = Workload(
        inputs=inputs,
        stages=stages,
        params=(*(buffer.name for buffer in inputs), *packed_buffers(plan)),
        index_dtype=plan.workload.index_dtype,
    )
    return Plan(workload=workload, nests=_nests(plan, workload), target=plan.target)


def packed_buffers(plan: Plan) -> tuple[str, ...]:
    """What the pack part hands to the main part, in the order of the stages."""
    read = {name for stage in plan.workload.stages if stage.name not in plan.once for name in stage.reads}
    made = [output.name for stage in plan.workload.stages if stage.name in plan.once for output in stage.outputs]
    return tuple(name for name in made if name in read)


def _nests(plan: Plan, workload: Workload) -> tuple[StageNest, ...]:
    kept = {stage.name for stage in workload.stages}
    return tuple(nest for nest in plan.nests if nest.stage.name in kept)
