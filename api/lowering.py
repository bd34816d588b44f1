"""A schedule applied to a task: as a rewritten workload, without TVM, and as TVM's own schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .spec.task import Task

if TYPE_CHECKING:
    from .spec.schedule import Schedule
    from .spec.workload import Workload


def rewrite(schedule: Schedule, task: Task | Workload) -> Workload:
    """The workload of `task` with every staging of `schedule` applied: what its nests are about. Needs no TVM.

    SpecError, with the place, where a staging does not fit.
    """
    from .spec.rewrite import rewrite as rewrite_workload

    return rewrite_workload(schedule, task.workload if isinstance(task, Task) else task)


def lower(schedule: Schedule, task: Task | Workload) -> Any:
    """A `tvm.s_tir.Schedule` whose ``mod["main"]`` computes the task by `schedule` and takes the task's parameters.

    Where the schedule computes stages once, ``mod["pack"]`` does, and their buffers are further parameters of ``main``.
    exp, sigmoid, tanh and erf of float32 stand there by name: TVM alone compiles them as calls for each element,
    `Result.build` as vectors.
    SpecError, with the place, where the schedule does not fit.
    """
    from .spec.tvm_lower import lower as lower_schedule

    return lower_schedule(schedule, task)
