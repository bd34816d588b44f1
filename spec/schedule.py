"""The schedule: how a workload is computed, as a declarative record.

An algorithm may put another workload in the place of the task's. Stagings rewrite the workload, in order, and name the
stages they create. Nests then give the loops, at most one nest for each stage of the rewritten workload; a stage
without one keeps its axes as plain loops, spatial before reduce.
"""

from __future__ import annotations

import functools
from typing import ClassVar, Final, TypeAlias

import attrs

from .algorithm import Algorithm
from .errors import SpecError
from .expr import Expr
from .expr_text import MAX_NAME, NAME, RESERVED
from .sequences import as_tuples

TAILS: Final = ("none", "pad", "predicate")
MAX_PIECES: Final = 64
"""Pieces of one split, as many as the loops that may stand around a stage."""
BLOCKS: Final = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
"""A GPU's blocks: each runs on its own and has a shared memory of its own."""
THREADS: Final = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
"""The threads of a block."""
VTHREAD: Final = "vthread"
"""A loop that each thread steps through side by side with itself, with local buffers for each step."""
GPU_BINDINGS: Final = (*BLOCKS, *THREADS, VTHREAD)
BINDINGS: Final = ("parallel", "vectorize", "unroll", "serial", *GPU_BINDINGS)
SHARED: Final = ("shared", "shared.dyn")
"""Memory of a block: of a size fixed in the code, or given at the launch, where there is more of it."""
FRAGMENTS: Final = ("wmma.matrix_a", "wmma.matrix_b", "wmma.accumulator")
"""Registers of the 32 threads of a warp together, which tensor cores multiply: left factor, right factor, sums."""
SCOPES: Final = ("global", *SHARED, "local", *FRAGMENTS)
MAX_ALIGN: Final = 1024
"""Elements; a layout is padded by less than that for each step of an axis."""
MAX_AHEAD: Final = 3
_SINCE_GPU: Final = {"since_of": dict.fromkeys(GPU_BINDINGS, 2)}


@functools.lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    """Remembered, because the names of a store's schedules are few and a lookup checks dozens."""
    return len(value) <= MAX_NAME and NAME.match(value) is not None and value not in RESERVED


def _name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if type(value) is not str or not _is_name(value):
        raise SpecError(f"{value!r} is not a name; use letters, digits, _ and dots, at most 128", attribute.name)


