"""The GPU's side of the loop-nest model: which stages make up a kernel, its blocks and threads, and its memory.

A stage with a nest of its own begins a kernel; the stages computed inside it belong to it. The checks, `show --cost`
and the lowering go by these numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .dtypes import size_bytes
from .expr import Axis
from .intrinsics import WARP
from .nest import StageNest
from .schedule import BLOCKS, FRAGMENTS, THREADS, VTHREAD
from .tensorized import warp_intrinsic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .nest import BoundLoop, Plan
    from .workload import Stage

WARP_LANES: Final = THREADS[0]
"""What the 32 threads of a warp are."""
Place: TypeAlias = tuple[str, str]
"""A loop of a plan: stage, and the loop's name as it runs."""


@attrs.frozen(kw_only=True)
class Kernel:
    """What runs at once: the stage that begins it and those computed inside it, in the order of their data.

    `blocks` and `threads` are extents by binding (``threadIdx.x``); an axis that is not there has one step. Where a
    stage is tensorized there are warps, whose lanes are ``threadIdx.x``, bound or not.
    """

    root: StageNest
    nests: tuple[StageNest, ...]
    blocks: Mapping[str, int]
    threads: Mapping[str, int]
    vthreads: int

    @property
    def block_count(self) -> int:
        """Blocks of a launch."""
        return math.prod(self.blocks.values())

    @property
    def thread_count(self) -> int:
        """Threads of a block."""
        return math.prod(self.threads.values())

    @property
    def names(self) -> frozenset[str]:
        """The stages in it."""
        return frozenset(nest.stage.name for nest in self.nests)


def kernels(plan: Plan) -> tuple[Kernel, ...]:
    """The kernels of a plan, in the order in which they run."""
    return tuple(kernel_of(plan, nest) for nest in plan.nests if nest.at is None)


def kernel_of(plan: Plan, nest: StageNest) -> Kernel:
    """The kernel that a stage is part of."""
    root = root_of(plan, nest)
    nests = tuple(other for other in plan.nests if root_of(plan, other) is root)
    bound = [loop for other in nests for loop in other.bound]
    lanes = {WARP_LANES: WARP} if has_warps(nests) else {}
    return Kernel(
        root=root,
        nests=nests,
        blocks={loop.to: loop.extent for loop in bound if loop.to in BLOCKS},
        threads=lanes | {loop.to: loop.extent for loop in bound if loop.to in THREADS},
        vthreads=math.prod(loop.extent for loop in bound if loop.to == VTHREAD),
    )


def has_warps(nests: Iterable[StageNest]) -> bool:
    """True where a stage of a kernel is done by warps, each as one."""
    return any(warp_intrinsic(nest) is not None for nest in nests)


def root_of(plan: Plan, nest: StageNest) -> StageNest:
    """The stage with a nest of its own that `nest` is computed inside of, itself where it has one."""
    while nest.at is not None:
        nest = plan.by_stage[nest.at.stage]
    return nest


def gpu_loops(plan: Plan, nest: StageNest) -> tuple[tuple[Place, BoundLoop], ...]:
    """The blocks and threads that one step of a stage belongs to, outermost first, each with its place.

    All threads of a block fill a shared buffer together for those that read it, so a shared producer has only threads
    of its own: those around it are not its own but those of its readers. A shared consumer puts there what each thread
    around it has.
    """
    own = tuple(((nest.stage.name, loop.name), loop) for loop in nest.bound if loop.on_gpu)
    if nest.at is None:
        return own
    host = plan.by_stage[nest.at.stage]
    inside = {(host.stage.name, loop.name) for loop in host.bound[host.bound_position(nest.at.loop) + 1 :]}
    around = tuple((place, loop) for place, loop in gpu_loops(plan, host) if place not in inside)
    if nest.shared and not nest.consumer:
        around = tuple((place, loop) for place, loop in around if loop.to in BLOCKS)
    return (*around, *own)


# --- memory -----------------------------------------------------------------------------------------------------------


def buffer_part(plan: Plan, nest: StageNest) -> tuple[int, ...]:
    """The shape of what is kept of a stage's buffer: all that lives between its writing and its last reading.

    Of a stage with stages inside it that read it, that is what one step of the outermost of their loops fills; of an
    attached stage else, what it computes in the loops that its readers are not in. A shared buffer keeps that of all
    threads.
    """
    stage = nest.stage
    depths = [_depth(plan, nest, reader) for output in stage.outputs for reader in plan.workload.readers(output.name)]
    if not depths or any(depth is None for depth in depths):
        return _attached_part(plan, nest) if nest.at is not None else stage.shape
    position = min(depth for depth in depths if depth is not None)
    shared = {part.name for loop in nest.bound if nest.shared and loop.on_gpu for part in loop.parts}
    blocks = {part.name for loop in nest.bound if loop.to in BLOCKS for part in loop.parts}
    inner = {loop.name for loop in nest.loops[position + 1 :]} | (shared - blocks)
    shape = []
    for axis in nest.axes[: len(stage.axes)]:
        pieces = [loop for loop in nest.loops if loop.axis == axis.name and loop.name in inner]
        shape.append(min(axis.extent, 1 + sum(loop.stride * (loop.extent - 1) for loop in pieces)))
    return tuple(shape)


