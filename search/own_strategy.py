"""A strategy of a user's own, held to what the tuner counts on: each candidate once, of the space, and errors named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..spec.errors import SpecError
from .space import Candidate
from .strategy import Untried

if TYPE_CHECKING:
    import random

    from .space import Space
    from .strategy import Outcome

ASKS: Final = 64
"""How often in a row a strategy may propose nothing new before the search ends."""
_SMALL: Final = 512
"""Spaces of so many points are looked through when a strategy ends, whether all was tried."""
_ERRORS: Final = (Exception, SystemExit)
"""What a user's strategy may raise: anything."""


def name_of_own(factory: object) -> str:
    """What records call a strategy of one's own: its module and qualified name, ``my_search.first_come``."""
    named: Any = factory if hasattr(factory, "__qualname__") else type(factory)
    return re.sub(r"[^\w.<>]", "_", f"{named.__module__}.{named.__qualname__}")[:120]


class OwnStrategy:
    """Asks the strategy that ``factory(space, rng)`` makes, and gives on what is new.

    What it proposes twice, or was told of, is left out; what it proposes beyond the count waits. SpecError, which names
    the strategy, where it raises or proposes anything but candidates of the space: what was measured is stored by then.
    """

    def __init__(self, factory: Callable[[Space, random.Random], Any], space: Space, rng: random.Random) -> None:
        self._name = name_of_own(factory)
        self._space = space
        self._untried = Untried(space, rng)
        self._waiting: list[Candidate] = []
        self._strategy: Any = self._asked("making it", factory, space, rng)
        for method in ("propose", "learn"):
            if not callable(getattr(self._strategy, method, None)):
                self._refuse(
                    f"gave a {type(self._strategy).__name__} without {method}()",
                    "return an object with propose(count) and learn(candidate, outcome)",
                )

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Tells the strategy what came of a candidate."""
        self._untried.note(candidate)
        self._asked("learn()", self._strategy.learn, candidate, outcome)

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` new candidates; none at all where the strategy ends, or repeats itself `ASKS` times."""
        for _ in range(ASKS):
            if not self._waiting:
                found = self._asked("propose()", self._strategy.propose, count)
                if not isinstance(found, Iterable):
                    self._refuse(f"proposed {found!r}", "propose a list of candidates; an empty one ends the search")
                self._waiting = list(found)
                if not self._waiting:
                    return []
            new = [candidate for candidate in self._checked() if self._untried.is_new(candidate)]
            new = list({candidate.schedule: candidate for candidate in new}.values())
            self._waiting = new[count:]
            if new:
                for candidate in new[:count]:
                    self._untried.note(candidate)
                return new[:count]
        return []

    def has_tried_all(self) -> bool:
        """True where the space is small and nothing in it is left: a strategy may end for reasons of its own."""
        return self._space.size <= _SMALL and self._untried.next_in_order() is None

    def _checked(self) -> list[Candidate]:
        """What waits, each of it a candidate of the space."""
        for candidate in self._waiting:
            if not isinstance(candidate, Candidate):
                self._refuse(f"proposed {candidate!r:.80}", "propose what space.candidate(point) gives, unless None")
            made = self._asked("propose()", self._space.candidate, candidate.point)
            if made is None or made.schedule != candidate.schedule:
                self._refuse(f"proposed a candidate at {candidate.point} of another space", "propose of the one given")
        return self._waiting

    def _asked(self, what: str, function: Callable[..., Any], *arguments: object) -> Any:
        """What a call into the strategy gives."""
        try:
            return function(*arguments)
        except _ERRORS as error:
            said = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {said[0][:200]}" if said else type(error).__name__
            raise SpecError(
                f"the strategy {self._name} failed in {what}: {reason}; mend it and search again: what was measured "
                f"is in the store",
                "method",
            ) from error

    def _refuse(self, found: str, allowed: str) -> NoReturn:
        raise SpecError(f"the strategy {self._name} {found}; {allowed}", "method")
