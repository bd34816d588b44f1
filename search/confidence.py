"""How sure a median is: an interval from the order of the samples alone, whatever their distribution.

As many samples lie below the true median as heads fall when a coin is thrown once for each: the interval between the
k-th sample from below and the k-th from above misses the median only where fewer than k heads, or tails, fall
(David and Nagaraja, Order Statistics, 3rd edition, section 7.1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 0.95


@attrs.frozen(kw_only=True)
class Interval:
    """From `low` to `high`, which holds the true median with a probability of `confidence`."""

    low: float
    high: float
    confidence: float


def median_interval(samples: Sequence[float], level: float = LEVEL) -> Interval:
    """The narrowest interval between two samples that holds the true median with a probability of at least `level`.

    Of few samples it is from the least to the greatest, whose `confidence` may be below `level`. ValueError for none.
    """
    if not samples:
        raise ValueError("no samples, no median; give one at least")
    ranked = sorted(samples)
    count = len(ranked)
    k, missed = 0, 2.0 * 0.5**count
    while k + 1 < (count + 1) // 2:
        more = missed + 2 * math.comb(count, k + 1) * 0.5**count
        if 1 - more < level:
            break
        k, missed = k + 1, more
    return Interval(low=ranked[k], high=ranked[count - 1 - k], confidence=max(0.0, 1 - missed))
