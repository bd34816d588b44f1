"""Matrix products by tensor cores: blocks of warps, each with tiles of 16 by 16 in fragments; any tile, any way.

Operands come from global memory, or by way of shared memory that all threads fill together; sums go out directly, or by
way of shared memory, where an epilogue may read them. Few of the schedules that are drawn piece by piece come to this.
"""

from __future__ import annotations

import math

import attrs
from hypothesis import strategies as st

from autosched.spec.builder import Tensor, build, compute, maximum, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.schedule import (
    SHARED,
    Accumulate,
    Align,
    At,
    BindFused,
    BindLoop,
    Inline,
    Nest,
    Pack,
    Reindex,
    Schedule,
    Split,
    Staging,
    Tensorize,
)
from autosched.spec.task import Task, target_from_value
from cuda_on_cpu import Launch

SHORT = {"float16": "f16", "bfloat16": "bf16", "int8": "i8", "float32": "f32", "int32": "i32"}
CUDA_TYPES = {"float16": "half", "bfloat16": "nv_bfloat16", "int8": "signed char", "float32": "float", "int32": "int"}
DTYPES = (("float16", "float32"), ("float16", "float16"), ("bfloat16", "float32"), ("int8", "int32"))
"""Of factors and of sums."""


@attrs.frozen(kw_only=True)
class Product:
    """``C[i, j] += A[i, k] * B[k, j]``, or of ``B[j, k]``; with a `bias`, then ``D[i, j] = max(C[i, j] + bias[j], 0)``.

    Along i and j: blocks, warps of a block, tiles of a warp; along k: steps, and tiles of a step. `spare` rows, columns
    and products are cut off, so that tiles at the end are padded; that needs layouts `by_tiles`. `fetch` is where the
    operands are fetched to, and `through` where the sums go first: a shared memory, or None.
    """

    blocks: tuple[int, int] = (2, 1)
    warps: tuple[int, int] = (2, 1)
    tiles: tuple[int, int] = (1, 2)
    steps: tuple[int, int] = (2, 2)
    factor: str = "float16"
    sums: str = "float32"
    transposed: bool = False
    fetch: str | None = "shared"
    through: str | None = None
    by_tiles: bool = False
    spare: tuple[int, int, int] = (0, 0, 0)
    ahead: int = 0
    align: int | None = None
    bias: bool = False
    arch: str = "sm_80"

    @property
    def counts(self) -> tuple[int, int, int]:
        """Tiles along i, j and k."""
        i, j = (b * w * t for b, w, t in zip(self.blocks, self.warps, self.tiles, strict=True))
        return i, j, math.prod(self.steps)

    @property
    def extents(self) -> tuple[int, int, int]:
        """Rows, columns and products."""
        i, j, k = (16 * count - spare for count, spare in zip(self.counts, self.spare, strict=True))
        return i, j, k

    @property
    def launch(self) -> Launch:
        """What the kernel is called with."""
        rows, columns, depth = self.extents
        return Launch(
            rows=rows,
            columns=columns,
            depth=depth,
            blocks=(self.blocks[1], self.blocks[0]),
            threads=(32, math.prod(self.warps)),
            transposed=self.transposed,
            factor=CUDA_TYPES[self.factor],
            sum=CUDA_TYPES[self.sums],
        )

    def task(self) -> Task:
        """What is computed."""
        rows, columns, depth = self.extents
        A = placeholder((rows, depth), self.factor, name="A")
        B = placeholder((columns, depth) if self.transposed else (depth, columns), self.factor, name="B")
        k = reduce_axis(depth, name="k")

        def product(i, j):
            a, b = A[i, k], B[j, k] if self.transposed else B[k, j]
            return sum_over(a * b if self.factor == self.sums else a.astype(self.sums) * b.astype(self.sums), axis=k)

        C: Tensor = compute((rows, columns), product, name="C")
        made = [A, B, C]
        if self.bias:
            bias = placeholder((columns,), self.sums, name="bias")
            D = compute((rows, columns), lambda i, j: maximum(C[i, j] + bias[j], 0), name="D")
            made = [A, B, bias, D]
        return Task(workload=build(made), target=target_from_value({"kind": "cuda", "arch": self.arch}), threads=1)

    def schedule(self) -> Schedule:
        """How it is computed."""
        return _Maker(self).schedule()


