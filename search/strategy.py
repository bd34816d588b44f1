"""What a search strategy is: it proposes candidates, is told what came of them, and proposes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ..spec.claim import Failure

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from ..spec.schedule import Schedule
    from .space import Candidate, Point, Space

Outcome: TypeAlias = float | Failure
"""The median seconds of a candidate, or why it has none."""

_DRAWS: Final = 64
"""Draws in a row without anything new after which a space is walked through instead."""


class Strategy(Protocol):
    """Who proposes. The same space, seed and outcomes give the same proposals."""

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before; none at all when the space is exhausted."""
        ...

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        ...


class Untried:
    """The candidates of a space that are still to be tried: each schedule once, whatever points lead to it."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self.space = space
        self._rng = rng
        self._tried: set[Schedule] = set()
        self._points: set[Point] = set()
        self._rest: Iterator[Point] | None = None
        self.proposed = 0
        """How many candidates were proposed."""

    def at(self, point: Point) -> Candidate | None:
        """The candidate of a point; None where there is none, or its schedule was tried."""
        if point in self._points:
            return None
        candidate = self.space.candidate(point)
        if candidate is None or candidate.schedule in self._tried:
            self._points.add(point)
            return None
        return candidate

    def is_new(self, candidate: Candidate) -> bool:
        """True for a candidate that was not tried."""
        return candidate.schedule not in self._tried

    def note(self, candidate: Candidate) -> None:
        """Counts a candidate as tried."""
        self._points.add(candidate.point)
        self._tried.add(candidate.schedule)

    def proposals(self, count: int, choose: Callable[[], Candidate | None]) -> list[Candidate]:
        """Up to `count` candidates that `choose` gives one after another, each of them tried from then on."""
        found: list[Candidate] = []
        while len(found) < count and (candidate := choose()) is not None:
            self.note(candidate)
            self.proposed += 1
            found.append(candidate)
        return found

    def drawn(self) -> Candidate | None:
        """A candidate drawn at random; where draws give nothing new, the first in the order of points; None at the end.

        It does not count as tried yet.
        """
        for _ in range(_DRAWS):
            candidate = self.at(self.space.sample(self._rng))
            if candidate is not None:
                return candidate
        return self.next_in_order()

    def next_in_order(self) -> Candidate | None:
        """The first candidate in the order of points that was not tried; None at the end of the space."""
        if self._rest is None:
            self._rest = self.space.points()
        for point in self._rest:
            candidate = self.at(point)
            if candidate is not None:
                return candidate
        return None
