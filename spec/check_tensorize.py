"""Checks of `tensorize`: the innermost loops of the nest are exactly what the intrinsic does, in its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .backwards import divides_backwards
from .errors import SpecError
from .expr_text import text_from_expr
from .intrinsics import INTRINSICS, is_had, needs_text, target_features
from .near_words import nearest
from .tensorized import intrinsic_of, misplaced, operands_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .intrinsics import Intrinsic
    from .nest import Plan, StageNest
    from .tensorized import Operand


def check_tensorized(plan: Plan, nest: StageNest) -> None:
    """`tensorize` names an intrinsic, and loops that it can do: every rule of `TENSORIZE_RULES`."""
    chosen = nest.nest.tensorize
    if chosen is None:
        return
    intrinsic = intrinsic_of(nest)
    if intrinsic is None:
        close = nearest(chosen.intrinsic, INTRINSICS)
        here = [one.name for one in INTRINSICS.values() if plan.target.kind == one.kind]
        hint = f"did you mean {close!r}?" if close else f"known for {plan.target.kind}: {', '.join(here) or 'none'}"
        raise SpecError(f"no intrinsic {chosen.intrinsic!r}; {hint}", "tensorize.intrinsic")
    for rule in TENSORIZE_RULES:
        try:
            rule(plan, nest, intrinsic)
        except SpecError as error:
            raise error.under("tensorize") from error


def check_kind(plan: Plan, _: StageNest, intrinsic: Intrinsic) -> None:
    """A CPU has its own intrinsics, and so have the GPUs of a kind."""
    if plan.target.kind != intrinsic.kind:
        message = f"{intrinsic.name} is for {intrinsic.kind}, the target is {plan.target.kind!r}"
        raise SpecError(f"{message}; leave tensorize out, or name another intrinsic", "intrinsic")


def check_loops(_: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """The loops from `tensorize.loop` inwards have the intrinsic's kinds and extents, in its order."""
    assert nest.nest.tensorize is not None
    loop = nest.nest.tensorize.loop
    names = [own.name for own in nest.loops]
    if loop not in names:
        raise SpecError(f"no loop {loop!r}; loops here: {', '.join(names)}", "loop")
    reduce = {axis.name for axis in intrinsic.stage.reduce}
    wanted = [(axis.extent, axis.name in reduce) for axis in intrinsic.loops]
    if [(own.extent, own.reduce) for own in nest.tensorized] != wanted:
        found = ", ".join(f"{own.name} in {own.extent}" for own in nest.tensorized)
        does = ", then ".join(f"a {'reduce' if is_reduce else 'spatial'} loop of {n}" for n, is_reduce in wanted)
        message = f"the loops from {loop!r} inwards are {found}; {intrinsic.name} does {does}"
        raise SpecError(f"{message}: split and order them so", "loop")


