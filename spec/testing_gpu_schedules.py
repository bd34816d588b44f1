"""Hypothesis strategies of nests for a GPU: blocks, threads, virtual threads, memories, what is computed ahead.

Drawn with a plan in mind, since few nests of any kind are legal: the loops of a stage with a nest of its own begin with
blocks, then threads; a stage attached to it shares these threads, or brings as many of its own.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, TypeAlias

import attrs
from hypothesis import strategies as st

from .check import check_nests
from .errors import SpecError
from .kernel import kernel_of
from .nest import plan_from_nests
from .schedule import BLOCKS, SHARED, THREADS, VTHREAD, Align, At, Bind, BindFused, BindLoop, Nest, Split
from .workload import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .task import Target
    from .workload import Workload

Draw: TypeAlias = st.DrawFn


def drawn_for_gpu(draw: Draw, workload: Workload, target: Target) -> tuple[Nest, ...]:
    """Nests of some stages that pass the checks of a GPU's target."""
    nests: tuple[Nest, ...] = ()
    # Loops to attach to are those of the readers, or of what is read: which of them come first is drawn too.
    for stage in workload.stages if draw(st.booleans()) else workload.stages[::-1]:
        if draw(st.booleans()) and not any(nest.stage == stage.name for nest in nests):  # or made with another's
            nests = _first_legal(gpu_nests(draw, workload, stage, nests), nests, workload, target)
    for _ in nests:
        nests = _first_legal(moved(draw, nests), nests, workload, target)
    return nests


def _first_legal(
    trials: Sequence[tuple[Nest, ...]], otherwise: tuple[Nest, ...], workload: Workload, target: Target
) -> tuple[Nest, ...]:
    for trial in trials:
        try:
            check_nests(trial, workload, target)
        except SpecError:
            continue
        return trial
    return otherwise


def gpu_nests(draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest]) -> list[tuple[Nest, ...]]:
    """Nests of a stage beside those of others, all of them, the ones to be tried first first."""
    found = _attached(draw, workload, stage, others) if draw(st.booleans()) else []
    own = _own(draw, workload, stage)
    alone = [own, attrs.evolve(own, scope="global"), Nest(stage=stage.name)]
    return [*found, *((*others, nest) for nest in alone)]


def moved(draw: Draw, nests: Sequence[Nest]) -> list[tuple[Nest, ...]]:
    """The same nests with the buffer of one in another memory, for each of some: what is attached later allows it."""
    found = []
    for number, nest in enumerate(nests):
        if nest.scope == "global" and draw(st.booleans()):
            scope = draw(st.sampled_from(["local", "local", *SHARED]))
            ahead = draw(st.integers(0, 1)) if nest.at is not None else 0
            found.append((*nests[:number], attrs.evolve(nest, scope=scope, ahead=ahead), *nests[number + 1 :]))
    return found


