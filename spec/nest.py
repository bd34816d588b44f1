"""The loop-nest model: every loop of a scheduled workload, in pure Python.

Checks, `show`, the cost model and lowering all work on this model, so that they speak of the same loops.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from .errors import SpecError
from .layout import splits_by_axis
from .region import local_extents
from .schedule import BLOCKS, GPU_BINDINGS, SHARED, At, BindFused, Nest
from .workload import IterAxis, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.frozen(kw_only=True)
class Loop:
    """One loop before binding: a piece of `axis` whose step moves that axis by `stride`."""

    name: str
    extent: int
    axis: str
    stride: int
    reduce: bool


@attrs.frozen(kw_only=True)
class BoundLoop:
    """A loop as it runs: one loop or several fused ones, and what it is bound to."""

    name: str
    parts: tuple[Loop, ...]
    to: str

    @property
    def extent(self) -> int:
        """Number of steps."""
        return math.prod(part.extent for part in self.parts)

    @property
    def reduce(self) -> bool:
        """True where the loop runs over a reduce axis."""
        return self.parts[0].reduce

    @property
    def on_gpu(self) -> bool:
        """True where the loop is no loop but blocks or threads of a GPU."""
        return self.to in GPU_BINDINGS


@attrs.frozen(kw_only=True)
class StageNest:
    """The loops of one stage, outermost first, with its axes as they run there.

    `axes` gives each axis its local extent: what is needed at the place `at`, the whole elsewhere.
    `consumer` is True where an attached stage reads the stage it is attached to.
    """

    stage: Stage
    nest: Nest
    axes: tuple[IterAxis, ...]
    loops: tuple[Loop, ...]
    bound: tuple[BoundLoop, ...]
    consumer: bool = False

    @property
    def at(self) -> At | None:
        """Where the stage is computed; None for a nest of its own."""
        return self.nest.at

    @property
    def shared(self) -> bool:
        """True where the stage's buffer is in the shared memory of a block."""
        return self.nest.scope in SHARED

    @property
    def copies(self) -> int:
        """Bodies that unrolled loops make of one, vector lanes apart."""
        return math.prod(loop.extent for loop in self.bound if loop.to == "unroll")

    def position(self, loop: str) -> int:
        """Index into `loops` of the last loop called `loop`, or fused into it."""
        for bound in self.bound:
            if bound.name == loop:
                return self.loops.index(bound.parts[-1])
        allowed = ", ".join(bound.name for bound in self.bound)
        raise SpecError(f"no loop {loop!r} in the nest of {self.stage.name!r}; loops there: {allowed}")

    def inner_extent(self, axis: str, position: int) -> int | None:
        """How many neighbouring values `axis` takes inside loop `position`; None where they are not neighbours."""
        extent, stride = 1, 1
        inner = [loop for loop in self.loops[position + 1 :] if loop.axis == axis]
        for loop in sorted(inner, key=lambda loop: loop.stride):
            if loop.stride != stride and loop.extent > 1:
                return None
            extent *= loop.extent
            stride *= loop.extent
        return extent


@attrs.frozen(kw_only=True)
class Plan:
    """A rewritten workload with the nest of each stage, in the workload's order."""

    workload: Workload
    nests: tuple[StageNest, ...]

    @cached_property
    def by_stage(self) -> Mapping[str, StageNest]:
        """Stage name → its nest."""
        return {nest.stage.name: nest for nest in self.nests}

    def inside(self, stage: str, position: int) -> tuple[StageNest, ...]:
        """Nests attached directly at loop `position` of `stage`."""
        parent = self.by_stage[stage]
        return tuple(n for n in self.nests if n.at and n.at.stage == stage and parent.position(n.at.loop) == position)


