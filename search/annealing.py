"""Simulated annealing: steps from what was measured, the less likely from a slow candidate the longer the search lasts.

What AutoScheduler and FlexTensor call "searching" (Zheng et al., FlexTensor, ASPLOS 2020, section 5): a starting point
is chosen with a chance of ``exp(-(t - best) / (temperature * best))``, and one of its neighbours is tried.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .stepping import Stepping

if TYPE_CHECKING:
    from .space import Candidate

HOT: Final = 0.5
"""The temperature at the start: a candidate half as slow again as the best has a chance of 1/e of the best's."""
COOLING: Final = 0.97
"""What is left of the temperature after each measurement."""
COLD: Final = 0.02


class Annealing(Stepping):
    """The colder, the nearer to the best a step begins."""

    @property
    def temperature(self) -> float:
        """Relative to the best time; it falls with every measurement."""
        return max(COLD, HOT * COOLING ** len(self._measured))

    def _step(self) -> Candidate | None:
        points = list(self._space.neighbours(self._start().point))
        self._rng.shuffle(points)
        return next(filter(None, map(self._untried.at, points)), None)

    def _start(self) -> Candidate:
        best_s = min(seconds for seconds, _ in self._measured)
        heat_s = self.temperature * best_s
        chances = [math.exp((best_s - seconds) / heat_s) for seconds, _ in self._measured]
        ((_, candidate),) = self._rng.choices(self._measured, chances)
        return candidate