class _Maker:
    """Makes the schedule of a product: axes are i, j, k, or io, il and so on where it is cut by tiles beforehand."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.layouts = {"A": self.layout("ik"), "B": self.layout("jk" if product.transposed else "kj")}

    def layout(self, axes: str) -> tuple[str, ...]:
        """The axes of a buffer in memory, outermost first."""
        if not self.product.by_tiles:
            return tuple(axes)
        return tuple(f"{axis}{piece}" for piece in "ol" for axis in axes)

    def schedule(self) -> Schedule:
        nests = [self.sums(), *self.fetches(), *self.fragments(), *self.results()]
        return Schedule(stagings=tuple(self.stagings()), nests=tuple(nests))

    def stagings(self) -> list[Staging]:
        product = self.product
        cuts = ()
        if product.by_tiles:
            padded = zip("ijk", product.counts, product.spare, strict=True)
            cuts = tuple(
                Split(axis=axis, into=(f"{axis}o", f"{axis}l"), factors=(count, 16), tail="pad" if spare else "none")
                for axis, count, spare in padded
            )
        made: list[Staging] = [Accumulate(stage="C", as_="C.acc", splits=cuts, order=self.layout("ij"))]
        for name in "AB":
            read = name
            if product.fetch is not None:
                made.append(Reindex(stage="C.acc", reads=name, as_=f"{name}.sh", order=self.layouts[name]))
                read = f"{name}.sh"
            order = self.layout("ik" if name == "A" else "kj")
            made.append(Reindex(stage="C.acc", reads=read, as_=f"{name}.frag", order=order))
        if product.through is not None:
            axes = self.layout("ij")
            made.append(Pack(stage="C", reads="C.acc", as_="C.sh", dims=axes, order=axes))
        if product.bias:
            made.append(Inline(stage="C"))
        return made

    def sums(self) -> Nest:
        """The products: blocks, warps, and what each warp adds up."""
        product = self.product
        cuts = {
            axis: (b, w, t) for axis, b, w, t in zip("ij", product.blocks, product.warps, product.tiles, strict=True)
        }
        splits = [self.cut(axis, "bwt", factors) for axis, factors in cuts.items()]
        return Nest(
            stage="C.acc",
            splits=(*splits, self.cut("k", "st", product.steps)),
            order=("ib", "jb", "iw", "jw", "ks", "kt", "it", "jt", "il", "jl", "kl"),
            bind=(
                BindLoop(loop="ib", to="blockIdx.y"),
                BindLoop(loop="jb", to="blockIdx.x"),
                BindFused(fuse=("iw", "jw"), as_="warp", to="threadIdx.y"),
                BindLoop(loop="it", to="unroll"),
                BindLoop(loop="jt", to="unroll"),
            ),
            start="ks",
            scope="wmma.accumulator",
            tensorize=self.does(f"mma_16x16x16_{SHORT[product.factor]}_{SHORT[product.sums]}", "il"),
        )

    def cut(self, axis: str, pieces: str, factors: tuple[int, ...]) -> Split:
        """An axis cut into pieces and tiles, or an axis of tiles cut into pieces."""
        into = tuple(axis + piece for piece in pieces)
        if self.product.by_tiles:
            return Split(axis=f"{axis}o", into=into, factors=factors)
        return Split(axis=axis, into=(*into, f"{axis}l"), factors=(*factors, 16))

    def does(self, intrinsic: str, loop: str) -> Tensorize:
        return Tensorize(loop=loop, intrinsic=f"wmma.{intrinsic}")

    def fetches(self) -> list[Nest]:
        """The tiles of a step that a block needs, in shared memory."""
        product = self.product
        if product.fetch is None:
            return []
        sides = {axis: w * t for axis, w, t in zip("ij", product.warps, product.tiles, strict=True)}
        nests = []
        for name, layout in self.layouts.items():
            axis = "i" if name == "A" else "j"
            counts = {axis: sides[axis], "k": product.steps[1]}
            pads = product.spare[2] > 0 or product.spare["ij".index(axis)] > 0
            nest = Nest(stage=f"{name}.sh", at=At(stage="C.acc", loop="ks"), scope=product.fetch, ahead=product.ahead)
            align = None if product.align is None else Align(axis=layout[-2], factor=64, offset=product.align)
            made = self.by_all_threads(nest, layout, counts, lanes=1 if pads and product.factor == "int8" else 4)
            nests.append(attrs.evolve(made, align=align))
        return nests

    def by_all_threads(self, nest: Nest, layout: tuple[str, ...], counts: dict[str, int], lanes: int) -> Nest:
        """The nest with its last two axes cut for the threads of a block, and for vectors of at most so many lanes."""
        warps = math.prod(self.product.warps)
        rows, columns = (
            16 if self.product.by_tiles and axis.endswith("l") else 16 * counts[axis] for axis in layout[-2:]
        )
        while True:
            across = math.gcd(32, columns // lanes)
            down = 32 // across
            warps_down = math.gcd(warps, rows // down)
            warps_across = warps // warps_down
            if rows % down == 0 and columns // lanes // across % warps_across == 0:
                break
            lanes //= 2
        splits = (
            Split(axis=layout[-2], into=("r", "rw", "rl"), factors=(rows // down // warps_down, warps_down, down)),
            Split(
                axis=layout[-1],
                into=("c", "cw", "cl", "cv"),
                factors=(columns // lanes // across // warps_across, warps_across, across, lanes),
            ),
        )
        return attrs.evolve(
            nest,
            splits=splits,
            order=(*layout[:-2], "r", "c", "rw", "cw", "rl", "cl", "cv"),
            bind=(
                BindFused(fuse=("rw", "cw"), as_="warp", to="threadIdx.y"),
                BindFused(fuse=("rl", "cl"), as_="lane", to="threadIdx.x"),
                BindLoop(loop="cv", to="vectorize"),
            ),
        )

    def fragments(self) -> list[Nest]:
        """The tiles of a warp, each by one load."""
        i, j = self.product.tiles
        dtype = SHORT[self.product.factor]
        return [
            self.by_tile(
                Nest(stage="A.frag", at=At(stage="C.acc", loop="kt"), scope="wmma.matrix_a"),
                {"i": i, "k": 1},
                f"load_a_16x16x16_{dtype}",
            ),
            self.by_tile(
                Nest(stage="B.frag", at=At(stage="C.acc", loop="kt"), scope="wmma.matrix_b"),
                {"k": 1, "j": j},
                f"load_b_16x16x16_{dtype}",
            ),
        ]

    def by_tile(self, nest: Nest, counts: dict[str, int], intrinsic: str, *, by_tiles: bool | None = None) -> Nest:
        """The nest with one use of an intrinsic for each tile."""
        if self.product.by_tiles if by_tiles is None else by_tiles:
            return attrs.evolve(nest, tensorize=self.does(intrinsic, f"{next(iter(counts))}l"))
        splits = tuple(
            Split(axis=axis, into=(f"{axis}t", f"{axis}l"), factors=(count, 16)) for axis, count in counts.items()
        )
        order = tuple(name for piece in range(2) for split in splits for name in split.into[piece : piece + 1])
        return attrs.evolve(nest, splits=splits, order=order, tensorize=self.does(intrinsic, order[2]))

    def results(self) -> list[Nest]:
        """The sums of a warp, put into memory, and what the block does with them there."""
        product = self.product
        store = f"store_16x16x16_{SHORT[product.sums]}"
        counts = dict(zip("ij", product.tiles, strict=True))
        warp = At(stage="C.acc", loop="warp")
        if product.through is None:
            return [self.by_tile(Nest(stage="C", at=warp), counts, store, by_tiles=False)]
        stored = self.by_tile(Nest(stage="C.sh", at=warp, scope=product.through), counts, store)
        last = Nest(stage="D" if product.bias else "C", at=At(stage="C.acc", loop="jb"))
        sides = {axis: w * t for axis, w, t in zip("ij", product.warps, product.tiles, strict=True)}
        return [stored, self.by_all_threads(last, ("i", "j"), sides, lanes=4)]


@st.composite
def wmma_products(draw: st.DrawFn) -> Product:
    """Products of many tiles, dtypes and layouts."""
    factor, sums = draw(st.sampled_from(DTYPES))
    pairs = st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)])
    fetch = draw(st.sampled_from([*SHARED, None])) if factor != "int8" else draw(st.sampled_from(SHARED))
    through = draw(st.sampled_from([*SHARED, None]))
    if fetch == through and factor != sums:
        through = {"shared": "shared.dyn", "shared.dyn": "shared"}.get(fetch)
    by_tiles = draw(st.booleans()) if factor != "int8" else True
    blocks, steps = draw(pairs), (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    spare = (0, 0, 0)
    if by_tiles and fetch is not None and through is not None:
        rows, columns, depth = (draw(st.sampled_from([0, 0, 3, 15])) for _ in range(3))
        spare = (rows if blocks[0] > 1 else 0, columns if blocks[1] > 1 else 0, depth)
    return Product(
        blocks=blocks,
        warps=draw(pairs),
        tiles=draw(pairs),
        steps=steps,
        factor=factor,
        sums=sums,
        transposed=draw(st.booleans()),
        fetch=fetch,
        through=through,
        by_tiles=by_tiles,
        spare=spare,
        ahead=draw(st.integers(0, min(2, steps[0] - 1))) if fetch is not None else 0,
        align=draw(st.sampled_from([None, 0, 8, 16])) if fetch is not None and not by_tiles else None,
        bias=through is not None and draw(st.booleans()),
        arch=draw(st.sampled_from(["sm_80", "sm_90"])),
    )


@st.composite
def small_wmma_products(draw: st.DrawFn) -> Product:
    """Those of few tiles, which are proven as fast as other pairs."""
    product = draw(wmma_products())
    return attrs.evolve(product, warps=(product.warps[0], 1), tiles=(1, product.tiles[1]), steps=(product.steps[0], 1))
