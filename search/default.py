"""The schedule that nobody measured: the best of a space by the analytic model alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from ..spec.check import check_schedule
from ..spec.gpu import limits_of
from ..spec.schedule import Schedule
from ..store.machine import this_machine
from .gpu_default import gpu_schedule
from .space import Candidate, Space, candidate_from_plan

if TYPE_CHECKING:
    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..store.speeds import Speeds

SAMPLES: Final = 160
"""Points looked at first; a space of no more points is looked at whole."""
CLIMBS: Final = 3
"""How many of the best samples, of different sketches, are improved step by step."""
CANDIDATES: Final = 400
"""Candidates made in all, at a few milliseconds each."""


def default_schedule(task: Task, machine: Machine | None = None, speeds: Speeds | None = None) -> Schedule:
    """The schedule that the analytic model likes best, without measuring any; always the same for the same arguments.

    `machine` is this one where it is not given; with its `speeds` the model knows it better. For a GPU there is no
    model yet: a thread for each output.
    """
    if limits_of(task.target) is not None:
        return gpu_schedule(task)
    return default_candidate(Space(task, machine or this_machine(), speeds=speeds)).schedule


def default_candidate(space: Space) -> Candidate:
    """The candidate with the least predicted time among samples and their neighbours; plain loops in an empty space."""
    rng = random.Random(0)
    made: dict[tuple[int, ...], Candidate] = {}
    points = space.points() if space.size <= SAMPLES else (space.sample(rng) for _ in range(SAMPLES))
    for point in points:
        candidate = space.candidate(point)
        if candidate is not None:
            made[point] = candidate
    if not made:
        return _plain(space)
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


def _plain(space: Space) -> Candidate:
    schedule = Schedule()
    plan = check_schedule(schedule, space.task)
    return candidate_from_plan((), schedule, plan, space.hardware)
