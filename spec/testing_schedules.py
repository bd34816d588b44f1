"""Hypothesis strategies of schedules: for any workload, stagings and nests of every kind that pass the checks.

Each piece is drawn around what the workload offers at that point and kept if the checks accept it, so that a drawn
schedule is always legal; what is drawn first, and what shrinking ends at, is the empty schedule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import attrs
from hypothesis import strategies as st

from .algorithm import Algorithm
from .check import check_nests, check_schedule
from .errors import SpecError
from .expr import axes_in, loads
from .gpu import limits_of
from .nest import plan_from_nests
from .rewrite import apply_staging
from .schedule import (
    Accumulate,
    At,
    Bind,
    BindFused,
    BindLoop,
    Fuse,
    Inline,
    Nest,
    Pack,
    Partial,
    Reindex,
    Schedule,
    Split,
    Staging,
)
from .staged_read import ways_to_read
from .task import CPU, Task
from .testing_gpu_schedules import drawn_for_gpu
from .zeros import zero_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .workload import IterAxis, Stage, Workload

Draw: TypeAlias = st.DrawFn


@st.composite
def schedules(draw: Draw, task: Task | Workload, max_stagings: int = 3, *, checked: bool = True) -> Schedule:
    """Schedules of a task that pass the checks; of a workload alone, those for a CPU.

    With `checked` False every piece drawn is kept, so that most of them break some rule: for tests of the checks.
    """
    workload, target = (task.workload, task.target) if isinstance(task, Task) else (task, CPU)
    rewritten, stagings = workload, []
    for number in range(draw(st.integers(0, max_stagings))):
        staging = _staging(draw, rewritten, number)
        try:
            made = apply_staging(rewritten, staging)
            if checked and limits_of(target) is None:
                check_nests((), made)  # what was inlined may not stand where it came to
        except SpecError:
            if not checked:
                stagings.append(staging)
            continue
        rewritten = made
        stagings.append(staging)
    algorithm = _algorithm(draw, task, rewritten) if checked and stagings else None
    if algorithm is not None:
        stagings = []
    if limits_of(target) is not None:
        on_gpu = drawn_for_gpu(draw, rewritten, target)
        return Schedule(algorithm=algorithm, stagings=tuple(stagings), nests=on_gpu)
    nests = _gathered(draw, rewritten) if checked and draw(st.booleans()) else []
    given = {nest.stage for nest in nests}
    # Backwards, a producer finds the loops of its reader; forwards, an epilogue those of what it reads.
    for stage in reversed(rewritten.stages) if draw(st.booleans()) else rewritten.stages:
        if stage.name in given or draw(st.integers(0, 3)) == 0:
            continue
        tries = [_nest(draw, rewritten, stage, nests, attach=True)]
        if checked:
            tries += [_nest(draw, rewritten, stage, nests, attach=False), Nest(stage=stage.name)]
        nests += _first_legal(rewritten, nests, tries) if checked else tries
    nests = [_skipping(draw, rewritten, nest, nests, checked=checked) for nest in nests]
    schedule = Schedule(algorithm=algorithm, stagings=tuple(stagings), nests=tuple(nests))
    return _computed_once(draw, schedule, rewritten, task, checked=checked)


def _algorithm(draw: Draw, task: Task | Workload, rewritten: Workload) -> Algorithm | None:
    """Seldom, what stagings made of a task as an algorithm for it."""
    if draw(st.integers(0, 7)) < 7:
        return None
    algorithm = Algorithm(name="drawn", workload=rewritten)
    try:
        check_schedule(Schedule(algorithm=algorithm), task)
    except SpecError:
        return None
    return algorithm


def _computed_once(
    draw: Draw, schedule: Schedule, rewritten: Workload, task: Task | Workload, *, checked: bool
) -> Schedule:
    """The schedule with some of the stages that may be computed once, where the task has constants."""
    if not isinstance(task, Task) or not task.constants:
        return schedule
    for stage in rewritten.stages:
        if draw(st.booleans()):
            more = attrs.evolve(schedule, once=(*schedule.once, stage.name))
            try:
                check_schedule(more, task)
            except SpecError:
                if checked:
                    continue
            schedule = more
    return schedule


def _gathered(draw: Draw, workload: Workload) -> list[Nest]:
    """A stage with a nest of its own, and at one of its loops as many others as can be there: a row of a softmax."""
    number = draw(st.integers(0, len(workload.stages) - 1))
    host = workload.stages[number]
    nests = _first_legal(workload, (), [_nest(draw, workload, host, (), attach=False), Nest(stage=host.name)])
    for other in (*workload.stages[number + 1 :], *reversed(workload.stages[:number])):
        trials = [_nest(draw, workload, other, nests, attach=True, at=at) for at in _places(draw, workload, nests)]
        plain = [Nest(stage=other.name, at=trial.at) for trial in trials]
        nests += _first_legal(workload, nests, [*trials, *plain])
    return nests


def _skipping(draw: Draw, workload: Workload, nest: Nest, nests: Sequence[Nest], *, checked: bool) -> Nest:
    """The nest, perhaps with the steps of a loop left out that add zeros alone; often where there are such steps."""
    stage = workload.stage(nest.stage)
    has_zeros = stage.reducer is not None and any(True for body in stage.body for _ in zero_tests(body, workload))
    if not has_zeros and (checked or draw(st.integers(0, 15)) < 15):
        return nest
    fused = [bind.as_ for bind in nest.bind if isinstance(bind, BindFused)]
    loops = draw(st.permutations([*(nest.order or stage.extents), *fused, "no_such_loop"]))
    tries = [attrs.evolve(nest, skip=loop) for loop in loops]
    tries += [attrs.evolve(skipping, start=nest.order[0]) for skipping in tries if nest.order]
    others = [other for other in nests if other is not nest]
    return next(iter(_first_legal(workload, others, tries)), nest) if checked else tries[0]


def _first_legal(workload: Workload, others: Sequence[Nest], trials: Sequence[Nest]) -> list[Nest]:
    """The first of some nests that the checks accept beside `others`, alone in a list."""
    for nest in trials:
        try:
            check_nests([*others, nest], workload)
        except SpecError:
            continue
        return [nest]
    return []


def _places(draw: Draw, workload: Workload, nests: Sequence[Nest]) -> list[At]:
    """A place in the first of some nests, perhaps the one that another stage of them has."""
    taken = [nest.at for nest in nests if nest.at is not None]
    again: bool = draw(st.booleans())
    if taken and again:
        return taken[:1]
    loops = plan_from_nests(workload, nests).by_stage[nests[0].stage].bound
    return [At(stage=nests[0].stage, loop=draw(st.sampled_from(loops)).name)] if loops else []


def _staging(draw: Draw, workload: Workload, number: int) -> Staging:
    stage = draw(st.sampled_from(workload.stages))
    kinds: list[Callable[[Draw, Workload, Stage, str], Staging]] = [_accumulate]
    if draw(st.integers(0, 7)) == 7 or (stage.reducer is None and not {*_buffers(stage)} & {*workload.params}):
        kinds += [_inline, _inline]
    if draw(st.integers(0, 7)) == 7 or stage.reduce:
        kinds += [_partial, _partial]
    if stage.reads:
        kinds += [_reindex, _pack]
    return draw(st.sampled_from(kinds))(draw, workload, stage, f"new{number}")


def _inline(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001 # one shape for all
    return Inline(stage=stage.name)


def _accumulate(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    spatial, fuses = _fused(draw, stage.axes, f"{name}_f")
    reduced, more = _fused(draw, stage.reduce, f"{name}_g")
    splits = _splits(draw, spatial, name, "pad")
    cut = _splits(draw, reduced, f"{name}r", "pad")
    order = draw(st.permutations(_after(spatial, splits)))
    return Accumulate(stage=stage.name, as_=name, fuses=(*fuses, *more), splits=(*splits, *cut), order=tuple(order))


def _fused(draw: Draw, axes: Sequence[IterAxis], name: str) -> tuple[list[tuple[str, int]], list[Fuse]]:
    """The axes with perhaps two or more neighbours of them as one, and the fuse that says so."""
    loops = [(axis.name, axis.extent) for axis in axes]
    if len(loops) < 2 or not draw(st.booleans()):
        return loops, []
    first = draw(st.integers(0, len(loops) - 2))
    last = draw(st.integers(first + 1, len(loops) - 1))
    parts = loops[first : last + 1]
    joined = (name, math.prod(extent for _, extent in parts))
    return [*loops[:first], joined, *loops[last + 1 :]], [Fuse(fuse=tuple(part for part, _ in parts), as_=name)]


def _partial(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    loops = [(a.name, a.extent) for a in stage.reduce]
    splits = _splits(draw, loops, name, "pad")
    after = _after(loops, splits)
    keep = draw(st.permutations(after))[: draw(st.integers(min(1, len(after) - 1), len(after)))] if after else []
    return Partial(stage=stage.name, as_=name, splits=tuple(splits), keep=tuple(keep))


def _reindex(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    loops = [(a.name, a.extent) for a in (*stage.axes, *stage.reduce)]
    reads = draw(st.sampled_from(stage.reads))
    if draw(st.booleans()):
        moved = {name for body in stage.body for load in loads(body) if load.buffer == reads for name in axes_in(load)}
        loops = [loop for loop in loops if loop[0] in moved]
    splits = _splits(draw, loops, name, "pad")
    order = draw(st.permutations(_after(loops, splits)))
    ways = ways_to_read(stage, reads)
    load = draw(st.sampled_from(ways)) if len(ways) > 1 or draw(st.booleans()) else None
    return Reindex(stage=stage.name, reads=reads, as_=name, splits=tuple(splits), order=tuple(order), load=load)


def _pack(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:
    reads = draw(st.sampled_from(stage.reads))
    loops = [(f"d{d}", extent) for d, extent in enumerate(workload.buffers[reads].shape)]
    splits = _splits(draw, loops, name, "pad")
    order = draw(st.permutations(_after(loops, splits)))
    dims = tuple(d for d, _ in loops)
    return Pack(stage=stage.name, reads=reads, as_=name, dims=dims, splits=tuple(splits), order=tuple(order))


def _splits(draw: Draw, loops: Sequence[tuple[str, int]], prefix: str, tail: str) -> list[Split]:
    """Splits of some of the loops into two or three, dividing or with a tail."""
    found = []
    for number, (axis, extent) in enumerate(loops):
        if extent < 2 or not draw(st.booleans()):
            continue
        inner: list[int] = []
        divides = draw(st.booleans())
        for _ in range(draw(st.integers(1, 2))):
            left = extent // math.prod(inner)
            divisors = [factor for factor in range(1, left + 1) if left % factor == 0]
            inner.append(draw(st.sampled_from(divisors) if divides else st.integers(1, min(extent, 8))))
        product = math.prod(inner)
        outer = -(-extent // product)
        into = tuple(f"{prefix}_{number}{letter}" for letter in "abc"[: len(inner) + 1])
        exact = outer * product == extent
        found.append(Split(axis=axis, into=into, factors=(outer, *inner), tail="none" if exact else tail))
    return found


def _after(loops: Sequence[tuple[str, int]], splits: Sequence[Split]) -> list[str]:
    cut = {split.axis: split.into for split in splits}
    return [name for axis, _ in loops for name in cut.get(axis, (axis,))]


def _nest(
    draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest], *, attach: bool, at: At | None = None
) -> Nest:
    """A nest of any kind; with `attach` perhaps inside one of `others`, at the place `at` where one is given."""
    local = stage.extents
    if at is not None:
        at, local = _attached(workload, stage, others, at)
    elif attach:
        at, local = _place(draw, workload, stage, others)
    prefix = f"loop_{stage.name}".replace(".", "_")
    splits = [
        split
        for split in _splits(draw, list(local.items()), prefix, "predicate")
        if split.tail == "none" or local[split.axis] == stage.extents[split.axis]
    ]
    reduce = {axis.name for axis in stage.reduce}
    reduce |= {piece for split in splits if split.axis in reduce for piece in split.into}
    order = _order(draw, _after(list(local.items()), splits), reduce, stage)
    bind = _binds(draw, order, reduce, attached=at is not None)
    return Nest(
        stage=stage.name,
        splits=tuple(splits),
        order=tuple(order),
        bind=tuple(bind),
        start=_start(draw, order, reduce, bind) if stage.reducer is not None else None,
        at=at,
        unroll_limit=draw(st.sampled_from([None, 0, 16])),
    )


def _order(draw: Draw, loops: Sequence[str], reduce: set[str], stage: Stage) -> list[str]:
    """The loops in some order, often with spatial ones where bindings want them: outermost and innermost."""
    order: list[str] = draw(st.permutations(loops))
    spatial = [loop for loop in order if loop not in reduce]
    first, last = draw(st.booleans()), draw(st.booleans())
    if first and spatial:
        order.remove(spatial[0])
        order.insert(0, spatial[0])
    if last and len(spatial) > 1:
        order.remove(spatial[-1])
        order.append(spatial[-1])
    if stage.reducer is not None and stage.reducer.op == "custom" and draw(st.integers(0, 7)) < 7:
        in_turn = iter([loop for loop in loops if loop in reduce])
        order = [next(in_turn) if loop in reduce else loop for loop in order]
    return order


def _start(draw: Draw, order: Sequence[str], reduce: set[str], bind: Sequence[Bind]) -> str | None:
    """A loop before which a reduction can start, seldom one that comes too late; None leaves it with the update."""
    first = next((number for number, loop in enumerate(order) if loop in reduce), len(order))
    early = order if draw(st.integers(0, 7)) == 7 else order[: first + 1]
    start = draw(st.sampled_from([None, *early, *order[first : first + 1]]))
    return next((b.as_ for b in bind if isinstance(b, BindFused) and start in b.fuse), start)


def _place(draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest]) -> tuple[At | None, Mapping[str, int]]:
    """Perhaps a loop of another stage where `stage` can be computed, and its axes' extents there."""
    hosts = [other for other in workload.stages if other.name != stage.name]
    if draw(st.booleans()) and hosts:
        near = [host for host in hosts if set(_buffers(host)) & {*stage.reads} or set(_buffers(stage)) & {*host.reads}]
        taken = [nest.at for nest in others if nest.at is not None and nest.stage in {host.name for host in near}]
        if draw(st.booleans()) and taken:
            at = draw(st.sampled_from(taken))
        else:
            host = draw(st.sampled_from(near or hosts))
            try:
                loops = plan_from_nests(workload, others).by_stage[host.name].bound
            except SpecError:
                return None, stage.extents
            at = At(stage=host.name, loop=draw(st.sampled_from([loop.name for loop in loops] or ["none"])))
        return _attached(workload, stage, others, at)
    return None, stage.extents


