"""The loop-nest model: every loop of a scheduled workload, in pure Python.

Checks, `show`, the cost model and lowering all work on this model, so that they speak of the same loops.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from .errors import SpecError
from .expr import Axis, Binary, Expr, Load, index, loads, substitute
from .layout import check_factors
from .linear import facts_from_extents, linear
from .schedule import At, BindFused, Nest, Split
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
        total = 1
        for part in self.parts:
            total *= part.extent
        return total

    @property
    def reduce(self) -> bool:
        """True where the loop runs over a reduce axis."""
        return self.parts[0].reduce


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
            parent = visit(_parent(nest.at, names), (*path, name)) if nest.at else None
            done[name] = _stage_nest(workload, workload.stage(name), nest, parent)
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


def _stage_nest(workload: Workload, stage: Stage, nest: Nest, parent: StageNest | None) -> StageNest:
    consumer = False
    extents = stage.extents
    if parent is not None and nest.at is not None:
        try:
            position = parent.position(nest.at.loop)
        except SpecError as error:
            raise error.under("at.loop") from error
        consumer = any(output.name in stage.reads for output in parent.stage.outputs)
        extents = _local_extents(workload, stage, parent, position, consumer)
    loops = _ordered(_split(stage, nest, extents), nest)
    axes = tuple(IterAxis(name=name, extent=extent) for name, extent in extents.items())
    return StageNest(stage=stage, nest=nest, axes=axes, loops=loops, bound=_bound(loops, nest), consumer=consumer)


def _split(stage: Stage, nest: Nest, extents: Mapping[str, int]) -> list[Loop]:
    """The loops after splits, each axis' pieces in its place."""
    by_axis: dict[str, Split] = {}
    for number, split in enumerate(nest.splits):
        try:
            if split.axis not in extents:
                raise SpecError(f"no axis {split.axis!r} to split; axes here: {', '.join(extents)}", "axis")
            if split.axis in by_axis:
                raise SpecError(f"axis {split.axis!r} is split twice; give one list of factors", "axis")
            if split.tail == "pad":
                raise SpecError('found "pad"; a nest takes "none" or "predicate", padding is a staging', "tail")
            check_factors(split, extents[split.axis])
        except SpecError as error:
            raise error.under(f"splits[{number}]") from error
        by_axis[split.axis] = split
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


def _local_extents(
    workload: Workload, stage: Stage, parent: StageNest, position: int, consumer: bool
) -> dict[str, int]:
    """What an attached stage computes for one step of the loop: each axis' extent there."""
    if consumer:
        return _extents_of_consumer(stage, parent, position)
    reads = [load for body in parent.stage.body for load in loads(body) if workload.writer.get(load.buffer) is stage]
    if not reads:
        message = f"{stage.name!r} and {parent.stage.name!r} do not read one another"
        raise SpecError(f"{message}; attach a stage to one that reads it, or that it reads", "at.stage")
    return _extents_of_producer(stage, parent, position, reads)


def _extents_of_producer(stage: Stage, parent: StageNest, position: int, reads: Sequence[Load]) -> dict[str, int]:
    """The part of a producer that one step needs: affine reads, each dimension an interval of fixed length."""
    values, inner, outer = _loop_values(parent, position)
    facts = facts_from_extents({loop.name: loop.extent for loop in parent.loops})
    extents = stage.extents
    for dimension, axis in enumerate(stage.axes):
        starts: list[tuple[int, frozenset[tuple[Expr, int]]]] = []
        length = 0
        for load in reads:
            const, terms = linear(substitute(load.indices[dimension], values), facts)
            reach, base = 1, []
            for atom, coefficient in terms.items():
                if not isinstance(atom, Axis):
                    message = f"{parent.stage.name!r} reads {stage.name!r} by an index that is not a sum of its axes"
                    raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
                if coefficient < 0:
                    message = f"{parent.stage.name!r} reads {stage.name!r} backwards"
                    raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
                if atom.name in inner:
                    reach += coefficient * (inner[atom.name] - 1)
                elif outer[atom.name] > 1:
                    base.append((atom, coefficient))
            starts.append((const, frozenset(base)))
            length = max(length, const + reach)
        if len({base for _, base in starts}) > 1:
            message = f"{parent.stage.name!r} reads {stage.name!r} at places that move apart"
            raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
        extents[axis.name] = min(axis.extent, length - min(const for const, _ in starts))
    return extents


