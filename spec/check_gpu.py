"""Checks of a schedule for a GPU, and that one for a CPU says nothing of GPUs: every rule one function on the model.

The rules make a kernel free of races by construction: an element is written by one thread, or by each thread for
itself, and read by that thread, or by others only out of shared memory, which TVM guards by barriers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from .check_gpu_shared import check_dynamic_outputs, check_skipped_sums, check_small_dynamic
from .check_wmma import check_fragments, check_one_dtype, check_tiles, check_warps
from .dtypes import size_bytes
from .errors import SpecError
from .expr import Load, axes_in
from .kernel import WARP_LANES, gpu_loops, kernel_of, memory_bytes, register_bytes
from .schedule import BLOCKS, FRAGMENTS, GPU_BINDINGS, SHARED, THREADS, VTHREAD
from .tensorized import warp_intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gpu import GpuLimits
    from .nest import Plan, StageNest

MAX_VTHREADS: Final = 64
"""Virtual threads of a kernel: TVM writes their work out one after another."""
LANES: Final = (2, 4)
"""Lanes of a vectorized loop: CUDA has vectors of these for every type."""
_BYTES_OF_A_WORD: Final = 4
"""TVM makes so many bytes at once of constants only."""


def check_for_cpu(_: Plan, nest: StageNest, target: str) -> None:
    """A CPU has neither blocks nor threads nor memories to choose from."""
    for loop in nest.bound:
        if loop.on_gpu:
            message = f"loop {loop.name!r} is bound to {loop.to}, which target {target!r} does not have"
            raise SpecError(f"{message}; allowed there: parallel, vectorize, unroll, serial", "bind")
    said = {"scope": nest.nest.scope != "global", "align": nest.nest.align is not None, "ahead": nest.nest.ahead != 0}
    for word, is_said in said.items():
        if is_said:
            raise SpecError(f"is for GPUs, the target is {target!r}; leave {word} out", word)


def check_no_parallel(_: Plan, nest: StageNest, __: GpuLimits) -> None:
    """A GPU's parallel loops are blocks and threads."""
    for loop in nest.bound:
        if loop.to == "parallel":
            message = f"loop {loop.name!r} is parallel, which is for CPUs"
            raise SpecError(f"{message}; bind it to one of {', '.join(GPU_BINDINGS)}", "bind")


