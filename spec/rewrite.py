"""The first half of the compiler, data to data: each staging turns a workload into an equal one with another stage.

Pure Python, no TVM; the NumPy evaluator alone proves these passes. `PASSES` lists them by staging.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from .check_algorithm import starting_workload
from .dtypes import INDEX
from .errors import SpecError
from .expr import (
    Axis,
    Binary,
    Cast,
    Expr,
    If,
    Load,
    axes_in,
    children,
    const,
    index,
    substitute,
    transform,
    with_children,
)
from .expr_text import MAX_NAME, text_from_expr
from .infer import dtype_of_index
from .layout import recut
from .linear import Facts, facts_from_extents, is_index, narrowed, value_range
from .padding import padded_with_identity, reaching
from .reducers import identity_element
from .schedule import Accumulate, Inline, Pack, Partial, Reindex, Schedule, Staging
from .simplify import simplify
from .staged_read import staged_read
from .workload import IterAxis, Output, Reducer, Stage, Workload, output_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_NODES: Final = 2**14
"""How large an expression may become: inlining again and again what is read twice doubles it every time."""
MAX_LEVELS: Final = 2**8
"""How deep an expression may become, as deep as one that is read: later passes, TVM's too, go down by recursion."""
MAX_STAGINGS: Final = 128
"""Each staging is checked against all that the ones before it left."""
STAGINGS_KEPT: Final = 512
"""Stages that each pass remembers with what it made of them: the candidates of a search differ in few of theirs."""


def rewrite(schedule: Schedule, workload: Workload) -> Workload:
    """The workload, or that of the schedule's algorithm, with every staging applied in order.

    SpecError with a path where something does not fit.
    """
    workload = starting_workload(schedule, workload)
    if len(schedule.stagings) > MAX_STAGINGS:
        raise SpecError(f"{len(schedule.stagings)} stagings; at most {MAX_STAGINGS}", "schedule.stagings")
    for number, staging in enumerate(schedule.stagings):
        try:
            workload = apply_staging(workload, staging)
        except SpecError as error:
            raise error.under(f"schedule.stagings[{number}]") from error
    return workload


def apply_staging(workload: Workload, staging: Staging) -> Workload:
    """One staging applied."""
    return PASSES[type(staging)](workload, staging)


def inline(workload: Workload, staging: Inline) -> Workload:
    """Substitutes a stage's values where they are read."""
    stage = _stage(workload, staging.stage)
    if stage.reducer is not None:
        raise SpecError(f"stage {stage.name!r} reduces; only stages without a reduction can be inlined", "stage")
    values = {output.name: body for output, body in zip(stage.outputs, stage.body, strict=True)}
    if not values.keys().isdisjoint(workload.params):
        raise SpecError(f"stage {stage.name!r} is an output; only intermediate stages can be inlined", "stage")
    found = [load.buffer for other in workload.stages for load in other.loads]
    for buffer, value in values.items():
        _check_size(value, found.count(buffer))

    readers = [reader for buffer in values for reader in workload.readers(buffer)]
    inlined = {reader.name: (_inlined(reader, stage, _seen(workload, reader, stage)),) for reader in readers}
    return _replaced(workload, inlined | {stage.name: ()})


@lru_cache(maxsize=STAGINGS_KEPT)
def _inlined(reader: Stage, stage: Stage, seen: Workload) -> Stage:
    names = [axis.name for axis in stage.axes]
    values = {output.name: body for output, body in zip(stage.outputs, stage.body, strict=True)}

    def visit(node: Expr) -> Expr:
        if isinstance(node, Load) and node.buffer in values:
            return substitute(values[node.buffer], dict(zip(names, _as_axes(node, seen), strict=True)))
        return node

    return _with_body(reader, visit)


def accumulate(workload: Workload, staging: Accumulate) -> Workload:
    """Computes a stage over a re-cut iteration space into buffers of that layout, then copies out what is valid."""
    stage = _stage(workload, staging.stage)
    for name in (staging.as_, *output_names(staging.as_, len(stage.outputs))):
        _check_new_name(workload, name)
    return _replaced(workload, {stage.name: _accumulated(stage, staging, _seen(workload, stage))})