def _loop_values(parent: StageNest, position: int) -> tuple[dict[str, Expr], dict[str, int], dict[str, int]]:
    """Each axis of `parent` by its loops, and the extents of the loops inside and outside `position`."""
    values: dict[str, Expr] = {}
    for loop in parent.loops:
        term: Expr = Binary("mul", Axis(loop.name), index(loop.stride))
        values[loop.axis] = Binary("add", values[loop.axis], term) if loop.axis in values else term
    inner = {loop.name: loop.extent for loop in parent.loops[position + 1 :]}
    outer = {loop.name: loop.extent for loop in parent.loops[: position + 1]}
    return values, inner, outer


def _extents_of_consumer(stage: Stage, parent: StageNest, position: int) -> dict[str, int]:
    """The part of a consumer that one step of its producer completes.

    Each dimension of the producer is an axis of the consumer, or a digit of one: ``j // 32`` and ``j % 32``.
    """
    reads = [
        load for body in stage.body for load in loads(body) if load.buffer in {o.name for o in parent.stage.outputs}
    ]
    extents = stage.extents
    digits: dict[str, list[tuple[int, int, int]]] = {axis.name: [] for axis in stage.axes}
    if stage.reduce:
        raise SpecError(f"{stage.name!r} reduces; attach stages without a reduction after their producer", "at.stage")
    if len({load.indices for load in reads}) != 1:
        raise SpecError(f"{stage.name!r} reads {parent.stage.name!r} in several ways; one is allowed", "at.stage")
    for dimension, (axis, where) in enumerate(zip(parent.stage.axes, reads[0].indices, strict=True)):
        length = parent.inner_extent(axis.name, position)
        if length is None:
            message = f"axis {axis.name!r} of {parent.stage.name!r} is not whole or one piece inside loop"
            raise SpecError(f"{message} {parent.loops[position].name!r}; order its outer pieces outside", "at.loop")
        match where:
            case Axis(name):
                digits[name].append((1, axis.extent, length))
            case Binary("floordiv", Axis(name), by) if isinstance(by.text, str):  # type: ignore[union-attr] # a Const
                digits[name].append((int(by.text), axis.extent, length))  # type: ignore[union-attr]
            case Binary("floormod", Axis(name), _):
                digits[name].append((1, axis.extent, length))
            case Binary("floordiv", Binary("floormod", Axis(name), _), by):
                digits[name].append((int(by.text), axis.extent, length))  # type: ignore[union-attr]
            case _ if axis.extent == 1:
                continue
            case _:
                message = f"{stage.name!r} reads {parent.stage.name!r}'s dimension {dimension} by more than one axis"
                raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
    for name, found in digits.items():
        extents[name] = _joined_extent(name, found, extents[name])
    return extents


def _joined_extent(name: str, digits: Sequence[tuple[int, int, int]], whole: int) -> int:
    """Neighbouring values of an axis given (stride, extent, inner extent) of its digits."""
    if not digits:
        return whole
    extent = 1
    *inner, last = sorted(digits)
    for _, digit_extent, length in inner:
        if length < digit_extent:
            # TVM takes whole inner digits here, and would read what is not computed yet.
            message = f"axis {name!r} is laid out in pieces of {digit_extent}, and only {length} of one are done inside"
            remedy = "attach further out, or order the inner piece's loops inside"
            raise SpecError(f"{message} the loop; {remedy}", "at.loop")
        extent *= length
    extent *= last[2]
    return min(extent, whole)
