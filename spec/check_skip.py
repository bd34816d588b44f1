"""Rules for `skip`: a step of a loop may be left out where all that it adds is zeros of padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import SpecError
from .gpu import limits_of
from .zeros import step_tests

if TYPE_CHECKING:
    from .nest import Plan, StageNest


def check_skip(plan: Plan, nest: StageNest) -> None:
    """`skip` names a plain loop of a sum with a nest of its own, at its start or inside, some of whose steps add zero.

    Nothing is attached inside of it: what a stage there makes may be read by other steps.
    """
    loop = nest.nest.skip
    if loop is None:
        return
    if limits_of(plan.target) is not None:
        raise SpecError(f"is for CPUs, the target is {plan.target.kind!r}; leave skip out", "skip")
    stage, names = nest.stage, [bound.name for bound in nest.outside]
    if loop not in names:
        raise SpecError(f"no loop {loop!r}; loops here: {', '.join(names)}", "skip")
    if stage.reducer is None or stage.reducer.op != "sum":
        does = "adds nothing up" if stage.reducer is None else f"reduces by {stage.reducer.op!r}"
        raise SpecError(f"stage {stage.name!r} {does}; only steps of a sum may be left out, leave skip out", "skip")
    if nest.at is not None:
        message = f"stage {stage.name!r} is attached, and where its steps are in padding moves with the loops around it"
        raise SpecError(f"{message}; give it a nest of its own, or leave skip out", "skip")
    place = names.index(loop)
    if nest.bound[place].to not in ("serial", "unroll"):
        message = (
            f"loop {loop!r} is bound to {nest.bound[place].to}; steps of serial and unrolled loops may be left out"
        )
        raise SpecError(f"{message}: name one inside", "skip")
    started = nest.nest.start
    if started is None or nest.bound_position(started) > place:
        message = f"the sum is not started before loop {loop!r}, and would not be where its first step is left out"
        raise SpecError(f"{message}; name a loop at it or outside as start", "skip")
    for position in range(nest.position(loop), len(nest.loops)):
        for other in plan.inside(stage.name, position):
            message = f"stage {other.stage.name!r} is computed inside loop {loop!r}, whose steps may be left out"
            raise SpecError(f"{message}; attach it further out, or name a loop further in", "skip")
    if not step_tests(nest, plan.workload, loop):
        message = f"no step of loop {loop!r} reads padding alone"
        raise SpecError(f"{message}; name a loop over taps of a padded window, outside of those along it", "skip")