@lru_cache(maxsize=STAGINGS_KEPT)
def _accumulated(stage: Stage, staging: Accumulate, seen: Workload) -> tuple[Stage, Stage]:
    buffers = output_names(staging.as_, len(stage.outputs))
    reduce_names = _reduce_names(stage, staging)
    spatial = recut(
        stage.axes,
        [f for f in staging.fuses if not reduce_names & {*f.fuse}],
        [s for s in staging.splits if s.axis not in reduce_names],
        clamp=True,
    )
    reduced = recut(
        stage.reduce,
        [f for f in staging.fuses if reduce_names & {*f.fuse}],
        [s for s in staging.splits if s.axis in reduce_names],
        clamp=False,
    )
    _check_tails(staging.splits)
    axes = _ordered(spatial.axes, staging.order)
    extents = {axis.name: axis.extent for axis in (*axes, *reduced.axes)}
    if len(extents) != len(axes) + len(reduced.axes):
        raise SpecError("a spatial and a reduce axis have the same name; give each its own", "splits")
    old_in_new, facts = {**spatial.old_in_new, **reduced.old_in_new}, facts_from_extents(extents)
    bodies = [substitute(body, old_in_new) for body in stage.body]
    if spatial.clamps:
        bodies = [reaching(body, spatial.clamps, facts, seen.buffers) for body in bodies]
    values = [padded_with_identity(body, reduced, stage, seen.buffers) for body in bodies]
    staged = Stage(
        name=staging.as_,
        axes=axes,
        reduce=reduced.axes,
        outputs=tuple(Output(name=n, dtype=o.dtype) for n, o in zip(buffers, stage.outputs, strict=True)),
        body=tuple(simplify(value, facts) for value in values),
        reducer=stage.reducer,
    )
    position = tuple(spatial.new_in_old[axis.name] for axis in axes)
    facts = facts_from_extents({a.name: a.extent for a in stage.axes})
    copied = tuple(simplify(Load(name, position), facts) for name in buffers)
    return staged, Stage(name=stage.name, axes=stage.axes, outputs=stage.outputs, body=copied)


def _reduce_names(stage: Stage, staging: Accumulate) -> set[str]:
    """Names of reduce axes, and of what fuses make of them."""
    names = {axis.name for axis in stage.reduce}
    for number, fuse in enumerate(staging.fuses):
        inside = names & {*fuse.fuse}
        if inside and inside != {*fuse.fuse}:
            raise SpecError("fuses spatial and reduce axes together; fuse axes of one kind", f"fuses[{number}].fuse")
        if inside:
            names.add(fuse.as_)
    return names


def _check_tails(splits: Sequence[object]) -> None:
    for number, split in enumerate(splits):
        if getattr(split, "tail", "none") == "predicate":
            raise SpecError('found "predicate"; a staging takes "none" or "pad"', f"splits[{number}].tail")


def reindex(workload: Workload, staging: Reindex) -> Workload:
    """Stages one read of a stage, indexed by the stage's axes."""
    stage = _stage(workload, staging.stage)
    _check_new_name(workload, staging.as_)
    return _replaced(workload, {stage.name: _reindexed(stage, staging, _seen(workload, stage))})


@lru_cache(maxsize=STAGINGS_KEPT)
def _reindexed(stage: Stage, staging: Reindex, seen: Workload) -> tuple[Stage, Stage]:
    _check_tails(staging.splits)
    unit = staged_read(stage, staging, seen.index_dtype)
    cut = recut((*stage.axes, *stage.reduce), (), staging.splits, clamp=True)
    axes = _ordered(cut.axes, staging.order, partial=True)
    staged_names = {axis.name for axis in axes}
    lone = {axis.name: index(0) for axis in cut.axes if axis.name not in staged_names and axis.extent == 1}
    body = substitute(substitute(unit, cut.old_in_new), lone)
    missing = sorted(axes_in(body) - staged_names)
    if missing:
        message = f"{text_from_expr(unit)} moves with axis {missing[0]!r}, which the layout leaves out; add it"
        raise SpecError(message, "order")
    dtypes = {name: buffer.dtype for name, buffer in seen.buffers.items()}
    facts = attrs.evolve(facts_from_extents({a.name: a.extent for a in axes}), dtypes=dtypes)
    staged = Stage(
        name=staging.as_,
        axes=axes,
        outputs=(Output(name=staging.as_, dtype=seen.buffers[staging.reads].dtype),),
        body=(_clamped(simplify(body, facts), facts, seen),),
    )
    read = Load(staging.as_, tuple(cut.new_in_old[axis.name] for axis in axes))
    return staged, _with_body(stage, lambda node: read if node == unit else node)


