"""Stages done together, step by step of the axes they share: a row of a softmax from its greatest value to its result.

What a step makes stays in the first caches until the step has used it, inputs that several stages read come once, and
threads begin and end once for all stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..spec.errors import SpecError
from ..spec.expr import Axis, loads
from ..spec.schedule import At, BindFused, BindLoop, Nest, Split
from .free_names import FreeNames
from .nests import plain_nest
from .packing import parallel_bind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.expr import Load
    from ..spec.schedule import Bind
    from ..spec.workload import Stage, Workload
    from .hardware import Hardware


def shared_axes(workload: Workload) -> dict[str, tuple[str, ...]]:
    """Axes that all stages share, by stage, as the last one orders them: a step of one needs that step of the others.

    Empty where they share none, or where not everything is made for the last stage.
    """
    last = workload.stages[-1]
    outputs = {output.name for output in last.outputs}
    if not outputs.issuperset(workload.outputs):
        return {}
    found: dict[str, list[str | None]] = {last.name: [axis.name for axis in last.axes]}
    for stage in reversed(workload.stages[:-1]):
        reads = [
            (found[reader.name], load)
            for reader in workload.stages
            if reader.name in found
            for body in reader.body
            for load in loads(body)
            if workload.writer.get(load.buffer) is stage
        ]
        if not reads:
            return {}
        found[stage.name] = [_position(stage, number, reads) for number in range(len(last.axes))]
    common = [n for n in range(len(last.axes)) if all(axes[n] is not None for axes in found.values())]
    return {name: tuple(str(axes[n]) for n in common) for name, axes in found.items()} if common else {}


def _position(stage: Stage, number: int, reads: Sequence[tuple[Sequence[str | None], Load]]) -> str | None:
    """The axis of a stage of which every reader needs just the step that it is at of its own shared axis."""
    for place, axis in enumerate(stage.axes):
        if all(axes[number] is not None and load.indices[place] == Axis(str(axes[number])) for axes, load in reads):
            return axis.name
    return None


def nests_together(workload: Workload, tiled: Mapping[str, Nest], hardware: Hardware) -> dict[str, Nest]:
    """Nests of all stages, with all but the last attached to a loop over the axes they share; `tiled` are kept so far.

    A step has as many rows as the last tile that cuts a shared axis. SpecError where no axis is shared.
    """
    shared = shared_axes(workload)
    if not shared:
        raise SpecError("the stages share no axis; they cannot be done together")
    last = workload.stages[-1]
    row, rows = _rows(workload, tiled, shared)
    local = {number: rows if number == row else 1 for number in range(len(shared[last.name]))}
    ending, at = _last_nest(workload, row, local, shared[last.name], hardware)
    nests = {last.name: ending}
    for stage in workload.stages[:-1]:
        axes = {name: local[number] for number, name in enumerate(shared[stage.name])}
        if stage.name in tiled:
            nests[stage.name] = _attached(tiled[stage.name], axes, at)
        else:
            nests[stage.name] = plain_nest(stage, hardware, at, {**stage.extents, **axes})
    return nests


def _rows(workload: Workload, tiled: Mapping[str, Nest], shared: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Which shared axis has rows in a step, and how many; -1 where a step is a single one."""
    for stage in reversed(workload.stages):
        if stage.name in tiled:
            for split in tiled[stage.name].splits:
                if split.axis in shared[stage.name] and split.factors[-1] > 1:
                    return shared[stage.name].index(split.axis), split.factors[-1]
    return -1, 1


def _last_nest(
    workload: Workload, row: int, local: Mapping[int, int], axes: Sequence[str], hardware: Hardware
) -> tuple[Nest, At]:
    """The nest of the last stage, its shared axes outermost and parallel, and where the others are attached to it."""
    stage = workload.stages[-1]
    extents = dict(stage.extents)
    inside = {name: local[number] for number, name in enumerate(axes)}
    # What one step of the outer loops does: a nest that is attached has no parallel loop of its own.
    inner = plain_nest(stage, hardware, At(stage=stage.name, loop=axes[0]), {**extents, **inside})
    free = FreeNames([*extents, *(piece for split in inner.splits for piece in split.into)])
    splits = {split.axis: split for split in inner.splits}
    outer, names = list(axes), {}
    if row >= 0:
        axis, count = axes[row], extents[axes[row]] // local[row]
        outer[row] = free(f"{axis}_b")
        extents[outer[row]] = count
        if axis in splits:
            cut = splits[axis]
            splits[axis] = Split(axis=axis, into=(outer[row], *cut.into), factors=(count, *cut.factors))
        else:
            names[axis] = free(f"{axis}_i")
            splits[axis] = Split(axis=axis, into=(outer[row], names[axis]), factors=(count, local[row]))
    order = [names.get(loop, loop) for loop in inner.order if loop not in axes or loop in names]
    bind: list[Bind] = [
        attrs.evolve(each, loop=names.get(each.loop, each.loop)) for each in inner.bind if isinstance(each, BindLoop)
    ]
    most = max(each.points for each in workload.stages)
    parallel = parallel_bind(outer, extents, hardware.threads, most)
    place = outer[-1]
    if parallel is not None:
        bind.insert(0, parallel)
        if isinstance(parallel, BindFused) and place in parallel.fuse:
            place = parallel.as_
    nest = Nest(
        stage=stage.name, splits=tuple(splits.values()), order=(*outer, *order), bind=tuple(bind), start=inner.start
    )
    return nest, At(stage=stage.name, loop=place)


def _attached(nest: Nest, axes: Mapping[str, int], at: At) -> Nest:
    """A tile's nest for one step of shared axes, of which it has so many: their outer pieces are the step's."""
    cut = [split for split in nest.splits if split.axis in axes]
    gone = {name for split in cut for name in split.into[:-1]}
    whole = {split.into[-1]: split.axis for split in cut}
    order = [whole.get(loop, loop) for loop in nest.order if loop not in gone]
    bind = [
        attrs.evolve(each, loop=whole.get(each.loop, each.loop))
        for each in nest.bind
        if isinstance(each, BindLoop) and each.to != "parallel" and each.loop not in gone
    ]
    single = [name for name in order if axes.get(name) == 1]
    return attrs.evolve(
        nest,
        splits=tuple(split for split in nest.splits if split not in cut),
        order=(*single, *(name for name in order if name not in single)),
        bind=tuple(each for each in bind if each.loop not in single),
        at=at,
    )
