"""The schedule that nobody measured: the best of a space by the analytic model alone."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final

from ..spec.check import check_schedule
from ..spec.gpu import limits_of
from ..spec.schedule import Schedule
from ..store.machine import this_machine
from .gpu_default import gpu_schedule
from .space import Candidate, Space, candidate_from_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.algorithm import Algorithm
    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..store.speeds import Speeds

SAMPLES: Final = 160
"""Points looked at first; a space of no more points is looked at whole."""
CLIMBS: Final = 3
"""How many of the best samples, of different sketches, are improved step by step."""
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
    return default_candidate(Space(task, machine or this_machine(), speeds=speeds, algorithms=algorithms)).schedule


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
    rng = random.Random(0)
    made: dict[tuple[int, ...], Candidate] = {}
    ways = space.near(ways)
    share = SAMPLES // len(ways)
    points = itertools.chain.from_iterable(
        space.points_of(way) if space.size_of(way) <= share else [space.sample(rng, way) for _ in range(share)]
        for way in ways
    )
    for point in points:
        candidate = space.candidate(point)
        if candidate is not None:
            made[point] = candidate
    if not made:
        return _plain(space, ways[0])
    starts: dict[int, Candidate] = {}
    for candidate in sorted(made.values(), key=_order):
        starts.setdefault(candidate.point[0], candidate)
    best = min(made.values(), key=_order)
    budget = [CANDIDATES - SAMPLES]
    for start in list(starts.values())[:CLIMBS]:
        best = min(best, _climbed(space, start, budget), key=_order)
    return best


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
