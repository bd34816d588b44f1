"""Simulated annealing: steps from what was measured, the less likely from a slow candidate the longer the search lasts.

What AutoScheduler and FlexTensor call "searching" (Zheng et al., FlexTensor, ASPLOS 2020, section 5): a starting point
is chosen with a chance of ``exp(-(t - best) / (temperature * best))``, and one of its neighbours is tried.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ..spec.claim import Failure
from .strategy import Untried

if TYPE_CHECKING:
    import random

    from .space import Candidate, Space
    from .strategy import Outcome

WARM: Final = 8
"""Candidates drawn at random before the first step."""
JUMPS: Final = 8
"""One proposal in so many is drawn at random: steps never leave a sketch."""
HOT: Final = 0.5
"""The temperature at the start: a candidate half as slow again as the best has a chance of 1/e of the best's."""
COOLING: Final = 0.97
"""What is left of the temperature after each measurement."""
COLD: Final = 0.02


class Annealing:
    """Knows what was measured, and nothing of models."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._space = space
        self._rng = rng
        self._untried = Untried(space, rng)
        self._measured: list[tuple[float, Candidate]] = []

    @property
    def temperature(self) -> float:
        """Relative to the best time; it falls with every measurement."""
        return max(COLD, HOT * COOLING ** len(self._measured))

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        self._untried.note(candidate)
        if not isinstance(outcome, Failure) and candidate.point:
            self._measured.append((outcome, candidate))

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        return self._untried.proposals(count, self._next)

    def _next(self) -> Candidate | None:
        """A neighbour of a starting point, or any candidate while there is none."""
        if self._untried.proposed >= WARM and self._untried.proposed % JUMPS and self._measured:
            steps = list(self._space.neighbours(self._start().point))
            self._rng.shuffle(steps)
            for point in steps:
                candidate = self._untried.at(point)
                if candidate is not None:
                    return candidate
        return self._untried.drawn()

    def _start(self) -> Candidate:
        best_s = min(seconds for seconds, _ in self._measured)
        heat_s = self.temperature * best_s
        chances = [math.exp((best_s - seconds) / heat_s) for seconds, _ in self._measured]
        ((_, candidate),) = self._rng.choices(self._measured, chances)
        return candidate
