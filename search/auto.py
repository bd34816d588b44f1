"""What is searched with unless somebody asks for another method: evolution whose judgement is learned.

It begins as evolution does, with the analytic model's best of each sketch. From then on a learned model ranks what is
made of the best, the more so the more it was taught: by this search, and by what is known of other tasks. Steps from
the best in all directions join its children once most of the space has been seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .evolution import Evolution, first_of_each_sketch
from .features import Features, features_of
from .learned import LearnedModel, Row
from .past import past_model

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from .evolution import Child, Measured
    from .history import PastTask
    from .space import Candidate, Point, Space
    from .strategy import Outcome

TRUST: Final = 12
"""Trials after which the learned model counts as much as the analytic one corrected by parents."""
PAST_TRUST: Final = 24
"""How many trials of this task other tasks stand for."""
BEHIND: Final = 0.3
"""Sketches whose best should take 1.35 times as long as the best of all are not tried once, if other tasks say so."""
REFINE_AFTER: Final = 16
"""Trials after which steps from the best are looked at, all of them."""
REFINED: Final = 2
"""How many of the best are."""


class Auto(Evolution):
    """Evolution that ranks by a learned model.

    `past` is what is known of other tasks on the machine; `kept` the file in which what it teaches is kept.
    """

    def __init__(
        self, space: Space, rng: random.Random, past: Sequence[PastTask] = (), kept: Path | None = None
    ) -> None:
        super().__init__(space, rng)
        trees = past_model(past, space.hardware, kept)
        self._model = LearnedModel(trees)
        self._rows: list[Row] = []
        self._taught = 0
        self._known: dict[Point, Features] = {}
        self._past = PAST_TRUST if trees is not None else 0
        if trees is not None:
            self._first = self._first_by_past()

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        super().learn(candidate, outcome)
        row = Row(features=self._features(candidate), predicted_s=candidate.predicted_s, outcome=outcome)
        self._rows.append(row)

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        if len(self._rows) > self._taught and count:
            self._model.learn(self._rows)
            self._taught = len(self._rows)
        return super().propose(count)

    @property
    def _trust(self) -> float:
        """How much the learned model counts: from 0 to 1."""
        known = len(self._rows) + self._past
        return known / (known + TRUST)

    def _first_by_past(self) -> list[Candidate]:
        """The best of each sketch by what other tasks taught, without those that are far behind."""
        expected = self._learned(self._pool)
        ranked = sorted(zip(expected, self._pool, strict=True), key=lambda entry: (entry[0], entry[1].point))
        near = [candidate for log, candidate in ranked if log <= ranked[0][0] + BEHIND]
        return first_of_each_sketch(near)

    def _refine(self, parents: Sequence[Measured], made: dict[Point, Child]) -> None:
        """Adds the neighbours of the best."""
        if len(self._rows) >= REFINE_AFTER:
            for parent in parents[:REFINED]:
                for point in self._space.neighbours(parent.candidate.point):
                    self._make(point, parent, made)

    def _expected(self, children: Sequence[Child]) -> list[float]:
        return self._blended(super()._expected(children), [child.candidate for child in children])

    def _expected_of_pool(self, pool: Sequence[Candidate]) -> list[float]:
        return self._blended(super()._expected_of_pool(pool), pool)

    def _blended(self, analytic: Sequence[float], candidates: Sequence[Candidate]) -> list[float]:
        trust = self._trust
        learned = self._learned(candidates)
        return [(1 - trust) * a + trust * b for a, b in zip(analytic, learned, strict=True)]

    def _learned(self, candidates: Sequence[Candidate]) -> list[float]:
        """Logarithms of the seconds that the learned model expects."""
        features = [self._features(candidate) for candidate in candidates]
        return [float(log) for log in self._model.predict(features, [c.predicted_s for c in candidates])]

    def _features(self, candidate: Candidate) -> Features:
        if candidate.point not in self._known:
            self._known[candidate.point] = features_of(candidate, self._space.task, self._space.hardware)
        return self._known[candidate.point]
