"""How many times as fast as its baseline a schedule is: from samples taken in turn, where there are such.

The machine changes while samples are taken; one of each, taken one after the other, it disturbs alike.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .confidence import median_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .confidence import Interval


def ratios_in_turn(samples_s: Sequence[float], baseline_s: Sequence[float]) -> tuple[float, ...]:
    """The baseline's time over the schedule's, of each pair; empty where they are not as many, so not taken in turn."""
    if len(samples_s) != len(baseline_s):
        return ()
    return tuple(before / now for now, before in zip(samples_s, baseline_s, strict=True))


def speedup_of(samples_s: Sequence[float], baseline_s: Sequence[float]) -> float | None:
    """The median ratio of samples taken in turn, the ratio of the medians of others; None where one was not timed."""
    if not samples_s or not baseline_s:
        return None
    ratios = ratios_in_turn(samples_s, baseline_s)
    return statistics.median(ratios) if ratios else statistics.median(baseline_s) / statistics.median(samples_s)


def speedup_interval(samples_s: Sequence[float], baseline_s: Sequence[float]) -> Interval | None:
    """What the speedup is with how much confidence; None where samples were not taken in turn."""
    ratios = ratios_in_turn(samples_s, baseline_s)
    return median_interval(ratios) if ratios else None
