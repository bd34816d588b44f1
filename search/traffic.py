"""What the loops of a nest move between caches: of each access, into a cache of some size.

The analytic model asks this of three caches for each stage of each candidate, so what a part of the loops touches is
reckoned once for all of them, and anew only for accesses that one more loop moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..spec.footprint import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.footprint import Access
    from ..spec.nest import BoundLoop, StageNest

LEAP_BYTES: Final = 4096
"""No prefetcher follows steps that are as long."""
WINDOW: Final = 160
"""Multiply-adds, with their loads, that a core looks ahead."""
MOST_UNDER_WAY: Final = 5.0
"""Lines that it then waits for at a time."""
MOST_STREAMS: Final = 16
"""Rows, each a page or more from the next, that prefetchers follow at a time where all of them go on line by line."""


class Traffic:
    """The traffic of `accesses` in a nest of `loops`, outermost first, each with its extent."""

    def __init__(self, loops: Sequence[tuple[str, int]], accesses: Sequence[Access]) -> None:
        self._loops = loops
        self._accesses = accesses
        self._moves = [[access.moves_with(name) for access in accesses] for name, _ in loops]
        self._inside: list[dict[str, int]] = [{}]
        self._lines = [[access.lines({}) for access in accesses]]
        """While the innermost loops run: none of them, one, two, ..., as far as anybody asked."""

    def moved_into(self, capacity: float) -> tuple[list[float], bool]:
        """Bytes of each access moved into a cache of `capacity` bytes; whether it holds all that the loops touch.

        The outermost loop whose footprint fits is found; what moves in is that footprint, once for every step of the
        loops further out. The first of those costs nothing for an access that it leaves where it is.
        """
        inner = 0
        while inner < len(self._loops) and _bytes(self._touched(inner + 1)) <= capacity:
            inner += 1
        boundary = len(self._loops) - inner
        lines = self._touched(inner)
        turns = [extent for _, extent in self._loops[:boundary]]
        if boundary:
            steps, lines = self._as_many_as_fit(inner, capacity)
            turns[-1] = -(-turns[-1] // steps)
        moved = []
        for number, count in enumerate(lines):
            amount = count * LINE_BYTES
            for place in range(boundary - 1, -1, -1):
                if place < boundary - 1 or self._moves[place][number]:
                    amount *= turns[place]
            moved.append(amount)
        return moved, not boundary

    def _touched(self, inner: int) -> list[float]:
        """Cache lines of each access that are touched while the `inner` innermost loops run."""
        while len(self._lines) <= inner:
            place = len(self._loops) - len(self._lines)
            self._lines.append(self._one_more(place, self._loops[place][1]))
            name, extent = self._loops[place]
            self._inside.append({**self._inside[-1], name: extent})
        return self._lines[inner]

    def _one_more(self, place: int, extent: int) -> list[float]:
        """Lines of each access while the loop at `place` runs `extent` steps, and all inside of it."""
        inner = len(self._loops) - place - 1
        extents = {**self._inside[inner], self._loops[place][0]: extent}
        return [
            access.lines(extents) if moves else lines
            for access, moves, lines in zip(self._accesses, self._moves[place], self._lines[inner], strict=True)
        ]

    def _as_many_as_fit(self, inner: int, capacity: float) -> tuple[int, list[float]]:
        """As many steps, doubled from one, of the first loop that does not fit as do, and their lines."""
        place = len(self._loops) - inner - 1
        extent = self._loops[place][1]
        steps, lines = 1, self._touched(inner)
        while 2 * steps < extent and _bytes(more := self._one_more(place, 2 * steps)) <= capacity:
            steps, lines = 2 * steps, more
        return steps, lines


def _bytes(lines: Sequence[float]) -> float:
    return sum(lines) * LINE_BYTES


@attrs.frozen(kw_only=True)
class Leap:
    """How an access goes on in another page, which no prefetcher follows: after so many lines, so many under way."""

    lines: float
    under_way: float


def leap_of(access: Access, nest: StageNest) -> Leap | None:
    """The leaps of an access from page to page; None where it makes none that matter."""
    inside = {loop.name: loop.extent for loop in nest.tensorized}
    work = 1.0
    for number, loop in reversed([*enumerate(nest.outside)]):
        step = access.least_stride(loop.parts[-1].name) * access.element_bytes
        if loop.to not in ("vectorize", "unroll") and loop.extent > 1 and step >= LEAP_BYTES:
            if loop.extent <= MOST_STREAMS and _goes_on(access, nest.outside[:number], inside):
                return None
            return Leap(lines=access.lines(inside), under_way=min(MOST_UNDER_WAY, max(1.0, WINDOW / work)))
        inside.update((part.name, part.extent) for part in loop.parts)
        if loop.to != "vectorize":
            work *= loop.extent
    return None


def _goes_on(access: Access, around: Sequence[BoundLoop], inside: Mapping[str, int]) -> bool:
    """True where the next loop outwards that moves an access goes on where it has come to in the loops `inside`."""
    moving = (loop for loop in reversed(around) if loop.extent > 1 and access.moves_with(loop.parts[-1].name))
    loop = next(moving, None)
    reached = access.lines(inside) * LINE_BYTES
    return loop is not None and access.stride(loop.parts[-1].name) * access.element_bytes <= reached


def latencies(leaps: Sequence[Leap | None], amounts: Sequence[float]) -> float:
    """How many times a core waits for the first line behind a leap, in `amounts` of bytes moved by each access."""
    return sum(
        amount / LINE_BYTES / leap.lines / leap.under_way
        for amount, leap in zip(amounts, leaps, strict=True)
        if leap is not None
    )
