"""Checks of a workload: every rule one function, every message with what was found, what is allowed, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import attrs

from .canonical import stage_order
from .dtypes import is_integer
from .errors import SpecError
from .expr import Acc, Axis, Const, Expr, If, Load, children, loads, walk
from .expr_text import text_from_expr
from .infer import Scope, infer_dtype
from .linear import Facts, Range, facts_from_extents, is_index, narrowed, value_range
from .overflow import check_overflow

if TYPE_CHECKING:
    from .workload import Stage, Workload

MAX_STAGES = 64
MAX_INPUTS = 256
MAX_RANK = 16
MAX_WORK: Final = 2**28
"""Operations of NumPy, on one point each, that go into the bounds of a workload's loads at most: a second."""


def check_workload(workload: Workload, ranges: Mapping[str, Range] | None = None) -> None:
    """Raises SpecError unless `workload` is well formed; `ranges` are the values that integer inputs may take.

    The last ones that were found well formed are remembered: many schedules are read of one task.
    """
    known = tuple(sorted((ranges or {}).items()))
    try:
        hash((workload, known))
    except TypeError:  # somewhere a list stands for a tuple
        _check_well_formed.__wrapped__(workload, known)
    else:
        _check_well_formed(workload, known)


@lru_cache(maxsize=256)
def _check_well_formed(workload: Workload, ranges: tuple[tuple[str, Range], ...]) -> None:
    check_counts(workload)
    check_names(workload)
    check_params(workload)
    check_order(workload)
    check_sizes(workload)
    known = dict(ranges)
    work = [MAX_WORK]
    for number, stage in enumerate(workload.stages):
        try:
            check_axes(stage)
            check_reducer(stage, workload)
            check_types(stage, workload)
            known |= check_bounds(stage, workload, known, work)
        except SpecError as error:
            raise error.under(f"stages[{number}] {stage.name!r}") from error


def check_counts(workload: Workload) -> None:
    """No more stages, inputs and reduce axes than a computation has: other checks take longer than in proportion."""
    if len(workload.stages) > MAX_STAGES:
        raise SpecError(f"{len(workload.stages)} stages; allowed: 1 to {MAX_STAGES}", "stages")
    if len(workload.inputs) > MAX_INPUTS:
        raise SpecError(f"{len(workload.inputs)} inputs; at most {MAX_INPUTS}", "inputs")
    for number, stage in enumerate(workload.stages):
        if len(stage.reduce) > MAX_RANK:
            raise SpecError(f"{len(stage.reduce)} reduce axes; at most {MAX_RANK}", f"stages[{number}].reduce")


def check_names(workload: Workload) -> None:
    """Buffers and stages have names of their own."""
    seen: set[str] = set()
    names = [b.name for b in workload.inputs] + [o.name for s in workload.stages for o in s.outputs]
    for name in names:
        if name in seen:
            raise SpecError(f"two buffers are called {name!r}; give each its own name")
        seen.add(name)
    stages = [stage.name for stage in workload.stages]
    for stage in workload.stages:
        if stages.count(stage.name) > 1:
            raise SpecError(f"two stages are called {stage.name!r}; give each its own name")
        if not stage.outputs or len(stage.body) != len(stage.outputs):
            raise SpecError(f"stage {stage.name!r} has {len(stage.body)} values for {len(stage.outputs)} outputs")
        if len(stage.outputs) == 1 and stage.outputs[0].name != stage.name:
            raise SpecError(
                f"stage {stage.name!r} fills {stage.outputs[0].name!r}; a single output has its stage's name"
            )


def check_params(workload: Workload) -> None:
    """Parameters are known, each once; every input is one; at least one output is."""
    inputs = {buffer.name for buffer in workload.inputs}
    for name in workload.params:
        if workload.params.count(name) > 1:
            raise SpecError(f"parameter {name!r} is listed twice", "params")
        if name not in inputs and name not in workload.writer:
            raise SpecError(f"parameter {name!r} is no buffer of this workload", "params")
    missing = sorted(inputs - set(workload.params))
    if missing:
        raise SpecError(f"input {missing[0]!r} is not a parameter; add it to params", "params")
    if not workload.outputs:
        raise SpecError("no output among the parameters; add the buffer that is asked for", "params")
    if workload.index_dtype not in ("int32", "int64"):
        raise SpecError(f"index dtype {workload.index_dtype!r}; allowed: int32, int64", "index_dtype")


def check_order(workload: Workload) -> None:
    """Stages stand after those they read, and each is needed by an output."""
    known = {buffer.name for buffer in workload.inputs}
    for number, stage in enumerate(workload.stages):
        for buffer in stage.reads:
            if buffer not in known:
                later = buffer in workload.writer
                reason = "is filled by this or a later stage; put stages in order" if later else "is not known"
                raise SpecError(f"stage {stage.name!r} reads {buffer!r}, which {reason}", f"stages[{number}]")
        known.update(output.name for output in stage.outputs)
    needed = {stage.name for stage in stage_order(workload)}
    for stage in workload.stages:
        if stage.name not in needed:
            raise SpecError(f"stage {stage.name!r} is needed by no output; remove it", "stages")


def check_sizes(workload: Workload) -> None:
    """No buffer has more elements than its index dtype can count."""
    limit = 2**31 - 1 if workload.index_dtype == "int32" else 2**46
    for buffer in workload.buffers.values():
        if len(buffer.shape) > MAX_RANK:
            raise SpecError(f"buffer {buffer.name!r} has {len(buffer.shape)} dimensions; at most {MAX_RANK}")
        total = math.prod(buffer.shape)
        if total > limit:
            raise SpecError(f"buffer {buffer.name!r} has {total} elements; at most {limit} fit {workload.index_dtype}")