def check_blocks(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """Blocks are the outermost loops of a kernel, each kind once, and stages attached in it are inside them."""
    bound = [loop.to for loop in nest.bound]
    count = sum(to in BLOCKS for to in bound)
    if nest.at is not None:
        if count:
            raise SpecError("an attached stage has the blocks of its host; bind its loops to threads", "bind")
        host = plan.by_stage[nest.at.stage]
        position = host.position(nest.at.loop)
        for loop in host.bound:
            if loop.to in BLOCKS and host.loops.index(loop.parts[0]) > position:
                message = f"{nest.at.loop!r} is around the blocks of loop {loop.name!r}, which share nothing"
                raise SpecError(f"{message}; attach at {loop.name!r} or further in", "at.loop")
    for number, loop in enumerate(nest.bound[:count]):
        if loop.to not in BLOCKS:
            message = f"loop {loop.name!r} is outside one bound to blocks"
            raise SpecError(f"{message}; order the blocks outermost", "bind")
        if loop.to in bound[:number]:
            raise SpecError(f"two loops are bound to {loop.to}; fuse them, or use another of x, y, z", "bind")


def check_threads(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """Each kind of thread is bound once around a step, over spatial axes; a reduction starts inside them."""
    for loop in nest.bound:
        if loop.on_gpu and loop.reduce:
            message = f"loop {loop.name!r} runs over a reduce axis, and its steps add into one place"
            raise SpecError(f"{message}; make partial results with partial, and bind what it keeps", "bind")
    seen: dict[str, str] = {}
    for (stage, name), loop in gpu_loops(plan, nest):
        if loop.to in THREADS and loop.to in seen:
            where = "" if stage == nest.stage.name else f" of {stage!r}"
            message = f"loops {seen[loop.to]} and {name!r}{where} are both bound to {loop.to}"
            raise SpecError(f"{message}; fuse them, or use another of x, y, z", "bind")
        seen[loop.to] = repr(name) if stage == nest.stage.name else f"{name!r} of {stage!r}"
    if nest.nest.start is not None:
        for loop in nest.bound[nest.bound_position(nest.nest.start) :]:
            if loop.on_gpu:
                message = f"loop {loop.name!r}, bound to {loop.to}, is inside {nest.nest.start!r}"
                raise SpecError(f"{message}; start inside all blocks and threads", "start")


def check_vthreads(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """Virtual threads are those of a kernel's own loops, at most three of them, and share nothing."""
    loops = [loop for loop in nest.bound if loop.to == VTHREAD]
    if loops and nest.at is not None:
        raise SpecError("an attached stage has no virtual threads of its own; bind its loops to threads", "bind")
    if len(loops) > 3:
        raise SpecError(f"{len(loops)} loops are virtual threads; at most 3: fuse some", "bind")
    if nest.shared and any(loop.to == VTHREAD for _, loop in gpu_loops(plan, nest)):
        raise SpecError("virtual threads cannot fill a shared buffer together; bind the loop to threads", "bind")


def check_scope(plan: Plan, nest: StageNest, limits: GpuLimits) -> None:
    """Shared and local buffers are temporaries that live in one kernel."""
    scope = nest.nest.scope
    if scope == "shared.dyn" and not limits.dynamic_shared_bytes:
        raise SpecError('this target has no dynamic shared memory; use "shared"', "scope")
    names = {output.name for output in nest.stage.outputs}
    if scope == "global":
        _check_kept(plan, nest, names)
        return
    if not names.isdisjoint(plan.workload.params):
        message = f"{nest.stage.name!r} is an output, and outputs are in global memory"
        raise SpecError(f"{message}; accumulate it, and give the scope to what is made", "scope")
    kernel = kernel_of(plan, nest)
    for name in sorted(names):
        for reader in plan.workload.readers(name):
            if reader.name not in kernel.names:
                message = f"{reader.name!r} reads {name!r} in another kernel, after {scope} memory is gone"
                raise SpecError(f"{message}; attach one to the other, or leave scope out", "scope")


def _check_kept(plan: Plan, nest: StageNest, names: set[str]) -> None:
    """A kernel cannot make global memory for itself."""
    kernel = kernel_of(plan, nest)
    readers = {reader.name for name in names for reader in plan.workload.readers(name)}
    if names.isdisjoint(plan.workload.params) and readers <= kernel.names:
        message = f"{nest.stage.name!r} is read in its own kernel only, which has no global memory for it"
        raise SpecError(f"{message}; give it the scope local or shared", "scope")


def check_cooperation(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """What other threads may see is written once: its stage is inside all kinds of threads that the kernel has."""
    if nest.nest.scope in ("local", *FRAGMENTS):
        return
    kernel = kernel_of(plan, nest)
    here = {loop.to for _, loop in gpu_loops(plan, nest)} | ({WARP_LANES} if warp_intrinsic(nest) else set())
    missing = [axis for axis in THREADS if axis in kernel.threads and axis not in here]
    if missing:
        listed = ", ".join(f"{axis} ({kernel.threads[axis]})" for axis in missing)
        whose = "of its own " if nest.shared and nest.at is not None else ""
        message = f"{nest.stage.name!r} has no loop {whose}bound to {listed}, so every thread would fill all of it"
        raise SpecError(f"{message}; bind one, or make its scope local", "bind")


def check_thread_extents(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """All loops of a kernel that are bound to one kind of thread have the same number of steps."""
    kernel = kernel_of(plan, nest)
    for loop in nest.bound:
        for other in kernel.nests:
            for its in other.bound:
                if loop.to in THREADS and its.to == loop.to and its.extent != loop.extent:
                    message = f"loop {loop.name!r} has {loop.extent} steps of {loop.to}"
                    message += f", but {its.name!r} of {other.stage.name!r} has {its.extent}"
                    raise SpecError(f"{message}; split them alike", "bind")


def check_crossing(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """What a stage reads in its kernel was written by its own thread, or is shared."""
    kernel = kernel_of(plan, nest)
    mine = [place for place, _ in gpu_loops(plan, nest)]
    for buffer in nest.stage.reads:
        writer = plan.workload.writer.get(buffer)
        if writer is None or writer.name not in kernel.names:
            continue
        producer = plan.by_stage[writer.name]
        for place, loop in gpu_loops(plan, producer):
            if place not in mine and not (producer.shared and loop.to in THREADS):
                message = f"{nest.stage.name!r} reads {buffer!r} in other steps of {loop.to} than wrote it"
                message += f" (loop {place[1]!r} of {place[0]!r})"
                raise SpecError(
                    f'{message}; attach it inside that loop, or make the scope of {buffer!r} "shared"', "at"
                )


def check_shared_place(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """A shared stage among threads is attached to the stage that reads it, and that stage has all these threads.

    Or stages read it that are computed there and bring no threads of their own. A consumer is filled by the threads
    that it is inside of.
    """
    if nest.at is None or not nest.shared or nest.consumer:
        return
    host = plan.by_stage[nest.at.stage]
    outer = {place for place, loop in gpu_loops(plan, host) if place[0] != host.stage.name and loop.to not in BLOCKS}
    hosting = host.bound[: host.bound_position(nest.at.loop) + 1]
    around = [loop for loop in hosting if loop.on_gpu and loop.to not in BLOCKS]
    if not outer and not around:
        return
    readers = [plan.by_stage[r.name] for output in nest.stage.outputs for r in plan.workload.readers(output.name)]
    if outer or not all(reader is host or _has_threads_of(reader, host) for reader in readers):
        message = f"{nest.stage.name!r} is shared, and at {nest.at.loop!r} it is inside threads"
        raise SpecError(f"{message}; attach it outside them, or to the stage with these threads that reads it", "at")


def _has_threads_of(nest: StageNest, host: StageNest) -> bool:
    """True where a stage is attached to `host` and its own loops are no threads."""
    return nest.at is not None and nest.at.stage == host.stage.name and not any(loop.on_gpu for loop in nest.bound)


def check_lanes(plan: Plan, nest: StageNest, limits: GpuLimits) -> None:
    """A vector is what a GPU moves at once; of bytes, vectors are moved but not computed with."""
    loop = nest.vector
    if loop is None:
        return
    widest = max(size_bytes(output.dtype) for output in nest.stage.outputs)
    if loop.extent not in (1, *LANES) or loop.extent * widest > limits.vector_bytes:
        allowed = [lanes for lanes in LANES if lanes * widest <= limits.vector_bytes]
        message = f"loop {loop.name!r} has {loop.extent} lanes of {widest} bytes"
        raise SpecError(f"{message}; allowed on this target: {', '.join(map(str, allowed))}", "bind")
    if loop.extent == 1 or all(size_bytes(dtype) > 1 for dtype in _dtypes(plan, nest)):
        return
    if nest.stage.reducer is not None or not all(isinstance(body, Load) for body in nest.stage.body):
        message = f"loop {loop.name!r} computes with vectors of bytes, which have no code on GPUs"
        raise SpecError(f"{message}; vectorize copies of bytes only", "bind")
    along = loop.parts[-1].axis
    if loop.extent == _BYTES_OF_A_WORD and any(along not in axes_in(body) for body in nest.stage.body):
        message = f"loop {loop.name!r} fills four lanes with one byte, which has no code on GPUs"
        raise SpecError(f"{message}; vectorize an axis that the byte moves with", "bind")


def _dtypes(plan: Plan, nest: StageNest) -> set[str]:
    """The types that a stage computes with: of what it reads and writes."""
    read = {plan.workload.buffers[name].dtype for name in nest.stage.reads}
    return read | {output.dtype for output in nest.stage.outputs}


def check_align(_: Plan, nest: StageNest, __: GpuLimits) -> None:
    """A layout is padded in shared memory, around its innermost axis."""
    align = nest.nest.align
    if align is None:
        return
    axes = [axis.name for axis in nest.stage.axes]
    if not nest.shared:
        raise SpecError("pads a shared buffer; give the stage the scope shared, or leave align out", "align")
    if align.axis not in axes[:-1]:
        listed = ", ".join(axes[:-1]) or "none"
        message = f"axis {align.axis!r} cannot be padded; allowed, all but the innermost of {nest.stage.name!r}"
        raise SpecError(f"{message}: {listed}", "align.axis")


def check_ahead(plan: Plan, nest: StageNest, _: GpuLimits) -> None:
    """Stages computed ahead are attached to a serial loop of enough steps, and read nothing that is computed there."""
    ahead = nest.nest.ahead
    if not ahead:
        return
    if nest.at is None or nest.consumer or nest.nest.scope in ("global", *FRAGMENTS):
        raise SpecError("is for shared and local stages attached to what reads them; leave ahead out", "ahead")
    host = plan.by_stage[nest.at.stage]
    number = host.bound_position(nest.at.loop)
    loop = host.bound[number]
    if loop.to != "serial" or loop.extent <= ahead:
        message = f"loop {loop.name!r} is {loop.to} with {loop.extent} steps"
        raise SpecError(f"{message}; stages are computed {ahead} ahead in a serial loop of more steps", "ahead")
    if number == len(host.bound) - 1:
        message = f"loop {loop.name!r} is the innermost of {host.stage.name!r}"
        raise SpecError(f"{message}; attach to a loop further out, or split it", "ahead")
    here = plan.inside(host.stage.name, host.position(nest.at.loop))
    for inner, place in ((host, number + 1), *((other, 0) for other in here)):
        if _has_stages_ahead(plan, inner, place):
            message = f"loop {inner.bound[place].name!r} right inside loop {loop.name!r} has stages ahead too"
            raise SpecError(f"{message}, which TVM cannot overlap; put a loop between, or leave ahead out", "ahead")
    others = {other.nest.ahead for other in here} - {0}
    if len(others) > 1:
        listed = " and ".join(str(number) for number in sorted(others))
        raise SpecError(f"stages at loop {loop.name!r} are {listed} steps ahead; let them agree", "ahead")
    late = {output.name for other in here if not other.nest.ahead for output in other.stage.outputs}
    for buffer in nest.stage.reads:
        if buffer in late:
            raise SpecError(
                f"reads {buffer!r}, computed at the same loop and not ahead; compute that ahead too", "ahead"
            )


def _has_stages_ahead(plan: Plan, host: StageNest, number: int) -> bool:
    """True where a nest has a loop of that number, from outside, with stages computed ahead."""
    loops = host.bound[number : number + 1]
    return any(n.nest.ahead for loop in loops for n in plan.inside(host.stage.name, host.position(loop.name)))


def check_kernel_limits(plan: Plan, nest: StageNest, limits: GpuLimits) -> None:
    """Blocks, threads, shared memory and registers of a kernel are what the target has."""
    if nest.at is not None:
        return
    kernel = kernel_of(plan, nest)
    for kinds, found, most in (
        (BLOCKS, kernel.blocks, limits.blocks_by_axis),
        (THREADS, kernel.threads, limits.threads_by_axis),
    ):
        for kind, allowed in zip(kinds, most, strict=True):
            if found.get(kind, 1) > allowed:
                raise SpecError(f"{found[kind]} steps of {kind}; at most {allowed} on this target: split it", "bind")
    if kernel.thread_count > limits.threads:
        raise SpecError(f"{kernel.thread_count} threads in a block; at most {limits.threads} on this target", "bind")
    if kernel.vthreads > MAX_VTHREADS:
        raise SpecError(f"{kernel.vthreads} virtual threads; at most {MAX_VTHREADS}: bind fewer steps", "bind")
    room = {"shared": limits.shared_bytes, "shared.dyn": limits.dynamic_shared_bytes, "local": 4 * limits.registers}
    for scope in (*SHARED, "local"):
        used = memory_bytes(plan, kernel, scope)
        if used > room[scope]:
            stages = [other.stage.name for other in kernel.nests if other.nest.scope == scope]
            who = "a thread's registers hold" if scope == "local" else "a block of this target has"
            message = f"{used} bytes of {scope} memory for {', '.join(stages)}, {who} {room[scope]}"
            raise SpecError(f"{message}; compute smaller parts at a time", "scope")
    if (used := register_bytes(plan, kernel)) > room["local"]:
        held = [other.stage.name for other in kernel.nests if other.nest.scope in ("local", *FRAGMENTS)]
        message = f"{used} bytes of fragments and local memory for {', '.join(held)}, a thread's registers hold"
        raise SpecError(f"{message} {room['local']}; compute smaller parts at a time", "scope")
    both, largest = sum(memory_bytes(plan, kernel, scope) for scope in SHARED), max(room[scope] for scope in SHARED)
    if both > largest:
        message = f"{both} bytes of shared and shared.dyn memory together, a block of this target has {largest}"
        raise SpecError(f"{message}; compute smaller parts at a time", "scope")


GpuRule: TypeAlias = "Callable[[Plan, StageNest, GpuLimits], None]"
GPU_RULES: Final[tuple[GpuRule, ...]] = (
    check_no_parallel,
    check_blocks,
    check_threads,
    check_vthreads,
    check_fragments,
    check_warps,
    check_tiles,
    check_one_dtype,
    check_scope,
    check_dynamic_outputs,
    check_skipped_sums,
    check_small_dynamic,
    check_cooperation,
    check_thread_extents,
    check_crossing,
    check_shared_place,
    check_lanes,
    check_align,
    check_ahead,
    check_kernel_limits,
)
"""The rules of a GPU in the order they are tried, after those of every target."""
