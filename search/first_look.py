"""The points of a space that are looked at before anything is measured: by whoever wants a default, and by strategies.

Analysing a candidate takes milliseconds, and both look at the same ones: they are made once.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .space import Candidate, Point, Space

WHOLE: Final = 160
"""A space of so few points is looked at whole, shared by the ways to compute the task."""
FOCUS: Final = 12
"""So many sketches, the best by their standard points, have other points drawn as well."""
SAMPLES: Final = 72
"""Points drawn among them."""
TRIES: Final = 3
"""Points drawn of a sketch whose standard point is not legal."""
CLIMBS: Final = 4
"""How many of the best so far, of different sketches, are improved step by step, and the best of each way."""
CANDIDATES: Final = 400
"""Candidates made in all, at a few milliseconds each, unless the sketches are very many."""
LEAST_STEPS: Final = 120
"""Candidates that steps from the best may take, however many were made before."""


def first_look(space: Space, ways: Sequence[range]) -> list[Candidate]:
    """The standard points of all sketches of some ways, points drawn of the best of these, and steps from the best.

    The same ones every time; none in an empty space.
    """
    standard = _standard_points(space, ways)
    seen = _legal(space, standard)
    drawn = _drawn_points(space, ways, list(seen.values()))
    seen |= _legal(space, drawn)
    budget = max(CANDIDATES - len({*standard, *drawn}), LEAST_STEPS)
    for start in _starts(ways, list(seen.values())):
        budget -= _climb(space, start, budget, seen)
    return list(seen.values())


def rank_of(candidate: Candidate) -> tuple[float, Point]:
    """By predicted time; the point decides between equals."""
    return candidate.predicted_s, candidate.point


def _standard_points(space: Space, ways: Sequence[range]) -> list[Point]:
    """Those of every sketch of some ways; every point of a way that has but few."""
    found: list[Point] = []
    for way in ways:
        whole = space.size_of(way) <= WHOLE // len(ways)
        found += space.points_of(way) if whole else map(space.standard_point, way)
    return found


def _drawn_points(space: Space, ways: Sequence[range], seen: Sequence[Candidate]) -> list[Point]:
    """Points of the best sketches so far, in turns, and a few of those whose standard point is not legal."""
    best = list(dict.fromkeys(candidate.point[0] for candidate in sorted(seen, key=rank_of)))
    unknown = [number for way in ways for number in way if number not in best]
    rng = random.Random(0)
    focused = itertools.islice(itertools.cycle(best[:FOCUS]), SAMPLES)
    return [space.drawn(rng, number) for number in (*focused, *unknown * TRIES)]


def _legal(space: Space, points: Sequence[Point]) -> dict[Point, Candidate]:
    candidates = map(space.candidate, points)
    return {candidate.point: candidate for candidate in candidates if candidate is not None}


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