def check_unbound(plan: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """The intrinsic's loops are bound to nothing, and no stage is computed inside them."""
    inner = {own.name for own in nest.tensorized}
    for bound in nest.bound:
        parts = [part.name for part in bound.parts if part.name in inner]
        if parts and (bound.to != "serial" or len(bound.parts) > 1):
            found = f"fused into {bound.name!r}" if len(bound.parts) > 1 else f"bound to {bound.to}"
            raise SpecError(f"loop {parts[0]!r} is {found}; leave it to {intrinsic.name}", "loop")
    for position in range(len(nest.loops) - len(inner), len(nest.loops)):
        for other in plan.inside(nest.stage.name, position):
            message = f"stage {other.stage.name!r} is computed inside the loops of {intrinsic.name}"
            raise SpecError(f"{message}; attach it further out", "loop")


def check_whole(_: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """No step of the intrinsic's loops is skipped."""
    axes = {own.axis for own in nest.tensorized}
    for split in nest.nest.splits:
        if split.tail == "predicate" and split.axis in axes:
            message = f"axis {split.axis!r} has a tail that a predicate skips, and {intrinsic.name} skips nothing"
            raise SpecError(f'{message}; use factors that divide it, or tail="pad" in a staging', "loop")
    for axis in (*nest.stage.axes, *nest.stage.reduce):
        span = nest.box.get(axis.name)
        if span is not None and axis.name in axes and span.base and axis.extent % span.length:
            message = f"axis {axis.name!r} is computed {span.length} of {axis.extent} at a time, the last time fewer"
            raise SpecError(f"{message}, and {intrinsic.name} skips nothing; use factors that divide it", "loop")


def check_started(_: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """The stage is a sum that starts outside the intrinsic, which only adds; a copy starts nothing."""
    reducer, start = nest.stage.reducer, nest.nest.start
    if not intrinsic.stage.reduce:
        if reducer is not None:
            message = f"stage {nest.stage.name!r} is a reduction, and {intrinsic.name} copies"
            raise SpecError(f"{message}: leave tensorize out", "intrinsic")
        return
    assert reducer is not None  # there is a reduce loop
    if reducer.op != "sum":
        message = f"stage {nest.stage.name!r} is a reduction by {reducer.op}; {intrinsic.name} adds up"
        raise SpecError(f"{message}: leave tensorize out", "intrinsic")
    inside = [own.name for own in nest.tensorized[1:]]
    if start is None or start in inside:
        outermost = next(bound.name for bound in nest.bound if bound.reduce)
        first = nest.tensorized[0].name
        names = [bound.name for bound in nest.bound]
        place = outermost if names.index(outermost) < names.index(first) else first
        raise SpecError(
            f"{intrinsic.name} adds to what is there; start the sum outside of it: start = {place!r}", "loop"
        )


def check_body(plan: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """The stage computes what the intrinsic does, on its dtypes."""
    output = nest.stage.outputs[0].dtype
    if operands_of(nest, intrinsic, plan.workload) is not None and output == intrinsic.output.dtype:
        return
    buffers = plan.workload.buffers
    read = ", ".join(f"{name} {buffers[name].dtype}" for name in nest.stage.reads)
    found = f"{text_from_expr(nest.stage.body[0])} into {output} ({read})"
    inputs = ", ".join(f"{buffer.name} {buffer.dtype}" for buffer in intrinsic.computes.inputs)
    wanted = f"{text_from_expr(intrinsic.stage.body[0])} into {intrinsic.output.dtype} ({inputs})"
    does = "adds" if intrinsic.stage.reduce else "puts"
    message = f"stage {nest.stage.name!r} {does} {found}; {intrinsic.name} {does} {wanted}"
    raise SpecError(f"{message}: choose another intrinsic", "intrinsic")


def check_layout(plan: Plan, nest: StageNest, intrinsic: Intrinsic) -> None:
    """Every operand lies in memory as the intrinsic takes it, without gaps."""
    operands = operands_of(nest, intrinsic, plan.workload)
    assert operands is not None
    for operand in operands.values():
        if any(map(divides_backwards, operand.load.indices)):
            message = f"{text_from_expr(operand.load)} is read backwards through a layout"
            raise SpecError(f"{message}, which {intrinsic.name} cannot take; leave tensorize out", "loop")
    if intrinsic.of_warp:
        return  # it is held against the memories that the operands are in: check_wmma.py
    for name in misplaced(operands, intrinsic):
        own = {axis.name: loop.name for axis, loop in zip(intrinsic.loops, nest.tensorized, strict=True)}
        wanted = ", ".join(f"{own[loop]} by {step}" for loop, step in intrinsic.strides(name).items())
        found = _found(operands[name], intrinsic, own)
        remedy = "order them innermost in its layout" if name == intrinsic.output.name else "reindex or pack it"
        load = text_from_expr(operands[name].load)
        message = f"{load} moves {found}, and operand {name} of {intrinsic.name} must move with {wanted}"
        raise SpecError(f"{message} elements; {remedy}", "loop")


def _found(operand: Operand, intrinsic: Intrinsic, own: dict[str, str]) -> str:
    strides = operand.strides({axis.name: axis.extent for axis in intrinsic.loops})
    if strides is None:
        return f"with {' and '.join(own.values())} by no fixed step"
    return f"with {', '.join(f'{own[loop]} by {step}' for loop, step in strides.items())}"


TENSORIZE_RULES: Final[tuple[Callable[[Plan, StageNest, Intrinsic], None], ...]] = (
    check_kind,
    check_loops,
    check_unbound,
    check_whole,
    check_started,
    check_body,
    check_layout,
)
"""The rules in the order they are tried."""


def check_intrinsics(plan: Plan) -> None:
    """SpecError where a target says of itself that it lacks an intrinsic of the plan.

    A target that names no CPU is this machine's or any other's: the compiler is asked when it is built for. A GPU that
    names no architecture has none.
    """
    target = plan.target
    used = [(nest, intrinsic) for nest in plan.nests if (intrinsic := intrinsic_of(nest)) is not None]
    has = target_features(target) if used else None
    for nest, intrinsic in used:
        if has is not None and not is_had(intrinsic, has):
            options = "".join(f" {option.name}={option.value}" for option in target.options)
            message = f"{intrinsic.name} of stage {nest.stage.name!r} needs {needs_text(intrinsic)}"
            what = "an architecture" if intrinsic.of_warp else "a CPU"
            remedy = f"name {what} that has it, or leave tensorize out"
            raise SpecError(f"{message}, which target {target.kind}{options} lacks; {remedy}", "schedule.nests")
