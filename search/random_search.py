"""Candidates drawn at random: sketches evenly, then each knob evenly. What other strategies have to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .strategy import Untried

if TYPE_CHECKING:
    import random

    from .space import Candidate, Space
    from .strategy import Outcome


class RandomSearch:
    """Draws without looking at what came back."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._untried = Untried(space, rng)

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        return self._untried.proposals(count, self._untried.drawn)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:  # noqa: ARG002 # random by name
        """Takes note that a candidate was tried."""
        self._untried.note(candidate)
