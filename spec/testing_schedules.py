"""Hypothesis strategies of schedules: for any workload, stagings and nests of every kind that pass the checks.

Each piece is drawn around what the workload offers at that point and kept if the checks accept it, so that a drawn
schedule is always legal; what is drawn first, and what shrinking ends at, is the empty schedule.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import strategies as st

from .check import CPU, check_nests
from .errors import SpecError
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
from .task import Task
from .testing_gpu_schedules import gpu_nests, moved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .workload import Stage, Workload

Draw: TypeAlias = st.DrawFn


@st.composite
def schedules(draw: Draw, task: Task | Workload, max_stagings: int = 3) -> Schedule:
    """Schedules of a task that pass the checks; of a workload alone, those for a CPU."""
    workload, target = (task.workload, task.target) if isinstance(task, Task) else (task, CPU)
    on_gpu = limits_of(target) is not None
    rewritten, stagings = workload, []
    for number in range(draw(st.integers(0, max_stagings))):
        staging = _staging(draw, rewritten, number)
        try:
            rewritten = apply_staging(rewritten, staging)
        except SpecError:
            continue
        stagings.append(staging)
    nests: list[Nest] = []
    # Loops to attach to are those of the readers, or of what is read: which of them come first is drawn too.
    stages = rewritten.stages if not on_gpu or draw(st.booleans()) else rewritten.stages[::-1]
    for stage in stages:
        if not draw(st.booleans()):
            continue
        plain = Nest(stage=stage.name)
        if any(nest.stage == stage.name for nest in nests):
            continue  # made with the nest of another
        tried = [(*nests, _nest(draw, rewritten, stage, nests)), (*nests, plain)] if not on_gpu else []
        for trial in tried or gpu_nests(draw, rewritten, stage, nests):
            try:
                check_nests(trial, rewritten, target)
            except SpecError:
                continue
            nests = [*trial]
            break
    for _ in nests if on_gpu else ():
        for trial in moved(draw, nests):
            with contextlib.suppress(SpecError):
                check_nests(trial, rewritten, target)
                nests = [*trial]
                break
    return Schedule(stagings=tuple(stagings), nests=tuple(nests))


def _staging(draw: Draw, workload: Workload, number: int) -> Staging:
    stage = draw(st.sampled_from(workload.stages))
    kinds: list[Callable[[Draw, Workload, Stage, str], Staging]] = [_inline, _accumulate, _partial]
    if stage.reads:
        kinds += [_reindex, _pack]
    return draw(st.sampled_from(kinds))(draw, workload, stage, f"new{number}")


def _inline(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001 # one shape for all
    return Inline(stage=stage.name)


def _accumulate(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    axes, fuses = list(stage.axes), []
    if len(axes) > 1 and draw(st.booleans()):
        first = draw(st.integers(0, len(axes) - 2))
        pair = (axes[first].name, axes[first + 1].name)
        fuses.append(Fuse(fuse=pair, as_=f"{name}_f"))
        extent = axes[first].extent * axes[first + 1].extent
        loops = [(a.name, a.extent) for a in axes[:first]] + [(f"{name}_f", extent)]
        loops += [(a.name, a.extent) for a in axes[first + 2 :]]
    else:
        loops = [(a.name, a.extent) for a in axes]
    splits = _splits(draw, loops, name, "pad")
    reduced = _splits(draw, [(a.name, a.extent) for a in stage.reduce], f"{name}r", "pad")
    order = draw(st.permutations(_after(loops, splits)))
    return Accumulate(stage=stage.name, as_=name, fuses=tuple(fuses), splits=(*splits, *reduced), order=tuple(order))


def _partial(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    loops = [(a.name, a.extent) for a in stage.reduce]
    splits = _splits(draw, loops, name, "pad")
    after = _after(loops, splits)
    keep = draw(st.permutations(after))[: draw(st.integers(0, len(after)))] if after else []
    return Partial(stage=stage.name, as_=name, splits=tuple(splits), keep=tuple(keep))


def _reindex(draw: Draw, workload: Workload, stage: Stage, name: str) -> Staging:  # noqa: ARG001
    loops = [(a.name, a.extent) for a in (*stage.axes, *stage.reduce)]
    splits = _splits(draw, loops, name, "pad")
    reads = draw(st.sampled_from(stage.reads))
    order = draw(st.permutations(_after(loops, splits)))
    return Reindex(stage=stage.name, reads=reads, as_=name, splits=tuple(splits), order=tuple(order))


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
        inner = draw(st.lists(st.integers(1, min(extent, 8)), min_size=1, max_size=2))
        product = 1
        for factor in inner:
            product *= factor
        outer = -(-extent // product)
        into = tuple(f"{prefix}_{number}{letter}" for letter in "abc"[: len(inner) + 1])
        exact = outer * product == extent
        found.append(Split(axis=axis, into=into, factors=(outer, *inner), tail="none" if exact else tail))
    return found


def _after(loops: Sequence[tuple[str, int]], splits: Sequence[Split]) -> list[str]:
    cut = {split.axis: split.into for split in splits}
    return [name for axis, _ in loops for name in cut.get(axis, (axis,))]


def _nest(draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest]) -> Nest:
    at, local = _place(draw, workload, stage, others)
    prefix = f"loop_{stage.name}".replace(".", "_")
    splits = [
        split
        for split in _splits(draw, list(local.items()), prefix, "none" if at else "predicate")
        if split.tail != "none" or math.prod(split.factors) == local[split.axis]
    ]
    order: list[str] = draw(st.permutations(_after(list(local.items()), splits)))
    reduce = {axis.name for axis in stage.reduce}
    reduce |= {piece for split in splits if split.axis in reduce for piece in split.into}
    bind = _binds(draw, order, reduce, attached=at is not None)
    start: str | None = None
    if stage.reducer is not None and order:
        first = draw(st.sampled_from([None, *order]))
        start = next((b.as_ for b in bind if isinstance(b, BindFused) and first in b.fuse), first)
    return Nest(
        stage=stage.name,
        splits=tuple(splits),
        order=tuple(order),
        bind=tuple(bind),
        start=start,
        at=at,
        unroll_limit=draw(st.sampled_from([None, 0, 16])),
    )


def _place(draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest]) -> tuple[At | None, dict[str, int]]:
    """Perhaps a loop of another stage where `stage` can be computed, and its axes' extents there."""
    hosts = [other for other in workload.stages if other.name != stage.name]
    if draw(st.booleans()) and hosts:
        near = [host for host in hosts if set(_buffers(host)) & {*stage.reads} or set(_buffers(stage)) & {*host.reads}]
        taken = [nest.at for nest in others if nest.at is not None and nest.stage in {host.name for host in near}]
        if draw(st.booleans()) and taken:
            at = draw(st.sampled_from(taken))
        else:
            host = draw(st.sampled_from(near or hosts))
            loops = plan_from_nests(workload, others).by_stage[host.name].bound
            at = At(stage=host.name, loop=draw(st.sampled_from([loop.name for loop in loops] or ["none"])))
        try:
            trial = plan_from_nests(workload, [*others, Nest(stage=stage.name, at=at)])
        except SpecError:
            return None, stage.extents
        return at, {axis.name: axis.extent for axis in trial.by_stage[stage.name].axes}
    return None, stage.extents


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
    found += [BindLoop(loop=name, to="unroll") for name in left if draw(st.booleans())]
    return found
