"""The ways to compute a task: by its own workload, and by the algorithms that are known for its operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .store.store import DEFAULT_ALLOW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .spec.algorithm import Algorithm
    from .spec.claim import Machine
    from .spec.schedule import Schedule
    from .spec.task import Task
    from .store.speeds import Speeds


def default_schedule(task: Task, machine: Machine | None = None, speeds: Speeds | None = None) -> Schedule:
    """The schedule that the analytic model likes best, without measuring any; always the same for the same arguments.

    Where the task's operator can be computed in other ways, by one of them perhaps; none that rounds more.
    """
    from .search.default import default_schedule as best

    return best(task, machine, speeds, algorithms_of(task))


def algorithms_of(task: Task, allow: Collection[str] = DEFAULT_ALLOW) -> tuple[Algorithm, ...]:
    """The other ways to compute a task, by the name of its operator: none where it has no name."""
    if task.op is None:
        return ()

    from .nn.algorithms import algorithms_of as of_operator

    return of_operator(task, allow)


def allowed(task: Task, schedules: Iterable[Schedule], allow: Collection[str]) -> tuple[Schedule, ...]:
    """Those schedules of a task that compute it as exactly as is allowed."""
    from .spec.tolerance import accuracy_of

    return tuple(schedule for schedule in schedules if accuracy_of(task.workload, schedule.algorithm) in allow)
