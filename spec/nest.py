"""The loop-nest model: every loop of a scheduled workload, in pure Python.

Checks, `show`, the cost model and lowering all work on this model, so that they speak of the same loops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # attrs reads the annotations of fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import attrs

from .attach import Attachments
from .errors import SpecError
from .expr import Axis, Binary, Expr, index, substitute
from .layout import splits_by_axis
from .linear import facts_from_extents
from .region import Placed, Span, done_box, needed_box, placed
from .schedule import BLOCKS, GPU_BINDINGS, SHARED, At, BindFused, Nest
from .simplify import simplify
from .task import CPU, Target
from .workload import IterAxis, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .linear import Facts

NESTS_KEPT: Final = 1024
"""Nests that are laid out once: the candidates of a search have most of theirs in common."""


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

    @cached_property
    def extent(self) -> int:
        """Number of steps."""
        return math.prod([part.extent for part in self.parts])

    @property
    def reduce(self) -> bool:
        """True where the loop runs over a reduce axis."""
        return self.parts[0].reduce

    @property
    def on_gpu(self) -> bool:
        """True where the loop is no loop but blocks or threads of a GPU."""
        return self.to in GPU_BINDINGS


@attrs.frozen(kw_only=True, cache_hash=True)
class StageNest:
    """The loops of one stage, outermost first, with its axes as they run there.

    `axes` gives each axis its local extent: what is needed at the place `at`, the whole elsewhere; `box` says of an
    attached stage where each axis begins there.
    `consumer` is True where an attached stage reads the stage it is attached to.
    """

    stage: Stage
    nest: Nest
    axes: tuple[IterAxis, ...]
    loops: tuple[Loop, ...]
    bound: tuple[BoundLoop, ...]
    consumer: bool = False
    box: Mapping[str, Span] = attrs.field(factory=dict, eq=False)

    @cached_property
    def axis_values(self) -> Mapping[str, Expr]:
        """Each axis by the loops of the nest: ``io * 8 + ii``."""
        values: dict[str, Expr] = {}
        for loop in self.loops:
            term = Binary("mul", Axis(loop.name), index(loop.stride))
            values[loop.axis] = Binary("add", values[loop.axis], term) if loop.axis in values else term
        return values

    @cached_property
    def facts(self) -> Facts:
        """What is known of the loops, with what was found out from it."""
        return facts_from_extents({loop.name: loop.extent for loop in self.loops})

    @cached_property
    def body(self) -> tuple[Expr, ...]:
        """The values of the stage by the loops instead of the axes, simplified."""
        return tuple(simplify(substitute(value, self.axis_values), self.facts) for value in self.stage.body)

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

    @cached_property
    def tensorized(self) -> tuple[Loop, ...]:
        """The loops that an intrinsic does, outermost first; none where the nest is not tensorized."""
        names = [loop.name for loop in self.loops]
        chosen = self.nest.tensorize
        return self.loops[names.index(chosen.loop) :] if chosen is not None and chosen.loop in names else ()

    @property
    def outside(self) -> tuple[BoundLoop, ...]:
        """The loops that are left once an intrinsic does its own: all of them where there is none."""
        return self.bound[: len(self.bound) - len(self.tensorized)]

    @property
    def vector(self) -> BoundLoop | None:
        """The innermost loop where it is vectorized; the checks allow no other one to be."""
        return self.bound[-1] if self.bound and self.bound[-1].to == "vectorize" else None

    def bound_position(self, loop: str) -> int:
        """Index into `bound` of the loop called `loop`; SpecError where there is none."""
        for number, bound in enumerate(self.bound):
            if bound.name == loop:
                return number
        allowed = ", ".join(bound.name for bound in self.bound)
        raise SpecError(f"no loop {loop!r} in the nest of {self.stage.name!r}; loops there: {allowed}")

    def position(self, loop: str) -> int:
        """Index into `loops` of the last loop called `loop`, or fused into it; SpecError where there is none."""
        return self.loops.index(self.bound[self.bound_position(loop)].parts[-1])


@attrs.frozen(kw_only=True)
class Plan:
    """A rewritten workload with the nest of each stage, in the workload's order, for a target.

    Stages in `once` are computed outside the kernel, from constants; `once.py` takes the two parts apart.
    """

    workload: Workload
    nests: tuple[StageNest, ...]
    target: Target = CPU
    once: tuple[str, ...] = ()

    @cached_property
    def by_stage(self) -> Mapping[str, StageNest]:
        """Stage name → its nest."""
        return {nest.stage.name: nest for nest in self.nests}

    def writer_of(self, buffer: str) -> StageNest | None:
        """The nest of the stage that fills a buffer; None of an input."""
        writer = self.workload.writer.get(buffer)
        return self.by_stage[writer.name] if writer is not None else None

    def inside(self, stage: str, position: int) -> tuple[StageNest, ...]:
        """Nests attached directly at loop `position` of `stage`."""
        parent = self.by_stage[stage]
        return tuple(n for n in self.nests if n.at and n.at.stage == stage and parent.position(n.at.loop) == position)


def plan_from_nests(
    workload: Workload, nests: Sequence[Nest], target: Target = CPU, once: tuple[str, ...] = ()
) -> Plan:
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
    planner = _Planner(workload, given)
    found = tuple([planner.visit(name, ()) for name in names])
    return Plan(workload=workload, nests=found, target=target, once=once)


class _Planner:
    """Lays out the nests, hosts before what is attached to them."""

    def __init__(self, workload: Workload, given: Mapping[str, tuple[int, Nest]]) -> None:
        self.workload = workload
        self.given = given
        self.attachments = Attachments(
            workload, {name: nest.at for name, (_, nest) in given.items() if nest.at is not None}
        )
        self.done: dict[str, StageNest] = {}
        self.places: dict[str, Placed] = {}

    def visit(self, name: str, path: tuple[str, ...]) -> StageNest:
        """The nest of a stage; `path` are those that wait for it."""
        if name in self.done:
            return self.done[name]
        number, nest = self.given.get(name) or (len(self.given), Nest(stage=name))
        try:
            if name in path:
                raise SpecError(f"{' is at '.join([*path, name])}: a circle; give one of them a nest of its own", "at")
            stage = self.workload.stage(name)
            if nest.at is None:
                self.done[name] = _stage_nest(stage, nest, (), consumer=False)
            else:
                self.attach(stage, nest, nest.at, (*path, name))
        except SpecError as error:
            raise (error if error.path.startswith("schedule") else error.under(f"schedule.nests[{number}]")) from error
        return self.done[name]

    def attach(self, stage: Stage, nest: Nest, at: At, path: tuple[str, ...]) -> None:
        """Lays out an attached stage: its axes run over what one step of the loop needs, or completes."""
        parent = self.visit(_parent(at, [other.name for other in self.workload.stages]), path)
        position = _position(parent, at)
        relatives = self.attachments.relatives(stage, lambda way: self.is_inside(way, parent, position, path))
        others = [self.placed(other.name, path) for other in relatives]
        outer = self.outside(parent, position)
        consumer = self.attachments.is_consumer(stage.name)
        if nest.scope in SHARED and not consumer:
            # A shared buffer holds what all threads around it need.
            threads = self.threads(parent)
            outer = {loop: extent for loop, extent in outer.items() if loop not in threads}
        box = done_box(stage, others, outer.keys(), at.loop) if consumer else needed_box(stage, others, outer.keys())
        self.done[stage.name] = _stage_nest(stage, nest, tuple(box.items()), consumer)

    def is_inside(self, way: At, parent: StageNest, position: int, path: tuple[str, ...]) -> bool:
        """True for a place in `parent` at its loop `position` or further in."""
        if way.loop not in {bound.name for bound in parent.bound}:
            # Whoever is there has the wrong loop: say that first.
            for name, (_, nest) in self.given.items():
                if nest.at == way:
                    self.visit(name, path)
        return parent.position(way.loop) >= position

    def outside(self, parent: StageNest, position: int) -> dict[str, int]:
        """The loops around loop `position` of `parent`, that one included, and their extents."""
        own = {f"{parent.stage.name}:{loop.name}": loop.extent for loop in parent.loops[: position + 1]}
        return {**self.around(parent), **own}

    def around(self, nest: StageNest) -> dict[str, int]:
        """The loops of other stages around a nest, and their extents."""
        if nest.at is None:
            return {}
        host = self.done[nest.at.stage]
        return self.outside(host, host.position(nest.at.loop))

    def threads(self, nest: StageNest) -> set[str]:
        """The loops of a nest, and of those around it, that are threads of a GPU."""
        own = {f"{nest.stage.name}:{p.name}" for b in nest.bound if b.on_gpu and b.to not in BLOCKS for p in b.parts}
        return own if nest.at is None else own | self.threads(self.done[nest.at.stage])

    def placed(self, name: str, path: tuple[str, ...]) -> Placed:
        """A stage where its nest runs, for the stages around it: once for all of them, with what they find out."""
        if name not in self.places:
            self.places[name] = self.laid_out(self.visit(name, path))
        return self.places[name]

    def laid_out(self, nest: StageNest) -> Placed:
        """A nest with the loops around it."""
        whole = {axis: Span(length=extent) for axis, extent in nest.stage.extents.items()}
        loops = [(loop.name, loop.axis, loop.stride, loop.extent) for loop in nest.loops]
        return placed(nest.stage, self.around(nest), dict(nest.box) or whole, loops)


def _parent(at: At, names: Sequence[str]) -> str:
    if at.stage not in names:
        raise SpecError(f"no stage {at.stage!r} after the stagings; stages there: {', '.join(names)}", "at.stage")
    return at.stage


def _position(parent: StageNest, at: At) -> int:
    try:
        return parent.position(at.loop)
    except SpecError as error:
        raise error.under("at.loop") from error


@lru_cache(maxsize=NESTS_KEPT)
def _stage_nest(stage: Stage, nest: Nest, part: tuple[tuple[str, Span], ...], consumer: bool) -> StageNest:
    """The loops of a stage; of one that is attached, over the part of each axis that is computed at its place."""
    box = dict(part)
    extents = {axis: box[axis].length for axis in stage.extents} if box else stage.extents
    loops = _ordered(_split(stage, nest, extents), nest)
    whole = (*stage.axes, *stage.reduce)
    axes = tuple([a if a.extent == extents[a.name] else IterAxis(name=a.name, extent=extents[a.name]) for a in whole])
    bound = _bound(loops, nest)
    return StageNest(stage=stage, nest=nest, axes=axes, loops=loops, bound=bound, consumer=consumer, box=box)


def _split(stage: Stage, nest: Nest, extents: Mapping[str, int]) -> list[Loop]:
    """The loops after splits, each axis' pieces in its place."""
    for number, split in enumerate(nest.splits):
        if split.tail == "pad":
            place = f"splits[{number}].tail"
            raise SpecError('found "pad"; a nest takes "none" or "predicate", padding is a staging', place)
    by_axis = splits_by_axis(nest.splits, extents, "predicate") if nest.splits else {}
    reduce = {axis.name for axis in stage.reduce}
    loops: list[Loop] = []
    for axis, extent in extents.items():
        cut = by_axis.get(axis)
        if cut is None:
            loops.append(Loop(name=axis, extent=extent, axis=axis, stride=1, reduce=axis in reduce))
            continue
        stride = 1
        pieces: list[Loop] = []
        for name, factor in zip(reversed(cut.into), reversed(cut.factors), strict=True):
            pieces.append(Loop(name=name, extent=factor, axis=axis, stride=stride, reduce=axis in reduce))
            stride *= factor
        loops += reversed(pieces)
    _check_once([loop.name for loop in loops], "splits")
    return loops


def _check_once(names: Sequence[str], place: str) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"two loops are called {twice!r}; give each its own name", place)


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
    names = {loop.name: number for number, loop in enumerate(loops)}
    heads: dict[int, BoundLoop] = {}
    taken: set[int] = set()
    for number, bind in enumerate(nest.bind):
        parts = bind.fuse if isinstance(bind, BindFused) else (bind.loop,)
        place = f"bind[{number}].{'fuse' if isinstance(bind, BindFused) else 'loop'}"
        for name in parts:
            if name not in names:
                raise SpecError(f"no loop {name!r}; loops here: {', '.join(names)}", place)
            if names[name] in taken:
                raise SpecError(f"loop {name!r} is bound twice; bind it once", place)
            taken.add(names[name])
        if not parts:
            raise SpecError("no loops to fuse; name at least one", place)
        first = names[parts[0]]
        pieces = tuple(loops[first : first + len(parts)])
        if tuple(piece.name for piece in pieces) != parts:
            message = f"loops {', '.join(parts)} are not neighbours in this order; loops here: {', '.join(names)}"
            raise SpecError(message, place)
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
    _check_once([bound.name for bound in found], "bind")
    return tuple(found)
