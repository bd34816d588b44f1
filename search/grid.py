"""Every candidate of a space in the order of its points: for spaces so small that all of it can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .strategy import Untried

if TYPE_CHECKING:
    import random

    from .space import Candidate, Space
    from .strategy import Outcome


class Grid:
    """Looks at nothing and leaves nothing out."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._untried = Untried(space, rng)

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        return self._untried.proposals(count, self._untried.next_in_order)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:  # noqa: ARG002 # the order is fixed
        """Takes note that a candidate was tried."""
        self._untried.note(candidate)
