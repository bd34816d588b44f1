"""The points of a space that are looked at before anything is measured: by whoever wants a default, and by strategies.

Analysing a candidate takes milliseconds, and both look at the same ones: they are made once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .space import Candidate, Point, Space

SAMPLES: Final = 160
"""Points drawn; a way to compute the task that has no more than its share of them is looked at whole."""
CLIMBS: Final = 3
"""How many of the best samples, of different sketches, are improved step by step, and the best of each way."""
CANDIDATES: Final = 400
"""Candidates made in all, at a few milliseconds each."""


def first_look(space: Space, ways: Sequence[range]) -> list[Candidate]:
    """Samples of some ways to compute the task, which share them, and what steps from the best of them came to.

    The same ones every time; none in an empty space.
    """
    seen = _sampled(space, ways)
    budget = CANDIDATES - SAMPLES
    for start in _starts(ways, list(seen.values())):
        budget -= _climb(space, start, budget, seen)
    return list(seen.values())


def rank_of(candidate: Candidate) -> tuple[float, Point]:
    """By predicted time; the point decides between equals."""
    return candidate.predicted_s, candidate.point


def _sampled(space: Space, ways: Sequence[range]) -> dict[Point, Candidate]:
    share = SAMPLES // len(ways)
    found: dict[Point, Candidate] = {}
    for way in ways:
        rng = random.Random(way.start)
        whole = space.size_of(way) <= share
        for point in space.points_of(way) if whole else (space.sample(rng, way) for _ in range(share)):
            candidate = space.candidate(point)
            if candidate is not None:
                found[point] = candidate
    return found


def _starts(ways: Sequence[range], samples: Sequence[Candidate]) -> list[Candidate]:
    """The best samples, of different sketches; the best of each way to compute the task is one of them."""
    of_sketch: dict[int, Candidate] = {}
    for candidate in sorted(samples, key=rank_of):
        of_sketch.setdefault(candidate.point[0], candidate)
    ranked = list(of_sketch.values())
    first_of_way = [next((each for each in ranked if each.point[0] in way), None) for way in ways]
    return list(dict.fromkeys([*ranked[:CLIMBS], *filter(None, first_of_way)]))


def _climb(space: Space, start: Candidate, budget: int, seen: dict[Point, Candidate]) -> int:
    """Steps to a better neighbour until none is better or the budget of candidates is spent; how many it took.

    They join those that were `seen`.
    """
    best = start
    tried = {start.point}
    improved = True
    while improved:
        improved = False
        for point in space.neighbours(best.point):
            if point in tried:
                continue
            if len(tried) > budget:
                return len(tried) - 1
            tried.add(point)
            candidate = space.candidate(point)
            if candidate is None:
                continue
            seen[point] = candidate
            if candidate.predicted_s < best.predicted_s:
                best, improved = candidate, True
                break
    return len(tried) - 1
