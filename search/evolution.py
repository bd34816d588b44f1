"""Evolutionary search over a space whose analytic model is corrected by what was measured.

The model orders candidates of one sketch well and those of different sketches badly, so every prediction is scaled by
measured over predicted time: of the parent for what is made of it, of the sketch for what was drawn.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure
from .first_look import first_look, rank_of
from .space import Candidate
from .strategy import Untried

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .space import Point, Space
    from .strategy import Outcome

POOL: Final = 256
"""A space of no more points is looked at whole."""
DRAWN: Final = 64
"""Candidates drawn at the start beside those of the first look, so that no two seeds begin with the same ones."""
SKETCHES: Final = 12
"""How many sketches are tried once before any is looked at closer."""
NEAR: Final = 2.0
"""A sketch, or an algorithm, whose best is predicted to take more than so many times as long as the best of all is not
tried before children of better ones are."""
PARENTS: Final = 6
CHILDREN: Final = 6
"""Children looked at for each proposal."""
RANDOM_SHARE: Final = 8
"""One proposal in so many is the next of the pool, whatever its sketch: the model may be wrong about all others."""
_WORST: Final = 2.0
"""A candidate slower than this many times the best is no parent."""


@attrs.frozen(kw_only=True)
class Measured:
    """A candidate that ran, and its median time."""

    candidate: Candidate
    seconds: float

    @property
    def ratio(self) -> float:
        """Measured over predicted time."""
        return self.seconds / self.candidate.predicted_s


@attrs.frozen(kw_only=True, eq=False)
class Child:
    """A candidate made of a measured one."""

    candidate: Candidate
    parent: Measured


class Evolution:
    """First the best of each sketch by prediction, then children of the best that were measured.

    What it draws from is made with it, which takes a while; nothing measured plays a part in that.
    """

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._space = space
        self._rng = rng
        self._untried = Untried(space, rng)
        self._measured: list[Measured] = []
        self._pool = self._drawn_pool()
        self._first = first_of_each_sketch(self._pool)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        self._untried.note(candidate)
        if not isinstance(outcome, Failure) and candidate.point:
            self._measured.append(Measured(candidate=candidate, seconds=outcome))

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        children = self._children(count)
        return self._untried.proposals(count, lambda: self._next(children))

    def _drawn_pool(self) -> list[Candidate]:
        """Different candidates by predicted time; all there are in a small space, else the first look and some more."""
        space = self._space
        drawn: list[Candidate | None]
        if space.size <= POOL:
            drawn = [space.candidate(point) for point in space.points()]
        else:
            drawn = [*first_look(space, space.near(space.ways))]
            drawn += [self._untried.at(space.sample(self._rng)) for _ in range(DRAWN)]
        different = {candidate.schedule: candidate for candidate in drawn if candidate is not None}
        return sorted(different.values(), key=rank_of)

    def _next(self, children: list[Candidate]) -> Candidate | None:
        """The next proposal: of the first ones, else mostly a child, now and then one of the pool, else any."""
        while self._first:
            candidate = self._first.pop(0)
            if self._untried.is_new(candidate):
                return candidate
        if self._untried.proposed % RANDOM_SHARE != RANDOM_SHARE - 1:
            while children:
                candidate = children.pop(0)
                if self._untried.is_new(candidate):
                    return candidate
        return self._next_of_pool() or self._untried.drawn()

    def _next_of_pool(self) -> Candidate | None:
        """The candidate of the pool that promises most."""
        self._pool = [candidate for candidate in self._pool if self._untried.is_new(candidate)]
        expected = self._expected_of_pool(self._pool)
        ranked = zip(expected, self._pool, strict=True)
        return min(ranked, key=lambda entry: entry[0], default=(0.0, None))[1]

    def _expected_of_pool(self, pool: Sequence[Candidate]) -> list[float]:
        """Logarithms of the seconds that candidates should take: predictions corrected by sketch."""
        ratios = self._ratios()
        usual = statistics.median(ratios.values()) if ratios else 1.0
        return [math.log(candidate.predicted_s * ratios.get(candidate.point[0], usual)) for candidate in pool]

    def _ratios(self) -> dict[int, float]:
        """Measured over predicted time of the best of each sketch."""
        best: dict[int, Measured] = {}
        for measured in self._measured:
            sketch = measured.candidate.point[0]
            if sketch not in best or measured.seconds < best[sketch].seconds:
                best[sketch] = measured
        return {sketch: measured.ratio for sketch, measured in best.items()}

    def _children(self, count: int) -> list[Candidate]:
        """New candidates made of the best measured ones, most promising first."""
        parents = self._parents()
        if not parents or self._first[count:]:
            return []
        made: dict[Point, Child] = {}
        for number in range(count * CHILDREN):
            # The best has the most children: 1, 1/2, 1/3, ... of its share.
            weights = [1 / (rank + 1) for rank in range(len(parents))]
            (parent,) = self._rng.choices(parents, weights)
            self._make(self._varied(parent, parents, number), parent, made)
        self._refine(parents, made)
        children = list(made.values())
        ranked = sorted(
            zip(self._expected(children), children, strict=True),
            key=lambda entry: (entry[0], entry[1].candidate.point),
        )
        return [child.candidate for _, child in ranked]

    def _make(self, point: Point, parent: Measured, made: dict[Point, Child]) -> None:
        """Adds the candidate of a point, if it is new, as a child of `parent`."""
        if point not in made and (candidate := self._untried.at(point)) is not None:
            made[point] = Child(candidate=candidate, parent=parent)

    def _refine(self, parents: Sequence[Measured], made: dict[Point, Child]) -> None:
        """Adds children that are no work of chance; none here."""

    def _expected(self, children: Sequence[Child]) -> list[float]:
        """Logarithms of the seconds that children should take: predictions corrected by their parents."""
        return [math.log(child.candidate.predicted_s * child.parent.ratio) for child in children]

    def _varied(self, parent: Measured, parents: list[Measured], number: int) -> Point:
        """A point near `parent`: crossed with another of its sketch one time in four, else mutated."""
        point = parent.candidate.point
        if number % 4 == 3:
            partners = [p for p in parents if p is not parent and p.candidate.point[0] == point[0]]
            if partners:
                return self._space.crossed(point, self._rng.choice(partners).candidate.point, self._rng)
        return self._space.mutated(point, self._rng)

    def _parents(self) -> list[Measured]:
        """The best measured, fastest first."""
        ranked = sorted(self._measured, key=lambda measured: (measured.seconds, measured.candidate.point))
        limit = _WORST * ranked[0].seconds if ranked else math.inf
        return [measured for measured in ranked[:PARENTS] if measured.seconds <= limit]


def first_of_each_sketch(pool: Sequence[Candidate]) -> list[Candidate]:
    """The first of each sketch in a pool that is sorted, most promising first, as far as they are near the very first.

    `SKETCHES` at most, and one of each algorithm that has none among them.
    """
    best: dict[int, Candidate] = {}
    for candidate in pool:
        best.setdefault(candidate.point[0], candidate)
    near = [each for each in best.values() if each.predicted_s <= NEAR * pool[0].predicted_s]
    first = near[:SKETCHES]
    # An algorithm whose sketches all look worse than so many of another may still be the faster one.
    ways = {_way(candidate) for candidate in first}
    for candidate in near[SKETCHES:]:
        if _way(candidate) not in ways:
            ways.add(_way(candidate))
            first.append(candidate)
    return first


def _way(candidate: Candidate) -> str | None:
    """The name of the algorithm by which a candidate computes its task."""
    algorithm = candidate.schedule.algorithm
    return None if algorithm is None else algorithm.name
