"""Matrix products for a GPU, tiled as a person would: blocks, threads, operands fetched into shared memory together.

Few of the schedules that are drawn piece by piece come to this; here every choice is among what fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.schedule import SHARED, Accumulate, Align, At, BindFused, BindLoop, Nest, Reindex, Schedule, Split

if TYPE_CHECKING:
    from autosched.spec.task import Task


@attrs.frozen
class Tile:
    """Blocks, threads and values of a thread along each axis; steps of the reduction outside of those fetched."""

    ib: int
    it: int
    ii: int
    jb: int
    jt: int
    ji: int
    ko: int


tiles = st.builds(
    Tile,
    ib=st.integers(1, 3),
    it=st.sampled_from([2, 4]),
    ii=st.sampled_from([1, 2, 4]),
    jb=st.integers(1, 2),
    jt=st.sampled_from([4, 8]),
    ji=st.sampled_from([1, 2, 4]),
    ko=st.integers(1, 4),
)


@st.composite
def gpu_products(draw: st.DrawFn) -> tuple[Task, Schedule]:
    """A task and a schedule of it: as many values of k are fetched in a step as there are threads along j."""
    tile = draw(tiles)
    sizes = {"N": tile.ib * tile.it * tile.ii, "K": tile.ko * tile.jt, "M": tile.jb * tile.jt * tile.ji}
    target = {"kind": "cuda", "arch": draw(st.sampled_from(["sm_80", "sm_90"]))}
    stagings = (
        Accumulate(stage="C", as_="C.acc", order=("i", "j")),
        Reindex(stage="C.acc", reads="A", as_="A.sh", order=("k", "i")),
        Reindex(stage="C.acc", reads="B", as_="B.sh", order=("k", "j")),
    )
    ahead = draw(st.integers(0, min(2, tile.ko - 1)))
    scope = draw(st.sampled_from(SHARED))
    fetches = [attrs.evolve(nest, scope=scope, ahead=ahead, align=draw(st.none() | aligns)) for nest in _fetches(tile)]
    out = Nest(stage="C", at=At(stage="C.acc", loop="t"))
    schedule = Schedule(stagings=stagings, nests=(_product(tile), *fetches, out))
    return get_task("gemm", **sizes, target=target, threads=1), schedule


aligns = st.builds(Align, axis=st.just("k"), factor=st.sampled_from([4, 8, 32]), offset=st.integers(0, 3))


def _product(tile: Tile) -> Nest:
    splits = (
        Split(axis="i", into=("ib", "it", "ii"), factors=(tile.ib, tile.it, tile.ii)),
        Split(axis="j", into=("jb", "jt", "ji"), factors=(tile.jb, tile.jt, tile.ji)),
        Split(axis="k", into=("ko", "ki"), factors=(tile.ko, tile.jt)),
    )
    binds = (
        BindLoop(loop="ib", to="blockIdx.y"),
        BindLoop(loop="jb", to="blockIdx.x"),
        BindFused(fuse=("it", "jt"), as_="t", to="threadIdx.x"),
        BindLoop(loop="ii", to="unroll"),
    )
    order = ("ib", "jb", "it", "jt", "ko", "ki", "ii", "ji")
    return Nest(stage="C.acc", splits=splits, order=order, bind=binds, start="ko", scope="local")


def _fetches(tile: Tile) -> tuple[Nest, Nest]:
    """Tiles of A and B, each thread ``ii`` or ``ji`` neighbours at a time."""
    at = At(stage="C.acc", loop="ko")
    a = Nest(
        stage="A.sh",
        at=at,
        splits=(Split(axis="i", into=("io", "iv"), factors=(tile.it, tile.ii)),),
        bind=(BindFused(fuse=("k", "io"), as_="t", to="threadIdx.x"), BindLoop(loop="iv", to="unroll")),
    )
    b = Nest(
        stage="B.sh",
        at=at,
        splits=(
            Split(axis="k", into=("kq", "kt"), factors=(tile.jt // tile.it, tile.it)),
            Split(axis="j", into=("jo", "jv"), factors=(tile.jt, tile.ji)),
        ),
        order=("kq", "kt", "jo", "jv"),
        bind=(BindFused(fuse=("kt", "jo"), as_="t", to="threadIdx.x"), BindLoop(loop="jv", to="vectorize")),
    )
    return a, b
