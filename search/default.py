"""The schedule that nobody measured: the best of a space by the analytic model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..spec.check import check_schedule
from ..spec.gpu import limits_of
from ..spec.schedule import Schedule
from ..store.machine import this_machine
from .collecting import rare_collections
from .first_look import SAMPLES, first_look
from .gpu_default import gpu_schedule
from .space import Candidate, Space, candidate_from_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.algorithm import Algorithm
    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..store.speeds import Speeds

CLIMBS: Final = 3
"""How many of the best samples, of different sketches, are improved step by step, and the best of each way."""
CANDIDATES: Final = 400
"""Candidates made in all, at a few milliseconds each."""


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
    made = first_look(space, ways)
    if not made:
        return _plain(space, ways[0])
    best = min(made, key=_order)
    budget = [CANDIDATES - SAMPLES]
    for start in _starts(ways, made):
        best = min(best, _climbed(space, start, budget), key=_order)
    return best


def _starts(ways: Sequence[range], made: Sequence[Candidate]) -> list[Candidate]:
    """The best candidates, of different sketches; the best of each way to compute the task is one of them."""
    of_sketch: dict[int, Candidate] = {}
    for candidate in sorted(made, key=_order):
        of_sketch.setdefault(candidate.point[0], candidate)
    ranked = list(of_sketch.values())
    first_of_way = [next((each for each in ranked if each.point[0] in way), None) for way in ways]
    return list(dict.fromkeys([*ranked[:CLIMBS], *filter(None, first_of_way)]))


def _climbed(space: Space, start: Candidate, budget: list[int]) -> Candidate:
    """Steps to a better neighbour until none is better, or the budget of candidates is spent."""
    best = start
    tried = {start.point}
    improved = True
    while improved:
        improved = False
        for point in space.neighbours(best.point):
            if point in tried:
                continue
            if budget[0] <= 0:
                return best
            tried.add(point)
            budget[0] -= 1
            candidate = space.candidate(point)
            if candidate is not None and candidate.predicted_s < best.predicted_s:
                best, improved = candidate, True
                break
    return best


def _order(candidate: Candidate) -> tuple[float, tuple[int, ...]]:
    return candidate.predicted_s, candidate.point


def _plain(space: Space, way: range) -> Candidate:
    schedule = Schedule(algorithm=space.sketches[way.start].algorithm)
    plan = check_schedule(schedule, space.task)
    return candidate_from_plan((), schedule, plan, space.hardware)