def _own(draw: Draw, workload: Workload, stage: Stage) -> Nest:
    """A kernel: each spatial axis in pieces for blocks, virtual threads, threads and what is left to a thread."""
    pieces = _Pieces(stage)
    for axis in stage.axes:
        inner = [("v", draw(st.sampled_from([1, 1, 2]))), ("t", draw(st.sampled_from([1, 2, 4])))]
        inner.append(("s", draw(st.sampled_from([1, 1, 2, 4]))))
        inner = [(kind, factor) for kind, factor in inner if factor > 1]
        outer = -(-axis.extent // math.prod(factor for _, factor in inner))
        pieces.cut(axis.name, axis.extent, [(draw(st.sampled_from("bbts")), outer), *inner], "predicate")
    for axis in stage.reduce:
        steps = draw(st.integers(1, axis.extent))
        pieces.cut(axis.name, axis.extent, [("s", -(-axis.extent // steps)), ("s", steps)], "predicate")
    order = [*pieces.of("b"), *draw(st.permutations(pieces.of("v") + pieces.of("t")))]
    rest = draw(st.permutations(pieces.of("s")))
    binds = _bound(draw, pieces, BLOCKS, "b") + _bound(draw, pieces, THREADS, "t")
    binds += [BindLoop(loop=name, to=VTHREAD) for name in pieces.of("v")]
    if any(isinstance(bind, BindFused) for bind in binds):  # of neighbours only
        order = [*pieces.of("b"), *pieces.of("v"), *pieces.of("t")]
    binds += _inner_binds(draw, pieces, rest)
    is_output = any(output.name in workload.params for output in stage.outputs)
    return Nest(
        stage=stage.name,
        splits=tuple(pieces.splits),
        order=(*order, *rest),
        bind=tuple(binds),
        start=_start(draw, pieces, rest),
        scope="global" if is_output else draw(st.sampled_from(["local", "shared", "global"])),
        unroll_limit=draw(st.sampled_from([None, 16])),
    )


def _start(draw: Draw, pieces: _Pieces, rest: Sequence[str]) -> str | None:
    """Perhaps a loop of one thread with all reduce loops at or inside it."""
    first = next((number for number, name in enumerate(rest) if name in pieces.reduce), None)
    return None if first is None else draw(st.sampled_from([None, *rest[: first + 1]]))


@attrs.define
class _Pieces:
    """The loops made of a stage's axes: name → kind (b, v, t or s) and extent, in order."""

    stage: Stage
    splits: list[Split] = attrs.field(factory=list)
    kinds: dict[str, str] = attrs.field(factory=dict)
    extents: dict[str, int] = attrs.field(factory=dict)
    reduce: set[str] = attrs.field(factory=set)

    def cut(self, axis: str, extent: int, named: Sequence[tuple[str, int]], tail: str) -> None:
        """Splits an axis into pieces of these kinds and extents."""
        names = tuple(f"{axis.replace('.', '_')}_{number}{kind}" for number, (kind, _) in enumerate(named))
        factors = tuple(factor for _, factor in named)
        exact = math.prod(factors) == extent
        self.splits.append(Split(axis=axis, into=names, factors=factors, tail="none" if exact else tail))
        self.kinds |= dict(zip(names, (kind for kind, _ in named), strict=True))
        self.extents |= dict(zip(names, factors, strict=True))
        if axis in {reduced.name for reduced in self.stage.reduce}:
            self.reduce |= set(names)

    def of(self, kind: str) -> list[str]:
        """The loops of a kind."""
        return [name for name, its in self.kinds.items() if its == kind]


def _bound(draw: Draw, pieces: _Pieces, to: Sequence[str], kind: str) -> list[Bind]:
    names = pieces.of(kind)
    if len(names) > len(to) or (len(names) > 1 and draw(st.booleans())):
        return [BindFused(fuse=tuple(names), as_=f"all_{kind}", to=to[0])]
    return [BindLoop(loop=name, to=where) for name, where in zip(names, to, strict=False)]


def _inner_binds(draw: Draw, pieces: _Pieces, left: Sequence[str]) -> list[Bind]:
    binds: list[Bind] = []
    rest = list(left)
    if rest and rest[-1] not in pieces.reduce and pieces.extents[rest[-1]] in (1, 2, 4) and draw(st.booleans()):
        binds.append(BindLoop(loop=rest.pop(), to="vectorize"))
    return binds + [BindLoop(loop=name, to="unroll") for name in rest if draw(st.booleans())]


def _attached(draw: Draw, workload: Workload, stage: Stage, others: Sequence[Nest]) -> list[tuple[Nest, ...]]:
    """Nests at a loop of a stage that reads this one or is read by it: with threads of its own, and with none."""
    near = [
        host
        for host in workload.stages
        if host.name != stage.name and ({o.name for o in host.outputs} & {*stage.reads} or _reads(host, stage))
    ]
    if not near:
        return []
    host = draw(st.sampled_from(near))
    loops = list(plan_from_nests(workload, others).by_stage[host.name].bound)
    if not _reads(host, stage):  # only what is done can be read
        loops = list(itertools.takewhile(lambda loop: not loop.reduce, loops))
    # Where another is attached already, or at a loop of the neighbour itself.
    places = [nest.at for nest in others if nest.at is not None and nest.stage == host.name]
    places += [At(stage=host.name, loop=loop.name) for loop in loops]
    if not places:
        return []
    at = draw(st.sampled_from(places))
    is_output = any(output.name in workload.params for output in stage.outputs)
    found: list[tuple[Nest, ...]] = []
    for scope in ("global",) if is_output else (draw(st.sampled_from(SHARED)), "local"):
        draft = Nest(stage=stage.name, at=at, scope=scope)
        beside = _with_scope(draw, others, host) if _reads(stage, host) else tuple(others)
        try:
            plan = plan_from_nests(workload, [*beside, draft])
        except SpecError:
            continue
        mine = plan.by_stage[stage.name]
        threads = kernel_of(plan, mine).threads
        for wanted in (threads, {}):
            nest = _with_threads(draw, stage, {a.name: a.extent for a in mine.axes}, wanted, draft)
            if nest is not None:
                found += [(*beside, nest), (*beside, attrs.evolve(nest, ahead=0, align=None))]
    return found


def _with_scope(draw: Draw, others: Sequence[Nest], host: Stage) -> tuple[Nest, ...]:
    """The nests, that of `host` with a buffer that lives in its kernel."""
    own = next((nest for nest in others if nest.stage == host.name), Nest(stage=host.name))
    scope = draw(st.sampled_from(["local", "shared"])) if own.scope == "global" else own.scope
    return (*(nest for nest in others if nest is not own), attrs.evolve(own, scope=scope))


def _reads(reader: Stage, producer: Stage) -> bool:
    return any(output.name in reader.reads for output in producer.outputs)


def _with_threads(
    draw: Draw, stage: Stage, extents: Mapping[str, int], threads: Mapping[str, int], draft: Nest
) -> Nest | None:
    """The nest with a piece of its axes for each kind of thread; None where no axis has such a piece."""
    left = dict(extents)
    wanted: dict[str, list[tuple[str, int]]] = {axis: [] for axis in extents}
    spatial = [axis.name for axis in stage.axes]
    for kind, extent in threads.items():
        fitting = [axis for axis in spatial if left[axis] % extent == 0]
        if not fitting:
            return None
        axis = draw(st.sampled_from(fitting))
        left[axis] //= extent
        wanted[axis].append((kind, extent))
    pieces = _Pieces(stage)
    to: dict[str, str] = {}
    for axis, extent in extents.items():
        lanes = draw(st.sampled_from([1, 2, 4])) if axis in spatial and left[axis] % 4 == 0 else 1
        named = [("s", left[axis] // lanes), *(("t", its) for _, its in wanted[axis]), ("s", lanes)]
        before = set(pieces.kinds)
        pieces.cut(axis, extent, named, "none")
        made = [name for name in pieces.of("t") if name not in before]
        to |= dict(zip(made, (kind for kind, _ in wanted[axis]), strict=True))
    rest = draw(st.permutations(pieces.of("s")))
    binds: list[Bind] = [BindLoop(loop=name, to=kind) for name, kind in to.items()]
    binds += _inner_binds(draw, pieces, rest)
    align = None
    if draft.scope in SHARED and len(stage.axes) > 1 and draw(st.booleans()):
        align = Align(axis=draw(st.sampled_from(spatial[:-1])), factor=draw(st.sampled_from([4, 32])), offset=1)
    return attrs.evolve(
        draft,
        splits=tuple(pieces.splits),
        order=(*to, *rest) if draw(st.booleans()) else (*rest[:1], *to, *rest[1:]),
        bind=tuple(binds),
        start=_start(draw, pieces, rest),
        align=align,
        ahead=draw(st.sampled_from([0, 0, 1, 2])) if draft.scope != "global" else 0,
    )
