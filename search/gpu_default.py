"""The schedule of a task for a GPU before anything is known: a kernel for each stage, a thread for each point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..spec.check import check_schedule
from ..spec.gpu import limits_of
from ..spec.schedule import BLOCKS, THREADS, Bind, BindFused, BindLoop, Nest, Schedule, Split

if TYPE_CHECKING:
    from ..spec.gpu import GpuLimits
    from ..spec.task import Task
    from ..spec.workload import Stage

THREADS_OF_BLOCK: Final = 256


def gpu_schedule(task: Task) -> Schedule:
    """Legal on any GPU, and slow where values are read more than once; always the same for a task."""
    limits = limits_of(task.target)
    assert limits is not None, task.target.kind
    schedule = Schedule(nests=tuple(_nest(stage, limits) for stage in task.workload.stages if stage.axes))
    check_schedule(schedule, task)
    return schedule


def _nest(stage: Stage, limits: GpuLimits) -> Nest:
    """The innermost axis over threads, all other spatial ones over blocks; what blocks cannot count stays a loop."""
    *outer, last = stage.axes
    threads = min(THREADS_OF_BLOCK, limits.threads_by_axis[0], last.extent)
    pieces = f"{last.name}_block", f"{last.name}_thread"
    blocks = -(-last.extent // threads)
    split = Split(
        axis=last.name,
        into=pieces,
        factors=(blocks, threads),
        tail="none" if blocks * threads == last.extent else "predicate",
    )
    extents = {axis.name: axis.extent for axis in outer} | {pieces[0]: blocks}
    counted = list(extents)
    while math.prod(extents[name] for name in counted) > limits.blocks_by_axis[0]:
        counted.pop()
    rest = [name for name in extents if name not in counted]
    bind: tuple[Bind, ...] = (BindLoop(loop=pieces[1], to=THREADS[0]),)
    if counted:
        bind = (BindFused(fuse=tuple(counted), as_=f"{last.name}_blocks", to=BLOCKS[0]), *bind)
    order = (*counted, pieces[1], *rest, *(axis.name for axis in stage.reduce))
    return Nest(stage=stage.name, splits=(split,), order=order, bind=bind)
