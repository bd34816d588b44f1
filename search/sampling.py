"""How many samples a kernel gets: a short look for all, the whole protocol for those that may win."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.claim import Protocol

LOOK_SAMPLES: Final = 2
MOST_CALLS: Final = 10**6
SLOW_FACTOR: Final = 1.2
"""A candidate whose look holds no sample within this many times the best median is not looked at any longer."""
HOPELESS_FACTOR: Final = 10.0
"""One whose very first call is slower than this many times the best is not called again."""


class Kernel(Interface):
    """What a builder makes: a compiled function that knows its arguments."""

    def prepare(self) -> None:
        """Computes what is computed once, outside of what is timed; a second time it does nothing."""
        ...

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
    number = calls_per_sample(kernel, protocol)
    look = timed(kernel, protocol, number, min(LOOK_SAMPLES, protocol.repeats))
    if len(look) == protocol.repeats or (best_s is not None and min(look) > SLOW_FACTOR * best_s):
        return look
    return look + timed(kernel, protocol, number, protocol.repeats - len(look))


def timed(kernel: Kernel, protocol: Protocol, number: int, repeats: int) -> tuple[float, ...]:
    """Seconds per call, `repeats` samples of `number` calls each.

    Single calls are long ones: Python's clock around them adds a millionth of a second, where the compiled timing loop
    would call once more than asked.
    """
    if number > 1 or protocol.flush_cache:
        return kernel.time_s(number, repeats, protocol.flush_cache)
    samples = []
    for _ in range(repeats):
        begin = time.perf_counter()
        kernel.call()
        samples.append(time.perf_counter() - begin)
    return tuple(samples)


def samples_in_turn(kernels: Sequence[Kernel], protocol: Protocol, rounds: int) -> list[list[float]]:
    """`rounds` samples of each kernel, taken in turn: a, b, c, a, b, c, …; each after a call that is not timed.

    What disturbs the machine for longer than a round disturbs all alike, so their ratios hold.
    """
    numbers = [calls_per_sample(kernel, protocol) for kernel in kernels]
    samples: list[list[float]] = [[] for _ in kernels]
    for _ in range(rounds):
        for found, kernel, number in zip(samples, kernels, numbers, strict=True):
            kernel.call()
            found.extend(timed(kernel, protocol, number, 1))
    return samples


def calls_per_sample(kernel: Kernel, protocol: Protocol) -> int:
    """Calls in a row that last `min_sample_s`, at least the protocol's `number`; exactly that with cold caches.

    The first call is no guide: it touches memory for the first time, and comparing its outputs emptied the caches.
    """
    if protocol.flush_cache:
        return protocol.number
    number = 1
    (call_s,) = timed(kernel, protocol, number, 1)
    while call_s * number < protocol.min_sample_s / 10 and number < MOST_CALLS:
        number = min(MOST_CALLS, max(2 * number, math.ceil(protocol.min_sample_s / 5 / max(call_s, 1e-8))))
        (call_s,) = timed(kernel, protocol, number, 1)
    return max(protocol.number, math.ceil(protocol.min_sample_s / max(call_s, 1e-8)))