def plan_from_nests(workload: Workload, nests: Sequence[Nest]) -> Plan:
    """The loops of every stage; SpecError with a path under ``schedule.nests`` where a nest does not fit."""
    given: dict[str, tuple[int, Nest]] = {}
    names = [stage.name for stage in workload.stages]
    for number, nest in enumerate(nests):
        if nest.stage not in names:
            message = f"no stage {nest.stage!r} after the stagings; stages there: {', '.join(names)}"
            raise SpecError(message, f"schedule.nests[{number}].stage")
        if nest.stage in given:
            raise SpecError(f"stage {nest.stage!r} has two nests; merge them", f"schedule.nests[{number}].stage")
        given[nest.stage] = (number, nest)
    done: dict[str, StageNest] = {}

    def visit(name: str, path: tuple[str, ...]) -> StageNest:
        if name in done:
            return done[name]
        number, nest = given.get(name, (len(nests), Nest(stage=name)))
        try:
            if name in path:
                raise SpecError(f"{' is at '.join([*path, name])}: a circle; give one of them a nest of its own", "at")
            stage = workload.stage(name)
            if nest.at is None:
                done[name] = _stage_nest(stage, nest, stage.extents, consumer=False)
            else:
                parent = visit(_parent(nest.at, names), (*path, name))
                near = [other for other, (_, its) in given.items() if its.at == nest.at and other != name]
                position = _position(parent, nest.at)
                relatives = _relatives(workload, stage, parent, [workload.stage(other) for other in near])
                consumer = _reads(stage, relatives[0])
                threads = _threads(parent, position) if nest.scope in SHARED and not consumer else frozenset()
                boxes = [
                    local_extents(workload, stage, parent, position, consumer=consumer, threads=threads)
                    if via is parent.stage
                    else local_extents(workload, stage, visit(via.name, (*path, name)), -1, consumer=consumer)
                    for via in relatives
                ]
                if any(box != boxes[0] for box in boxes):
                    listed = " and ".join(repr(via.name) for via in relatives)
                    message = f"{listed} need different parts of it or complete different ones"
                    raise SpecError(f"{message}; give {name!r} a nest of its own", "at")
                extents = boxes[0]
                done[name] = _stage_nest(stage, nest, extents, consumer)
        except SpecError as error:
            raise (error if error.path.startswith("schedule") else error.under(f"schedule.nests[{number}]")) from error
        return done[name]

    for name in names:
        visit(name, ())
    return Plan(workload=workload, nests=tuple(done[name] for name in names))


def _parent(at: At, names: Sequence[str]) -> str:
    if at.stage not in names:
        raise SpecError(f"no stage {at.stage!r} after the stagings; stages there: {', '.join(names)}", "at.stage")
    return at.stage


def _position(parent: StageNest, at: At) -> int:
    try:
        return parent.position(at.loop)
    except SpecError as error:
        raise error.under("at.loop") from error


def _reads(reader: Stage, producer: Stage) -> bool:
    return any(output.name in reader.reads for output in producer.outputs)


def _relatives(workload: Workload, stage: Stage, parent: StageNest, near: Sequence[Stage]) -> list[Stage]:
    """The stages that tell what part of an attached one is done in a step: its host and those at the same loop.

    Of what the host needs, directly or by way of others, these are the stages that read it; of all else, those that it
    reads, behind which it is then attached.
    """
    around = [parent.stage, *near]
    readers = [other for other in around if _reads(other, stage)]
    found = [other for other in around if _reads(stage, other)]
    if not found or (readers and _needs(workload, parent.stage, stage)):
        found = readers
    if not found:
        message = f"{stage.name!r} and {parent.stage.name!r} do not read one another, nor does a stage at the same loop"
        raise SpecError(f"{message}; attach a stage to one that reads it, or that it reads", "at.stage")
    return found


def _needs(workload: Workload, stage: Stage, other: Stage) -> bool:
    """True where `stage` reads what `other` computes, directly or by way of other stages."""
    waiting, seen = [stage], {stage.name}
    while waiting:
        for buffer in waiting.pop().reads:
            writer = workload.writer.get(buffer)
            if writer is other:
                return True
            if writer is not None and writer.name not in seen:
                seen.add(writer.name)
                waiting.append(writer)
    return False


def _threads(parent: StageNest, position: int) -> frozenset[str]:
    """The threads of `parent` around `position`: a shared buffer there holds what all of them need."""
    outer = parent.loops[: position + 1]
    return frozenset(p.name for b in parent.bound if b.on_gpu and b.to not in BLOCKS for p in b.parts if p in outer)


