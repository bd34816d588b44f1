"""The points of a space that are looked at before anything is measured: by whoever wants a default, and by strategies.

Analysing a candidate takes milliseconds, and both look at the same ones: they are made once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .space import Candidate, Space

SAMPLES: Final = 160
"""Points in all; a way to compute the task that has no more than its share of them is looked at whole."""


def first_look(space: Space, ways: Sequence[range]) -> list[Candidate]:
    """Candidates of some ways to compute the task, which share the samples; the same ones of each way every time."""
    share = SAMPLES // len(ways)
    found: dict[tuple[int, ...], Candidate] = {}
    for way in ways:
        rng = random.Random(way.start)
        whole = space.size_of(way) <= share
        for point in space.points_of(way) if whole else (space.sample(rng, way) for _ in range(share)):
            candidate = space.candidate(point)
            if candidate is not None:
                found[point] = candidate
    return list(found.values())
