"""Hypothesis strategy of tensorized tasks: products and convolutions cut and packed for an intrinsic, all else odd.

Extents that the intrinsic does not divide are padded; layouts, loop orders, bindings and what is computed at which loop
are drawn, and kept if the checks accept them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs
from hypothesis import strategies as st

from .check import check_schedule
from .errors import SpecError
from .expr import Axis, Binary, Cast, Expr, Load, axes_in, const, loads
from .schedule import Accumulate, At, Bind, BindFused, BindLoop, Nest, Reindex, Schedule, Split, Staging, Tensorize
from .task import Target, Task
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .intrinsics import Intrinsic

Draw: TypeAlias = st.DrawFn


@st.composite
def tensorized(draw: Draw, intrinsics: Sequence[Intrinsic]) -> tuple[Task, Schedule]:
    """A task and a schedule of it whose product is done by one of `intrinsics`."""
    intrinsic = draw(st.sampled_from(intrinsics))
    workload = draw(st.sampled_from([_product, _convolution]))(draw, intrinsic)
    task = Task(workload=workload, target=Target(), threads=draw(st.integers(1, 2)))
    return task, _schedule(draw, workload, intrinsic)


def _product(draw: Draw, intrinsic: Intrinsic) -> Workload:
    """``C[i, j] += cast(A[i, k]) * cast(B[k, j])``, perhaps with a second stage that reads C."""
    i, j, k = draw(st.integers(1, 5)), draw(st.integers(1, 2 * intrinsic.lanes)), draw(st.integers(1, 12))
    axes = {"i": i, "j": j, "k": k}
    return _workload(draw, intrinsic, axes, ("i", "j"), {"A": (("i",), ("k",)), "B": (("k",), ("j",))})


def _convolution(draw: Draw, intrinsic: Intrinsic) -> Workload:
    """``C[j, h, w] += cast(A[k, h + r, w]) * cast(B[j, k, r])``: a layer with windows along one dimension."""
    j, k = draw(st.integers(1, 2 * intrinsic.lanes)), draw(st.integers(1, 6))
    axes = {"j": j, "h": draw(st.integers(1, 3)), "w": draw(st.integers(1, 3)), "k": k, "r": draw(st.integers(1, 2))}
    reads = {"A": (("k",), ("h", "r"), ("w",)), "B": (("j",), ("k",), ("r",))}
    return _workload(draw, intrinsic, axes, ("j", "h", "w"), reads)


def _workload(
    draw: Draw,
    intrinsic: Intrinsic,
    axes: dict[str, int],
    spatial: Sequence[str],
    reads: Mapping[str, tuple[tuple[str, ...], ...]],
) -> Workload:
    dtype = intrinsic.output.dtype
    dtypes = {buffer.name: buffer.dtype for buffer in intrinsic.computes.inputs}
    inputs = tuple(
        Buffer(name=name, shape=tuple(1 + sum(axes[a] - 1 for a in place) for place in where), dtype=dtypes[name])
        for name, where in reads.items()
    )
    factors = [Cast(dtype, Load(name, tuple(_sum(place) for place in where))) for name, where in reads.items()]
    body = Binary("mul", *(factors if draw(st.booleans()) else factors[::-1]))
    stages = [
        Stage(
            name="C",
            axes=tuple(IterAxis(name=name, extent=axes[name]) for name in spatial),
            reduce=tuple(IterAxis(name=name, extent=axes[name]) for name in axes if name not in spatial),
            outputs=(Output(name="C", dtype=dtype),),
            body=(body,),
            reducer=Reducer(op="sum", init=(const(dtype, draw(st.integers(0, 2))),)),
        )
    ]
    if draw(st.booleans()):
        value = Binary("max", Load("C", tuple(Axis(name) for name in spatial)), const(dtype, 0))
        stages.append(attrs.evolve(stages[0], name="D", reduce=(), outputs=(Output(name="D", dtype=dtype),),
                                   body=(value,), reducer=None))  # fmt: skip
    index_dtype = draw(st.sampled_from(["int32", "int64"]))
    return Workload(inputs=inputs, stages=tuple(stages), params=("A", "B", stages[-1].name), index_dtype=index_dtype)


def _sum(names: Sequence[str]) -> Expr:
    found: Expr = Axis(names[0])
    for name in names[1:]:
        found = Binary("add", found, Axis(name))
    return found


# --- schedules --------------------------------------------------------------------------------------------------------


def _schedule(draw: Draw, workload: Workload, intrinsic: Intrinsic) -> Schedule:
    """The axes j and k are cut for lanes and words; of all else, what the checks accept."""
    stage = workload.stage("C")
    lanes, depth = (axis.extent for axis in intrinsic.loops)
    splits = tuple(_cut(axis, stage.extents[axis], inner) for axis, inner in (("j", lanes), ("k", depth)))
    outer = [name for axis in stage.axes for name in (("jo",) if axis.name == "j" else (axis.name,))]
    reduce = [name for axis in stage.reduce for name in (("ko",) if axis.name == "k" else (axis.name,))]
    stagings: list[Staging] = [
        Accumulate(stage="C", as_="C.acc", splits=splits, order=(*draw(st.permutations(outer)), "jl"))
    ]
    for name, ends in (("A", ("kl",)), ("B", ("jl", "kl"))):
        moves = _moves(stage, name)
        layout = draw(st.permutations([each for each in (*outer, *reduce) if _axis(each) in moves]))
        stagings.append(Reindex(stage="C.acc", reads=name, as_=f"{name}.pack", order=(*layout, *ends)))
    loops = draw(st.permutations([*outer, *reduce]))
    bind, names = _binds(draw, loops, set(reduce))
    first = next(n for n, name in enumerate(names) if set(_parts(name, bind)) & set(reduce))
    done = Nest(
        stage="C.acc",
        order=(*loops, "jl", "kl"),
        bind=tuple(bind),
        start=names[draw(st.integers(0, first))],
        unroll_limit=draw(st.sampled_from([None, 16])),
        tensorize=Tensorize(loop="jl", intrinsic=intrinsic.name),
    )
    nests = [done]
    for other in ("A.pack", "B.pack", "C", "D"):
        at = At(stage="C.acc", loop=draw(st.sampled_from(names)))
        if draw(st.booleans()) and (other.endswith(".pack") or other in workload.writer):
            nests += _kept(workload, stagings, [*nests, Nest(stage=other, at=at)])
    return Schedule(stagings=tuple(stagings), nests=tuple(nests))


def _kept(workload: Workload, stagings: Sequence[Staging], nests: list[Nest]) -> list[Nest]:
    """The last nest, if it is legal behind the others."""
    try:
        check_schedule(Schedule(stagings=tuple(stagings), nests=tuple(nests)), workload)
    except SpecError:
        return []
    return nests[-1:]


def _cut(axis: str, extent: int, inner: int) -> Split:
    outer = -(-extent // inner)
    tail = "none" if outer * inner == extent else "pad"
    return Split(axis=axis, into=(f"{axis}o", f"{axis}l"), factors=(outer, inner), tail=tail)


def _axis(loop: str) -> str:
    return {"jo": "j", "ko": "k"}.get(loop, loop)


def _moves(stage: Stage, buffer: str) -> set[str]:
    """The axes that a stage's load of a buffer moves with."""
    return {name for body in stage.body for load in loads(body) if load.buffer == buffer for name in axes_in(load)}


def _binds(draw: Draw, loops: Sequence[str], reduce: set[str]) -> tuple[list[Bind], list[str]]:
    """Bindings of the loops around the intrinsic, and the names of the loops after them."""
    found: list[Bind] = []
    names = list(loops)
    spatial = 0
    while spatial < len(names) and names[spatial] not in reduce:
        spatial += 1
    fused = draw(st.integers(0, spatial))
    if fused == 1:
        found.append(BindLoop(loop=names[0], to="parallel"))
    elif fused > 1:
        found.append(BindFused(fuse=tuple(names[:fused]), as_="tile", to="parallel"))
        names[:fused] = ["tile"]
    rest = names[1 if fused else 0 :]
    found += [BindLoop(loop=name, to="unroll") for name in rest if draw(st.booleans())]
    return found, names


def _parts(name: str, bind: Sequence[Bind]) -> tuple[str, ...]:
    return next((b.fuse for b in bind if isinstance(b, BindFused) and b.as_ == name), (name,))