def _stage_nest(stage: Stage, nest: Nest, extents: Mapping[str, int], consumer: bool) -> StageNest:
    loops = _ordered(_split(stage, nest, extents), nest)
    axes = tuple(IterAxis(name=name, extent=extent) for name, extent in extents.items())
    return StageNest(stage=stage, nest=nest, axes=axes, loops=loops, bound=_bound(loops, nest), consumer=consumer)


def _split(stage: Stage, nest: Nest, extents: Mapping[str, int]) -> list[Loop]:
    """The loops after splits, each axis' pieces in its place."""
    for number, split in enumerate(nest.splits):
        if split.tail == "pad":
            place = f"splits[{number}].tail"
            raise SpecError('found "pad"; a nest takes "none" or "predicate", padding is a staging', place)
    by_axis = splits_by_axis(nest.splits, extents, "predicate")
    reduce = {axis.name for axis in stage.reduce}
    loops: list[Loop] = []
    for axis, extent in extents.items():
        cut = by_axis.get(axis)
        names, factors = ((axis,), (extent,)) if cut is None else (cut.into, cut.factors)
        stride = 1
        pieces: list[Loop] = []
        for name, factor in zip(reversed(names), reversed(factors), strict=True):
            pieces.append(Loop(name=name, extent=factor, axis=axis, stride=stride, reduce=axis in reduce))
            stride *= factor
        loops += reversed(pieces)
    names_seen = [loop.name for loop in loops]
    for name in names_seen:
        if names_seen.count(name) > 1:
            raise SpecError(f"two loops are called {name!r}; give each its own name", "splits")
    return loops


def _ordered(loops: list[Loop], nest: Nest) -> tuple[Loop, ...]:
    if not nest.order:
        return tuple(loops)
    by_name = {loop.name: loop for loop in loops}
    for number, name in enumerate(nest.order):
        if name not in by_name:
            raise SpecError(f"no loop {name!r}; loops here: {', '.join(by_name)}", f"order[{number}]")
    missing = [name for name in by_name if name not in nest.order]
    if missing:
        raise SpecError(f"loop {missing[0]!r} is left out; list every one of {', '.join(by_name)}", "order")
    return tuple(by_name[name] for name in nest.order)


def _bound(loops: Sequence[Loop], nest: Nest) -> tuple[BoundLoop, ...]:
    """The loops after fusing and binding, outermost first."""
    names = [loop.name for loop in loops]
    heads: dict[int, BoundLoop] = {}
    taken: set[int] = set()
    for number, bind in enumerate(nest.bind):
        parts = bind.fuse if isinstance(bind, BindFused) else (bind.loop,)
        place = f"bind[{number}].{'fuse' if isinstance(bind, BindFused) else 'loop'}"
        for name in parts:
            if name not in names:
                raise SpecError(f"no loop {name!r}; loops here: {', '.join(names)}", place)
            if names.index(name) in taken:
                raise SpecError(f"loop {name!r} is bound twice; bind it once", place)
            taken.add(names.index(name))
        if not parts:
            raise SpecError("no loops to fuse; name at least one", place)
        first = names.index(parts[0])
        if tuple(names[first : first + len(parts)]) != tuple(parts):
            message = f"loops {', '.join(parts)} are not neighbours in this order; loops here: {', '.join(names)}"
            raise SpecError(message, place)
        pieces = tuple(loops[first : first + len(parts)])
        if len({piece.reduce for piece in pieces}) > 1:
            raise SpecError("fuses spatial and reduce loops together; fuse loops of one kind", place)
        name = bind.as_ if isinstance(bind, BindFused) else bind.loop
        if name in names and name not in parts:
            raise SpecError(f"the name {name!r} is taken by another loop; choose another", f"bind[{number}].as")
        heads[first] = BoundLoop(name=name, parts=pieces, to=bind.to)
    found: list[BoundLoop] = []
    for position, loop in enumerate(loops):
        if position in heads:
            found.append(heads[position])
        elif position not in taken:
            found.append(BoundLoop(name=loop.name, parts=(loop,), to="serial"))
    final = [bound.name for bound in found]
    for name in final:
        if final.count(name) > 1:
            raise SpecError(f"two loops are called {name!r}; give each its own name", "bind")
    return tuple(found)
