"""What strategies that step from measured candidates share: they begin at random, and now and then go on so."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Stepping(ABC):
    """Proposes steps from what was measured; knows nothing of models."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._space = space
        self._rng = rng
        self._untried = Untried(space, rng)
        self._measured: list[tuple[float, Candidate]] = []

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        self._untried.note(candidate)
        if not isinstance(outcome, Failure) and candidate.point:
            self._measured.append((outcome, candidate))

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        return self._untried.proposals(count, self._next)

    def _next(self) -> Candidate | None:
        steps = self._untried.proposed >= WARM and self._untried.proposed % JUMPS and self._measured
        return (self._step() if steps else None) or self._untried.drawn()

    @abstractmethod
    def _step(self) -> Candidate | None:
        """A new candidate one step from a measured one; None where the chosen one has none. Some were measured."""