def pack(workload: Workload, staging: Pack) -> Workload:
    """Stages a whole buffer in another layout for one reader."""
    stage = _stage(workload, staging.stage)
    _check_new_name(workload, staging.as_)
    return _replaced(workload, {stage.name: _packed(stage, staging, _seen(workload, stage))})


@lru_cache(maxsize=STAGINGS_KEPT)
def _packed(stage: Stage, staging: Pack, seen: Workload) -> tuple[Stage, Stage]:
    _check_tails(staging.splits)
    if staging.reads not in stage.reads:
        raise SpecError(
            f"stage {stage.name!r} does not read {staging.reads!r}; it reads {', '.join(stage.reads)}",
            "reads",
        )
    buffer = seen.buffers[staging.reads]
    if len(staging.dims) != len(buffer.shape):
        raise SpecError(f"{len(staging.dims)} names for the {len(buffer.shape)} dimensions of {buffer.name!r}", "dims")
    dims = tuple(IterAxis(name=n, extent=e) for n, e in zip(staging.dims, buffer.shape, strict=True))
    cut = recut(dims, (), staging.splits, clamp=True, order=staging.order)
    axes = _ordered(cut.axes, staging.order)
    body = Load(buffer.name, tuple(cut.old_in_new[name] for name in staging.dims))
    staged = Stage(
        name=staging.as_,
        axes=axes,
        outputs=(Output(name=staging.as_, dtype=buffer.dtype),),
        body=(simplify(body, facts_from_extents({a.name: a.extent for a in axes})),),
    )

    def visit(node: Expr) -> Expr:
        if not isinstance(node, Load) or node.buffer != buffer.name:
            return node
        where = dict(zip(staging.dims, _as_axes(node, seen), strict=True))
        return Load(staging.as_, tuple(substitute(cut.new_in_old[axis.name], where) for axis in axes))

    return staged, _with_body(stage, visit)


def partial(workload: Workload, staging: Partial) -> Workload:
    """Splits a reduction into partial results and a reduction over them."""
    stage = _stage(workload, staging.stage)
    if stage.reducer is None or stage.reducer.op == "custom" or len(stage.outputs) != 1:
        raise SpecError(f"stage {stage.name!r} is no sum, prod, min or max; partial results need one", "stage")
    _check_new_name(workload, staging.as_)
    return _replaced(workload, {stage.name: _in_parts(stage, stage.reducer, staging, _seen(workload, stage))})


@lru_cache(maxsize=STAGINGS_KEPT)
def _in_parts(stage: Stage, reducer: Reducer, staging: Partial, seen: Workload) -> tuple[Stage, Stage]:
    _check_tails(staging.splits)
    cut = recut(stage.reduce, (), staging.splits, clamp=False)
    by_name = {axis.name: axis for axis in cut.axes}
    for number, name in enumerate(staging.keep):
        if name not in by_name:
            raise SpecError(f"no reduce axis {name!r}; reduce axes here: {', '.join(by_name)}", f"keep[{number}]")
        if name in {axis.name for axis in stage.axes}:
            raise SpecError(f"a spatial axis is called {name!r} too; choose another name", f"keep[{number}]")
    kept = tuple(by_name[name] for name in staging.keep)
    rest = tuple(axis for axis in cut.axes if axis.name not in staging.keep)
    if not kept or not rest:
        raise SpecError("keep some of the reduce axes and leave some; split an axis first", "keep")
    start = identity_element(reducer.op, stage.outputs[0].dtype)
    if reducer.init != (start,):
        raise SpecError(
            f"stage {stage.name!r} starts from {text_from_expr(reducer.init[0])}; partial results need the "
            f"neutral {text_from_expr(start)}",
            "stage",
        )
    body = padded_with_identity(substitute(stage.body[0], cut.old_in_new), cut, stage, seen.buffers)
    axes = (*stage.axes, *kept)
    staged = Stage(
        name=staging.as_,
        axes=axes,
        reduce=rest,
        outputs=(Output(name=staging.as_, dtype=stage.outputs[0].dtype),),
        body=(simplify(body, facts_from_extents({a.name: a.extent for a in (*axes, *rest)})),),
        reducer=reducer,
    )
    joined = Load(staging.as_, tuple(Axis(axis.name) for axis in axes))
    return staged, attrs.evolve(stage, reduce=kept, body=(joined,))