def _attached(workload: Workload, stage: Stage, others: Sequence[Nest], at: At) -> tuple[At | None, Mapping[str, int]]:
    """The place and the axes' extents there; None and the whole where `stage` cannot be there."""
    try:
        trial = plan_from_nests(workload, [*others, Nest(stage=stage.name, at=at)])
    except SpecError:
        return None, stage.extents
    return at, {axis.name: axis.extent for axis in trial.by_stage[stage.name].axes}


def _buffers(stage: Stage) -> list[str]:
    return [output.name for output in stage.outputs]


def _binds(draw: Draw, order: Sequence[str], reduce: set[str], *, attached: bool) -> list[Bind]:
    """Parallel outside, vectors inside, unrolled or fused in between, each where it is allowed."""
    found: list[Bind] = []
    left = list(order)
    if left and left[0] not in reduce and not attached and draw(st.booleans()):
        count = 1
        while count < len(left) and left[count] not in reduce and draw(st.booleans()):
            count += 1
        taken, left = left[:count], left[count:]
        found.append(
            BindLoop(loop=taken[0], to="parallel")
            if count == 1
            else BindFused(fuse=tuple(taken), as_="par_fused", to="parallel")
        )
    if left and left[-1] not in reduce and draw(st.booleans()):
        found.append(BindLoop(loop=left.pop(), to="vectorize"))
    if len(left) > 1 and (left[-1] in reduce) == (left[-2] in reduce) and draw(st.booleans()):
        found.append(
            BindFused(fuse=(left[-2], left[-1]), as_="mid_fused", to=draw(st.sampled_from(["serial", "unroll"])))
        )
        left = left[:-2]
    for name in left:
        to = draw(st.sampled_from([None, None, "unroll", "serial"]))
        found += [BindLoop(loop=name, to=to)] if to is not None else []
    return found
