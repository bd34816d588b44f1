"""How many samples a kernel gets: a short look for all, the whole protocol for those that may win."""

from __future__ import annotations

import math
import statistics
from typing import Final, Protocol as Interface

from ..spec.claim import Protocol

LOOK_SAMPLES: Final = 2
SLOW_FACTOR: Final = 1.5
"""A candidate whose look is slower than this many times the best median is not looked at any longer."""
HOPELESS_FACTOR: Final = 10.0
"""One whose very first call is slower than this many times the best is not called again."""


class Kernel(Interface):
    """What a builder makes: a compiled function that knows its arguments."""

    def call(self) -> None:
        """Runs once and returns when the result is there."""
        ...

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        """Seconds per call, `repeats` samples of the mean of `number` calls."""
        ...


def samples_of(kernel: Kernel, protocol: Protocol, first_s: float, best_s: float | None) -> tuple[float, ...]:
    """The samples of a kernel whose first call took `first_s`; fewer than the protocol's where it cannot be the best.

    `best_s` is the best median so far, None where there is none.
    """
    if best_s is not None and first_s > HOPELESS_FACTOR * best_s and first_s > protocol.min_sample_s:
        return (first_s,)
    for _ in range(protocol.warmup - 1):  # the verified call was the first one
        kernel.call()
    number = calls_per_sample(kernel, protocol, first_s)
    look = kernel.time_s(number, min(LOOK_SAMPLES, protocol.repeats), protocol.flush_cache)
    if len(look) == protocol.repeats or (best_s is not None and statistics.median(look) > SLOW_FACTOR * best_s):
        return look
    return look + kernel.time_s(number, protocol.repeats - len(look), protocol.flush_cache)


def calls_per_sample(kernel: Kernel, protocol: Protocol, first_s: float) -> int:
    """Calls in a row that last `min_sample_s`, at least the protocol's `number`; exactly that with cold caches.

    The first call is slow (memory is touched for the first time), so short kernels are timed again to know.
    """
    if protocol.flush_cache or first_s > 2 * protocol.min_sample_s:
        return protocol.number
    number, call_s = 1, first_s
    for _ in range(3):
        (call_s,) = kernel.time_s(number, 1)
        if call_s * number >= protocol.min_sample_s / 10:
            break
        number = math.ceil(protocol.min_sample_s / 10 / max(call_s, 1e-8))
    return max(protocol.number, math.ceil(protocol.min_sample_s / max(call_s, 1e-9)))
