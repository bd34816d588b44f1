"""Nests for stages that are not tiled: maps, copies, short reductions; parallel outside, contiguous vectors inside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..spec.dtypes import size_bytes
from ..spec.guards import is_guarded
from ..spec.schedule import At, Bind, BindLoop, Nest, Split
from .packing import LEAST_VECTOR, divisor_at_most, parallel_bind
from .structure import reads_of, together_along

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.workload import Stage
    from .hardware import Hardware

MOST_PHASES: Final = 4
"""Rows into which the elements of a line are parted in one step at most."""


def plain_nest(
    stage: Stage,
    hardware: Hardware,
    at: At | None = None,
    local: Mapping[str, int] | None = None,
    *,
    skip_tails: bool = True,
) -> Nest:
    """A nest of its own, or at `at` with axes of `local` extents.

    The last axis becomes the vector where every read that moves with it is contiguous in it and nothing is guarded;
    a reduction runs outside of it. Where reads are contiguous in pieces of it, those become vectors. Where no vector
    divides the whole of it, the last one skips its tail, unless `skip_tails` is False. Where a read takes each second
    element along it and the others along another axis, that one is unrolled inside: a whole line is read, and the
    compiler parts it. Where reads are contiguous along another axis, that one stands right outside of the last: lines
    are still there when they are read again.
    """
    extents = dict(local or stage.extents)
    spatial = [axis.name for axis in stage.axes]
    reduce = [axis.name for axis in stage.reduce]
    splits: list[Split] = []
    bind: list[Bind] = []
    order = [*spatial, *reduce]
    lanes = hardware.lanes(size_bytes(stage.outputs[0].dtype))
    if spatial and extents[spatial[-1]] > 1 and (most := _vector_elements(stage, spatial[-1])) > 1:
        last = spatial[-1]
        if most == stage.extents[last]:
            width = _width(extents[last], lanes, skip_tails=skip_tails and extents[last] == most)
        else:
            width = divisor_at_most(math.gcd(extents[last], most), 4 * lanes)
        vector = last
        if width < extents[last]:
            pieces = (f"{last}_o", f"{last}_v")
            steps = -(-extents[last] // width)
            tail = "none" if steps * width == extents[last] else "predicate"
            splits.append(Split(axis=last, into=pieces, factors=(steps, width), tail=tail))
            extents |= dict(zip(pieces, splits[-1].factors, strict=True))
            spatial = [*spatial[:-1], pieces[0]]
            vector = pieces[1]
        else:
            spatial = spatial[:-1]
        if width > 1:
            bind.append(BindLoop(loop=vector, to="vectorize"))
        order = [*spatial, *reduce, vector]
    elif not reduce and (phase := _phase(stage, extents)) is not None:
        spatial.remove(phase)
        bind.append(BindLoop(loop=phase, to="unroll"))
        order = [*spatial, phase]
    elif not reduce and (across := _across(stage, spatial, extents)) is not None:
        spatial.remove(across)
        order = spatial = [*spatial[:-1], across, *spatial[-1:]]
    if at is None:
        parallel = parallel_bind(spatial, extents, hardware.threads, stage.points)
        if parallel is not None:
            bind.insert(0, parallel)
    start = reduce[0] if reduce and stage.reducer is not None else None
    return Nest(stage=stage.name, splits=tuple(splits), order=tuple(order), bind=tuple(bind), start=start, at=at)


def _vector_elements(stage: Stage, axis: str) -> int:
    """Elements along `axis` that vectors load and store as whole lines, from multiples of so many on; 1 for none."""
    if is_guarded(stage) or len(stage.outputs) != 1:
        return 1
    if all(axis not in read.axes or axis in read.contiguous for read in reads_of(stage)):
        return stage.extents[axis]
    piece = 1 if stage.reduce else together_along(stage, axis)
    return piece if piece >= LEAST_VECTOR else 1


def _phase(stage: Stage, extents: Mapping[str, int]) -> str | None:
    """The axis whose steps fill those of the last one: of ``X[i * 3 + p]`` along i that of p, if it has three."""
    last = stage.axes[-1].name if stage.axes else ""
    for read in reads_of(stage):
        step = read.strides.get(last, 0)
        between = [axis for axis in read.contiguous if 1 < extents[axis] == step <= MOST_PHASES]
        if between:
            return between[0]
    return None


def _across(stage: Stage, spatial: Sequence[str], extents: Mapping[str, int]) -> str | None:
    """The axis, not the last one, along which what is read lies side by side: a line of it serves its next steps."""
    long = [axis for axis in spatial[:-1] if extents[axis] >= LEAST_VECTOR]
    return next((axis for axis in reversed(long) if together_along(stage, axis) >= LEAST_VECTOR), None)


def _width(extent: int, lanes: int, *, skip_tails: bool) -> int:
    """Elements of one vector: whole vectors where they divide, else the whole short row, else what divides.

    Where a tail may be skipped, whole vectors also if they do not divide.
    """
    for width in (4 * lanes, 2 * lanes, lanes):
        if extent % width == 0:
            return width
    if extent <= 2 * lanes:
        return extent
    return lanes if skip_tails else divisor_at_most(extent, 2 * lanes)