PASSES: Final[Mapping[type, Callable[[Workload, Any], Workload]]] = {
    Inline: inline,
    Accumulate: accumulate,
    Reindex: reindex,
    Pack: pack,
    Partial: partial,
}
"""Staging → the pass that applies it."""


def _clamped(node: Expr, facts: Facts, workload: Workload) -> Expr:
    """Keeps every load inside its buffer where a guard further out, now left behind, used to do so."""
    if isinstance(node, If):
        then = _clamped(node.then, narrowed(facts, node.cond, True), workload)
        return If(node.cond, then, _clamped(node.otherwise, narrowed(facts, node.cond, False), workload))
    if not isinstance(node, Load):
        return with_children(node, tuple(_clamped(child, facts, workload) for child in children(node)))
    indices: list[Expr] = []
    for position, extent in zip(node.indices, workload.buffers[node.buffer].shape, strict=True):
        low, high = value_range(position, facts)
        dtype = INDEX if is_index(position) else dtype_of_index(position, workload)
        inside = Binary("min", position, const(dtype, extent - 1)) if high >= extent else position
        indices.append(Binary("max", inside, const(dtype, 0)) if low < 0 else inside)
    return Load(node.buffer, tuple(indices))


def _as_axes(load: Load, workload: Workload) -> tuple[Expr, ...]:
    """The indices of a load, cast where they are no index arithmetic, so that they may stand in an axis' place."""
    wanted = workload.index_dtype
    return tuple(
        position if is_index(position) or dtype_of_index(position, workload) == wanted else Cast(wanted, position)
        for position in load.indices
    )


def _seen(workload: Workload, *stages: Stage) -> Workload:
    """What of a workload decides what becomes of some stages, whatever else there is: the buffers they read."""
    known = workload.buffers
    names = dict.fromkeys(name for stage in stages for name in stage.reads)
    read = tuple(known[name] for name in names if name in known)
    return Workload(inputs=read, stages=(), params=(), index_dtype=workload.index_dtype)


def _stage(workload: Workload, name: str) -> Stage:
    try:
        return workload.stage(name)
    except SpecError as error:
        raise error.under("stage") from error


def _check_new_name(workload: Workload, name: str) -> None:
    if len(name) > MAX_NAME:
        raise SpecError(f"the name {name!r} has {len(name)} characters; at most {MAX_NAME}: choose a shorter one", "as")
    if name in workload.buffers or any(stage.name == name for stage in workload.stages):
        raise SpecError(f"the name {name!r} is taken; choose another", "as")


def _ordered(axes: Sequence[IterAxis], order: Sequence[str], *, partial: bool = False) -> tuple[IterAxis, ...]:
    """The axes in the order given; every one of them unless `partial`."""
    by_name = {axis.name: axis for axis in axes}
    for number, name in enumerate(order):
        if name not in by_name:
            raise SpecError(f"no axis {name!r}; axes here: {', '.join(by_name)}", f"order[{number}]")
    missing = [name for name in by_name if name not in order]
    if missing and not partial:
        raise SpecError(f"axis {missing[0]!r} is left out; list every one of {', '.join(by_name)}", "order")
    return tuple(by_name[name] for name in order)


def _with_body(stage: Stage, visit: Callable[[Expr], Expr]) -> Stage:
    facts = facts_from_extents(stage.extents)
    new = [transform(body, visit) for body in stage.body]
    for body in new:
        _check_size(body)
    return attrs.evolve(stage, body=tuple(simplify(body, facts) for body in new))


def _check_size(node: Expr, copies: int = 1) -> None:
    """Raises SpecError where `copies` of an expression are too much to work with, without walking all of it."""
    left = MAX_NODES // max(1, copies)
    waiting = [(node, 1)]
    while waiting:
        latest, level = waiting.pop()
        left -= 1
        if left < 0:
            raise SpecError(
                f"its value becomes an expression of more than {MAX_NODES} nodes; give it a buffer of its own", "stage"
            )
        if level > MAX_LEVELS:
            raise SpecError(
                f"its value becomes an expression of more than {MAX_LEVELS} levels; give it a buffer of its own",
                "stage",
            )
        waiting += [(child, level + 1) for child in children(latest)]


def _replaced(workload: Workload, stages: Mapping[str, tuple[Stage, ...]]) -> Workload:
    """The workload with each named stage replaced by others, in place."""
    new: list[Stage] = []
    for stage in workload.stages:
        new += stages.get(stage.name, (stage,))
    return attrs.evolve(workload, stages=tuple(new))