def _attached_part(plan: Plan, nest: StageNest) -> tuple[int, ...]:
    """What is kept of an attached stage: its part at its place, in each step of the loops that no reader is in."""
    around = _around(plan, nest)
    common = len(around)
    for output in nest.stage.outputs:
        for reader in plan.workload.readers(output.name):
            theirs = plan.by_stage[reader.name]
            both = zip(around[:common], [*_around(plan, theirs), *_own(theirs)], strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], both))
    apart = around[common:]
    shape = []
    for axis in nest.axes[: len(nest.stage.axes)]:
        base = {atom.name: step for atom, step in nest.box[axis.name].base if isinstance(atom, Axis)}
        reach = sum(base.get(name, 0) * (extent - 1) for name, extent in apart)
        shape.append(min(nest.stage.extents[axis.name], axis.extent + reach))
    return tuple(shape)


def _around(plan: Plan, nest: StageNest) -> list[tuple[str, int]]:
    """The loops of other stages around a nest and their extents, outermost first, called as in the nest's box."""
    if nest.at is None:
        return []
    host = plan.by_stage[nest.at.stage]
    return [*_around(plan, host), *_own(host)[: host.position(nest.at.loop) + 1]]


def _own(nest: StageNest) -> list[tuple[str, int]]:
    return [(f"{nest.stage.name}:{loop.name}", loop.extent) for loop in nest.loops]


def _depth(plan: Plan, nest: StageNest, reader: Stage) -> int | None:
    """The loop of `nest` that `reader` is computed inside of; None where it is not computed inside `nest`."""
    inner = plan.by_stage[reader.name]
    while inner.at is not None:
        if inner.at.stage == nest.stage.name:
            return nest.position(inner.at.loop)
        inner = plan.by_stage[inner.at.stage]
    return None


def kept_strides(nest: StageNest, shape: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Elements between steps of each axis where `shape` of a stage's buffer is kept, and elements in all.

    `align` of the nest pads the steps of an axis.
    """
    elements, strides = 1, []
    for axis, extent in zip(reversed(nest.stage.axes), reversed(shape), strict=True):
        align = nest.nest.align
        if align is not None and align.axis == axis.name:
            elements += (align.factor + align.offset - elements % align.factor) % align.factor
        strides.append(elements)
        elements *= extent
    return tuple(reversed(strides)), elements


def strides_in_memory(plan: Plan, buffer: str) -> tuple[int, ...]:
    """Elements between steps of each dimension of a buffer, in the memory that it is in."""
    writer = plan.writer_of(buffer)
    if writer is not None and writer.nest.scope != "global":
        return kept_strides(writer, buffer_part(plan, writer))[0]
    shape = plan.workload.buffers[buffer].shape
    return tuple(math.prod(shape[dimension + 1 :]) for dimension in range(len(shape)))


def buffer_bytes(plan: Plan, nest: StageNest) -> int:
    """Bytes that the buffers of a stage take that is not in global memory: for a block, or for a thread.

    Each virtual thread keeps its own part of a local buffer; a stage computed ahead has a buffer for each step. Of a
    fragment each thread has its part; of factors of 16 bits floats the hardware keeps every value twice.
    """
    elements = kept_strides(nest, buffer_part(plan, nest))[1]
    copies = 1 + nest.nest.ahead
    if not nest.shared:
        copies *= math.prod(loop.extent for _, loop in gpu_loops(plan, nest) if loop.to == VTHREAD)
    size = elements * copies * sum(size_bytes(output.dtype) for output in nest.stage.outputs)
    if nest.nest.scope not in FRAGMENTS:
        return size
    twice = nest.nest.scope != FRAGMENTS[-1] and nest.stage.outputs[0].dtype == "float16"
    return -(-size * (1 + twice) // WARP)


def memory_bytes(plan: Plan, kernel: Kernel, scope: str) -> int:
    """Bytes of all buffers of a kernel in one kind of memory: for a block, or for a thread of registers."""
    return sum(buffer_bytes(plan, nest) for nest in kernel.nests if nest.nest.scope == scope)


def register_bytes(plan: Plan, kernel: Kernel) -> int:
    """Bytes of the registers that a thread has for its local buffers and its part of fragments."""
    return sum(memory_bytes(plan, kernel, scope) for scope in ("local", *FRAGMENTS))


def kernel_text(plan: Plan, kernel: Kernel) -> Iterator[str]:
    """What is said of a kernel: blocks, threads, virtual threads, bytes of shared memory, bytes and registers."""
    yield f"{kernel.block_count} block{'s' * (kernel.block_count != 1)} of {_threads_text(kernel)}"
    if kernel.vthreads > 1:
        yield f"{kernel.vthreads} virtual threads in each"
    for scope, word in (("shared", "shared"), ("shared.dyn", "dynamic shared")):
        if count := memory_bytes(plan, kernel, scope):
            yield f"{count} bytes {word}"
    local, count = memory_bytes(plan, kernel, "local"), register_bytes(plan, kernel)
    kinds = [f"{bytes_} bytes {word}" for bytes_, word in ((local, "local"), (count - local, "fragments")) if bytes_]
    if kinds:
        yield f"{' and '.join(kinds)}, {-(-count // 4)} registers, in a thread"


def _threads_text(kernel: Kernel) -> str:
    count = kernel.thread_count
    shape = " x ".join(str(kernel.threads[axis]) for axis in THREADS if axis in kernel.threads)
    return f"{count} thread{'s' * (count != 1)}" + (f" ({shape})" if len(kernel.threads) > 1 else "")
