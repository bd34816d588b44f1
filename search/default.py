"""The schedule that nobody measured: the best of a space by the analytic model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.check import check_schedule
from ..spec.gpu import limits_of
from ..spec.schedule import Schedule
from ..store.machine import this_machine
from .collecting import rare_collections
from .first_look import first_look, rank_of
from .gpu_default import gpu_schedule
from .space import Candidate, Space, candidate_from_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.algorithm import Algorithm
    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..store.speeds import Speeds


def default_schedule(
    task: Task,
    machine: Machine | None = None,
    speeds: Speeds | None = None,
    algorithms: Sequence[Algorithm] = (),
) -> Schedule:
    """The schedule that the analytic model likes best, without measuring any; always the same for the same arguments.

    `machine` is this one where it is not given; with its `speeds` the model knows it better. `algorithms` are other
    ways to compute the task; none that rounds more than the task's own is taken. For a GPU there is no model yet: a
    thread for each output.
    """
    if limits_of(task.target) is not None:
        return gpu_schedule(task)
    with rare_collections():
        space = Space(task, machine or this_machine(), speeds=speeds, algorithms=algorithms)
        return default_candidate(space).schedule


def default_candidate(space: Space) -> Candidate:
    """The candidate with the least predicted time among samples and their neighbours; plain loops in an empty space.

    Of every way to compute the task that needs nobody's leave.
    """
    ways = zip(space.ways, (None, *space.algorithms), strict=True)
    return best_of(space, [way for way, algorithm in ways if algorithm is None or not algorithm.is_loose])


def opening_candidates(space: Space) -> tuple[Candidate, ...]:
    """The best of each algorithm that rounds more than the task's own: whoever allows one has it tried."""
    ways = zip(space.ways[1:], space.algorithms, strict=True)
    return tuple(best_of(space, [way]) for way, algorithm in ways if algorithm.is_loose)


def best_of(space: Space, ways: Sequence[range]) -> Candidate:
    """The candidate with the least predicted time of some ways to compute the task, which share the samples."""
    ways = space.near(ways)
    return min(first_look(space, ways), key=rank_of, default=None) or _plain(space, ways[0])


def _plain(space: Space, way: range) -> Candidate:
    schedule = Schedule(algorithm=space.sketches[way.start].algorithm)
    plan = check_schedule(schedule, space.task)
    return candidate_from_plan((), schedule, plan, space.hardware)
