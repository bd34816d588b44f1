"""Tiled products for a GPU, of any tile: what most of the language of GPUs is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

import autosched as at
from autosched.spec.schedule import (
    SHARED,
    Accumulate,
    Align,
    At,
    Bind,
    BindFused,
    BindLoop,
    Nest,
    Reindex,
    Schedule,
    Split,
)

if TYPE_CHECKING:
    from autosched.spec.task import Task


def product(
    *, size: int, depth: int, tile: int, threads: int, vthreads: int, step: int, lanes: int,
    scope: str = "shared", ahead: int = 0, align: Align | None = None, through: str | None = None,
) -> tuple[Task, Schedule]:  # fmt: skip
    """``C[i, j] += A[i, k] * B[k, j]``, square: blocks of ``vthreads * threads * tile`` by as much, in steps of `step`.

    Both tiles are fetched by all threads together, `lanes` elements at once; sums stay in registers. With `through`, a
    shared memory, the sums are put there, and each thread writes what others summed.
    """
    task = at.get_task("gemm", N=size, K=depth, M=size, target={"kind": "cuda", "arch": "sm_80"})
    stagings: tuple[Accumulate | Reindex, ...] = (
        Accumulate(stage="C", as_="C.acc", order=("i", "j")),
        Reindex(stage="C.acc", reads="A", as_="A.sh", order=("k", "i")),
        Reindex(stage="C.acc", reads="B", as_="B.sh", order=("k", "j")),
    )
    side = vthreads * threads * tile
    blocks = -(-size // side)
    tail = "none" if blocks * side == size else "predicate"
    factors = (blocks, vthreads, threads, tile)
    sums = Nest(
        stage="C.acc",
        splits=(
            Split(axis="i", into=("ib", "iv", "it", "ii"), factors=factors, tail=tail),
            Split(axis="j", into=("jb", "jv", "jt", "ji"), factors=factors, tail=tail),
            Split(axis="k", into=("ko", "ki"), factors=(depth // step, step)),
        ),
        order=("ib", "jb", "iv", "jv", "it", "jt", "ko", "ki", "ii", "ji"),
        bind=(
            BindFused(fuse=("ib", "jb"), as_="b", to="blockIdx.x"),
            *([BindFused(fuse=("iv", "jv"), as_="v", to="vthread")] if through is None else []),
            BindFused(fuse=("it", "jt"), as_="t", to="threadIdx.x"),
            BindLoop(loop="ii", to="unroll"),
            BindLoop(loop="ji", to="unroll"),
        ),
        start="ko",
        scope="local",
    )
    tiles = [
        _fetched(name, axis, side=min(side, size), step=step, threads=threads * threads, lanes=lanes)
        for name, axis in (("A.sh", "i"), ("B.sh", "j"))
    ]
    nests = [
        Nest(stage=n.stage, at=n.at, splits=n.splits, order=n.order, bind=n.bind, scope=scope, ahead=ahead)
        for n in tiles
    ]
    if align is not None:
        first = nests[0]
        nests[0] = Nest(
            stage=first.stage, at=first.at, splits=first.splits, order=first.order, bind=first.bind,
            scope=scope, ahead=ahead, align=align,
        )  # fmt: skip
    if through is None:
        return task, Schedule(stagings=stagings, nests=(sums, *nests, Nest(stage="C", at=At(stage="C.acc", loop="t"))))
    stagings = (*stagings, Reindex(stage="C", reads="C.acc", as_="C.sh", order=("i", "j")))
    return task, Schedule(stagings=stagings, nests=(sums, *nests, *_shared_out(through, tile, threads)))


def _shared_out(scope: str, tile: int, threads: int) -> tuple[Nest, Nest]:
    """The sums of each thread put into shared memory, and written by others: rows of the block go to threads."""
    put = Nest(stage="C.sh", at=At(stage="C.acc", loop="t"), scope=scope)
    written = Nest(
        stage="C",
        at=At(stage="C.acc", loop="b"),
        splits=(
            Split(axis="i", into=("ii", "it"), factors=(tile, threads)),
            Split(axis="j", into=("ji", "jt"), factors=(tile, threads)),
        ),
        order=("ii", "ji", "it", "jt"),
        bind=(BindFused(fuse=("it", "jt"), as_="t", to="threadIdx.x"),),
    )
    return put, written


def _fetched(name: str, axis: str, *, side: int, step: int, threads: int, lanes: int) -> Nest:
    """A tile of `step` by `side` in shared memory, its threads along rows first."""
    columns = next(
        count
        for count in range(min(threads, side // lanes), 0, -1)
        if threads % count == 0 and side % (count * lanes) == 0
    )
    rows = threads // columns
    splits = (
        Split(axis="k", into=("ka", "kt"), factors=(step // rows, rows)),
        Split(axis=axis, into=("xa", "xt", "xl"), factors=(side // columns // lanes, columns, lanes)),
    )
    bind: tuple[Bind, ...] = (
        BindFused(fuse=("kt", "xt"), as_="t", to="threadIdx.x"),
        BindLoop(loop="xl", to="vectorize"),
    )
    return Nest(
        stage=name, at=At(stage="C.acc", loop="ko"), splits=splits, order=("ka", "xa", "kt", "xt", "xl"), bind=bind
    )


@st.composite
def tiled_product(draw: st.DrawFn) -> tuple[Task, Schedule]:
    """Tiled products of many shapes, in both kinds of shared memory, padded or not, ahead or not."""
    threads, vthreads, tile = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2])), draw(st.integers(1, 3))
    step = threads * threads * draw(st.integers(1, 2))
    count = draw(st.integers(2, 4))
    ahead = draw(st.integers(0, min(2, count - 1)))
    factor = draw(st.sampled_from([4, 32]))
    return product(
        through=draw(st.sampled_from([None, *SHARED])) if vthreads == 1 and threads * tile > 1 else None,
        size=vthreads * threads * tile * draw(st.integers(1, 3)),
        depth=step * count,
        tile=tile,
        threads=threads,
        vthreads=vthreads,
        step=step,
        lanes=draw(st.sampled_from([lanes for lanes in (1, 2, 4) if vthreads * threads * tile % lanes == 0])),
        # Several dynamic buffers of one element each are refused.
        scope=draw(st.sampled_from(SHARED)) if vthreads * threads * tile * step > 1 else "shared",
        ahead=ahead,
        align=draw(st.none() | st.builds(Align, axis=st.just("k"), factor=st.just(factor), offset=st.integers(0, 3))),
    )