def _names(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for position, name in enumerate(value):
        if type(name) is not str or not _is_name(name):
            raise SpecError(f"{name!r} is not a name; use letters, digits, _ and dots", f"{attribute.name}[{position}]")
    if len(set(value)) != len(value):
        raise SpecError(f"{', '.join(value)}: a name is listed twice", attribute.name)


def _factors(_: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    for position, factor in enumerate(value):
        if type(factor) is not int or not 1 <= factor <= 2**31 - 1:
            place = f"{attribute.name}[{position}]"
            raise SpecError(f"factor {factor!r}; allowed: a whole number from 1 to 2**31 - 1", place)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Split:
    """Cuts an axis into several, outermost first: ``k`` into ``(ko, ki)`` by ``(8, 32)`` is ``k = ko * 32 + ki``.

    `tail` says what happens where the factors' product exceeds the extent: ``none`` forbids it; ``predicate`` skips
    the surplus iterations (nests only); ``pad`` computes them on a padded domain and drops them (stagings only).
    """

    axis: str = attrs.field(validator=_name)
    into: tuple[str, ...] = attrs.field(validator=_names)
    factors: tuple[int, ...] = attrs.field(validator=_factors)
    tail: str = "none"

    def __attrs_post_init__(self) -> None:
        if len(self.into) != len(self.factors) or not self.into:
            raise SpecError(f"{len(self.factors)} factors for {len(self.into)} names; give one each", "factors")
        if len(self.into) > MAX_PIECES:
            raise SpecError(f"{len(self.into)} pieces of one axis; at most {MAX_PIECES}: split into fewer", "into")
        if self.tail not in TAILS:
            raise SpecError(f"unknown tail {self.tail!r}; allowed: {', '.join(TAILS)}", "tail")


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Fuse:
    """Makes one axis of several neighbours, outermost first: ``h``, ``w`` as ``p`` is ``p = h * W + w``."""

    fuse: tuple[str, ...] = attrs.field(validator=_names)
    as_: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True)
class Inline:
    """Computes a stage where it is read and drops it.

    before: ``P[i] = f(X[i])``, ``Y[i] = g(P[i + 1])``    after: ``Y[i] = g(f(X[i + 1]))``
    In TVM: compute_inline. Of an intermediate stage without a reduction.
    """

    stage: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Accumulate:
    """Computes a stage over an iteration space of its own, into a buffer of that layout, and copies the result out.

    `fuses`, then `splits`, are applied to the stage's axes, spatial with spatial and reduce with reduce; `order`
    lists the resulting spatial axes, outermost first: the layout of the new buffer `as_`. Of a stage with several
    outputs, all have it: the new stage is called `as_` and fills ``as_.v0``, ``as_.v1``, … in the order of the outputs.

    before: ``C[i, j] += A[i, k] * B[k, j]``
    after (j into jo, ji by 32; order jo, i, ji): ``C.acc[jo, i, ji] += A[i, k] * B[k, jo * 32 + ji]``,
    ``C[i, j] = C.acc[j // 32, i, j % 32]``
    In TVM: cache_write, transform_block_layout, pad_einsum.
    """

    stage: str = attrs.field(validator=_name)
    as_: str = attrs.field(validator=_name)
    fuses: tuple[Fuse, ...] = ()
    splits: tuple[Split, ...] = ()
    order: tuple[str, ...] = attrs.field(validator=_names)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Reindex:
    """Stages what a stage reads of a buffer, indexed by the stage's own axes (im2col is one use, packing another).

    `order` lists axes of the stage (after `splits`), outermost first: the layout of the new buffer. Where the stage
    reads the buffer in several ways, `load` says which one is staged, as it stands in the body: ``P[i + 1]``.

    before: ``Y[k, p] += W[k, c] * X[c, f(p)]``    after (order p, c): ``X.col[p, c] = X[c, f(p)]``,
    ``Y[k, p] += W[k, c] * X.col[p, c]``
    In TVM: cache_read, reindex, transform_layout.
    """

    stage: str = attrs.field(validator=_name)
    reads: str = attrs.field(validator=_name)
    as_: str = attrs.field(validator=_name)
    splits: tuple[Split, ...] = ()
    order: tuple[str, ...] = attrs.field(validator=_names)
    load: Expr | None = attrs.field(default=None, metadata={"since": 2})


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Pack:
    """Stages a whole buffer in another layout for one reader; its dimensions are named by `dims`.

    before: ``Y[k, w] += X[c, w + r] * W[k, c, r]``
    after (dims c, w; c into co, ci by 8; order co, w, ci): ``X.pack[co, w, ci] = X[co * 8 + ci, w]``,
    ``Y[k, w] += X.pack[c // 8, w + r, c % 8] * W[k, c, r]``
    In TVM: cache_read, transform_layout.
    """

    stage: str = attrs.field(validator=_name)
    reads: str = attrs.field(validator=_name)
    as_: str = attrs.field(validator=_name)
    dims: tuple[str, ...] = attrs.field(validator=_names)
    splits: tuple[Split, ...] = ()
    order: tuple[str, ...] = attrs.field(validator=_names)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Partial:
    """Splits a reduction into partial results kept side by side, and a short reduction over them.

    `splits` cut reduce axes; those in `keep` become spatial axes, innermost, of the new stage `as_`.

    before: ``y[i] += A[i, k] * x[k]``    after (k into ko, ki by 16; keep ki):
    ``y.part[i, ki] += A[i, ko * 16 + ki] * x[ko * 16 + ki]``, ``y[i] += y.part[i, ki]``
    In TVM: rfactor. Floating-point results are re-associated.
    """

    stage: str = attrs.field(validator=_name)
    as_: str = attrs.field(validator=_name)
    splits: tuple[Split, ...] = ()
    keep: tuple[str, ...] = attrs.field(validator=_names)


Staging: TypeAlias = Inline | Accumulate | Reindex | Pack | Partial


@attrs.frozen(kw_only=True)
class BindLoop:
    """Says what one loop becomes: parallel, vectorize, unroll, serial, or blocks and threads of a GPU.

    before: ``for i in 256: for j in 64:``    after (i to blockIdx.x, j to threadIdx.x): one kernel of 256 blocks of 64
    threads, each of which does one step. In TVM: parallel, vectorize, unroll, bind.
    """

    loop: str = attrs.field(validator=_name)
    to: str = attrs.field(metadata=_SINCE_GPU)

    def __attrs_post_init__(self) -> None:
        _check_binding(self.to)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class BindFused:
    """Fuses neighbouring loops, outermost first, into the loop `as_` and says what that becomes."""

    fuse: tuple[str, ...] = attrs.field(validator=_names)
    as_: str = attrs.field(validator=_name)
    to: str = attrs.field(metadata=_SINCE_GPU)

    def __attrs_post_init__(self) -> None:
        _check_binding(self.to)


Bind: TypeAlias = BindLoop | BindFused


def _check_binding(to: str) -> None:
    if to not in BINDINGS:
        raise SpecError(f"unknown binding {to!r}; allowed: {', '.join(BINDINGS)}", "to")


@attrs.frozen(kw_only=True)
class At:
    """A place: inside loop `loop` of stage `stage`, around that stage's inner loops."""

    stage: str = attrs.field(validator=_name)
    loop: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True)