def check_axes(stage: Stage) -> None:
    """Axes of a stage have names of their own; reduce axes come with a reducer and the other way round."""
    names = [axis.name for axis in (*stage.axes, *stage.reduce)]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two axes are called {name!r}; give each its own name", "axes")
    if bool(stage.reduce) != (stage.reducer is not None):
        raise SpecError("a reducer and reduce axes come together; add the one that is missing", "reduce")


def check_reducer(stage: Stage, workload: Workload) -> None:
    """Start values have the outputs' dtypes; custom reducers alone read accumulators; tuples hold no bfloat16."""
    reducer = stage.reducer
    uses_acc = any(isinstance(node, Acc) for body in stage.body for node in walk(body))
    if reducer is None or reducer.op != "custom":
        if uses_acc:
            raise SpecError("acc is for custom reducers; take it out or make the reducer custom", "body")
        if reducer is not None and len(stage.outputs) != 1:
            raise SpecError(f"reducer {reducer.op} fills one output, found {len(stage.outputs)}; use custom", "reducer")
    elif not uses_acc:
        # TVM sees no reduction in it, and may lose its value.
        raise SpecError("a custom reducer reads what there is so far, acc[0]; without, leave the reduction out", "body")
    if reducer is None:
        return
    if len(reducer.init) != len(stage.outputs):
        raise SpecError(f"{len(reducer.init)} start values for {len(stage.outputs)} outputs", "reducer.init")
    for start, output in zip(reducer.init, stage.outputs, strict=True):
        if start.dtype != output.dtype:
            raise SpecError(f"start value {text_from_expr(start)} is not a {output.dtype} constant", "reducer.init")
    check_reduced_together(stage, workload)


def check_reduced_together(stage: Stage, workload: Workload) -> None:
    """A reduction of several outputs has no bfloat16.

    TVM keeps the new values in variables until all are known, and miscompiles bfloat16 there.
    """
    if stage.reducer is None or len(stage.outputs) == 1:
        return
    for name in (*(output.name for output in stage.outputs), *stage.reads):
        if workload.buffers[name].dtype == "bfloat16":
            message = f"{name!r} is bfloat16 in a reduction of several outputs, which TVM cannot build"
            raise SpecError(f"{message}; cast it to float32 in a stage of its own", "reducer")


def check_types(stage: Stage, workload: Workload) -> None:
    """Every value is well typed and has the dtype of its output."""
    scope = Scope(
        buffers=workload.buffers,
        axes=frozenset(stage.extents),
        slots=tuple(output.dtype for output in stage.outputs),
        index_dtype=workload.index_dtype,
    )
    for body, output in zip(stage.body, stage.outputs, strict=True):
        found = infer_dtype(body, scope)
        if found != output.dtype:
            raise SpecError(f"the value is {found}, output {output.name!r} is {output.dtype}; cast one", "body")


def check_bounds(
    stage: Stage, workload: Workload, ranges: Mapping[str, Range], work: list[int] | None = None
) -> dict[str, Range]:
    """Every load is inside its buffer: shown by intervals and the guards around it, else by enumeration.

    What that takes is taken off the one number in `work`. `ranges` are the values of integer buffers; returns those of
    the stage's own, which later stages may load by.
    """
    dtypes = {name: buffer.dtype for name, buffer in workload.buffers.items()}
    facts = Facts(facts_from_extents(stage.extents).axes, ranges, dtypes=dtypes)
    for body in stage.body:
        _check_loads(body, _Place(facts=facts, guards=(), extents=stage.extents, work=work or [MAX_WORK]), workload)
    if stage.reducer is not None:
        return {}
    values = zip(stage.outputs, stage.body, strict=True)
    return {output.name: value_range(body, facts) for output, body in values if is_integer(output.dtype)}


@attrs.frozen(kw_only=True)
class _Place:
    """What is known where an expression stands: facts for intervals, and the guards themselves."""

    facts: Facts
    guards: tuple[tuple[Expr, bool], ...]
    extents: Mapping[str, int]
    work: list[int]

    def inside(self, cond: Expr, holds: bool) -> _Place:
        """The place in a branch where `cond` holds, or does not."""
        guards = (*self.guards, (cond, holds))
        return _Place(facts=narrowed(self.facts, cond, holds), guards=guards, extents=self.extents, work=self.work)


def _check_loads(node: Expr, place: _Place, workload: Workload) -> None:
    if isinstance(node, (Axis, Const)):
        return
    check_overflow(node, place.facts, workload.index_dtype)
    if is_index(node):
        return
    if isinstance(node, If):
        _check_loads(node.cond, place, workload)
        _check_loads(node.then, place.inside(node.cond, True), workload)
        _check_loads(node.otherwise, place.inside(node.cond, False), workload)
        return
    if isinstance(node, Load):
        shape = workload.buffers[node.buffer].shape
        for dimension, (position, extent) in enumerate(zip(node.indices, shape, strict=True)):
            _check_index(node, dimension, position, extent, place)
    for child in children(node):
        _check_loads(child, place, workload)


def _check_index(node: Load, dimension: int, position: Expr, extent: int, place: _Place) -> None:
    low, high = value_range(position, place.facts)
    if low >= 0 and high < extent:
        return
    gathers = bool(loads(position))
    if not gathers:
        # Imported here: a workload that intervals can show to be right, and most are, must not pay for NumPy.
        from .bounds_exact import exact_range

        low, high = exact_range(position, place.guards, place.extents, place.work) or (low, high)
        if low >= 0 and high < extent:
            return
    hint = "clamp it with min and max, or give the task ranges" if gathers else "guard it with 'x if cond else y'"
    raise SpecError(
        f"{text_from_expr(node)}: index {dimension} runs over {low}..{high}, allowed is 0..{extent - 1}; {hint}",
        "body",
    )