class Tensorize:
    """Does a stage's loops from `loop` inwards by one tensor intrinsic of `intrinsics.py`.

    before: ``for jl in 16: for kk in 4: C[i, jl] += cast(int32, A[i, k]) * cast(int32, B.pack[k // 4, jl, k % 4])``
    after (vnni.dot_16x4): the same 64 products and sums by one instruction, vpdpbusd
    On a GPU the 32 threads of a warp do it together, and the loops are 16 by 16, and 16 of a sum.
    In TVM: blockize, tensorize.
    """

    SINCE: ClassVar[int] = 2

    loop: str = attrs.field(validator=_name)
    intrinsic: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True)
class Align:
    """Pads the layout of a shared buffer, so that threads that read along `axis` meet different memory banks.

    A step of `axis` then moves by a number of elements that is `offset` more than a multiple of `factor`.

    before: ``A.sh[k, i]`` at ``k * 64 + i``    after (axis k, factor 32, offset 4): at ``k * 68 + i``
    In TVM: storage_align.
    """

    SINCE: ClassVar[int] = 2
    axis: str = attrs.field(validator=_name)
    factor: int
    offset: int = 0

    def __attrs_post_init__(self) -> None:
        if type(self.factor) is not int or not 1 <= self.factor <= MAX_ALIGN:
            raise SpecError(f"factor {self.factor!r}; allowed: 1 to {MAX_ALIGN}", "factor")
        if type(self.offset) is not int or not 0 <= self.offset < self.factor:
            raise SpecError(f"offset {self.offset!r}; allowed: 0 to {self.factor - 1}, less than the factor", "offset")


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Nest:
    """The loops of one stage.

    `splits` cut the stage's axes, `order` lists all resulting loops outermost first (absent: as they come), `bind` says
    what loops become. `at` computes the stage inside another's loop; its axes then run over what is needed there.
    `start` puts the start of a reduction before that loop; absent, it stays with the update.
    `unroll_limit` lets LLVM unroll inner loops up to that many steps. `tensorize` does the innermost ones by one
    intrinsic.
    `skip` names a loop of a sum, at its start or inside: steps whose every product has a factor in padding add nothing
    and are left out (what is infinite or no number there, times the zeros of padding, too).

    before: ``for r: for c: Y[h] += pad[c, h + r] * W[c, r]``
    after (skip r): ``for r: if h + r >= 1 and h + r < 15: for c: Y[h] += pad[c, h + r] * W[c, r]``

    On a GPU, `scope` says in which memory the stage's buffer is, or in which fragments, which only intrinsics of warps
    fill and read (in TVM: set_scope), `align` pads its layout, and
    `ahead` computes an attached stage that many steps of its loop before they are needed, in as many buffers more:

    before: ``for k: sh = A[k]; use(sh)``    after (ahead 1): ``sh0 = A[0]; for k: sh1 = A[k + 1]; use(sh0); swap``
    In TVM: software_pipeline_stage, software_pipeline_order.
    """

    stage: str = attrs.field(validator=_name)
    splits: tuple[Split, ...] = ()
    order: tuple[str, ...] = attrs.field(default=(), validator=_names)
    bind: tuple[Bind, ...] = ()
    start: str | None = None
    at: At | None = None
    unroll_limit: int | None = None
    tensorize: Tensorize | None = None
    skip: str | None = attrs.field(default=None, metadata={"since": 2})
    scope: str = attrs.field(default="global", metadata={"since": 2})
    align: Align | None = None
    ahead: int = attrs.field(default=0, metadata={"since": 2})

    def __attrs_post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise SpecError(f"unknown scope {self.scope!r}; allowed: {', '.join(SCOPES)}", "scope")
        if type(self.ahead) is not int or not 0 <= self.ahead <= MAX_AHEAD:
            raise SpecError(f"{self.ahead!r} steps ahead; allowed: 0 to {MAX_AHEAD}", "ahead")


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Schedule:
    """Stagings, then nests; the empty schedule computes every stage by plain loops.

    `algorithm`, where there is one, is what they are about in the place of the task's own workload.

    `once` names stages of the rewritten workload that read nothing but constants of the task: they are computed once,
    outside the kernel, which takes their buffers as further parameters.

    before (each call): ``W.pack[ko, c, ki] = W[ko * 8 + ki, c]``, ``Y[k, p] += W.pack[k // 8, c, k % 8] * X[c, p]``
    after (once: W.pack): ``pack(W, W.pack)`` does the former, ``main(X, W, Y, W.pack)`` the latter
    In TVM: a function of its own, and parameters; Relax folds such functions of constants.
    """

    algorithm: Algorithm | None = attrs.field(default=None, metadata={"since": 2})
    stagings: tuple[Staging, ...] = ()
    once: tuple[str, ...] = attrs.field(default=(), validator=_names, metadata={"since": 2})
    nests: tuple[Nest, ...] = ()
