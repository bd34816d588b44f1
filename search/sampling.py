"""How many samples a kernel gets: a short look for all, the whole protocol for those that may win."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.claim import Protocol

LOOKS: Final = ((2, 1.06), (3, 1.04), (4, 1.025))
"""After so many samples a candidate is given up if none of them is within so many times the best median."""
LEAST_SAMPLES: Final = 3
ENOUGH_S: Final = 0.2
"""Samples of a slow kernel that took so long together, at least three, say what there is to know before the finals."""
MOST_CALLS: Final = 10**6
SLOW_FACTOR: Final = 1.25
"""One whose calls are slower than this many times the best, while their number is found out, gets no sample more."""
HOPELESS_FACTOR: Final = 4.0
"""One whose first calls are slower than this many times the best is not called again."""
PAUSE_S: Final = 0.05
"""No call is interrupted for longer. A core that idled while outputs were compared may take milliseconds to wake up,
so that one slow call says little: what seems slow is called once more before it is given up."""
DRAW: Final = 1.01
"""Medians of kernels timed in turn that lie this close are a draw."""
EVEN: Final = "even"
BEATEN: Final = "beaten"
RIVAL: Final = "rival"


class Kernel(Interface):
    """What a builder makes: a compiled function that knows its arguments."""

    def prepare(self) -> None:
        """Computes what is computed once, outside of what is timed; a second time it does nothing."""
        ...

    def call(self) -> None:
        """Runs once and returns when the result is there."""
        ...

    def timed_call(self) -> float:
        """Runs once; the seconds it took, by the clock of where it runs."""
        ...

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        """Seconds per call, `repeats` samples of the mean of `number` calls."""
        ...


def samples_of(kernel: Kernel, protocol: Protocol, first_s: float, best_s: float | None) -> tuple[float, ...]:
    """The samples of a kernel whose first call took `first_s`; fewer than the protocol's where it cannot be the best.

    Fewer also of a slow one: see `ENOUGH_S`.

    `best_s` is the best median so far, None where there is none.
    """
    if best_s is not None and first_s > protocol.min_sample_s:
        hopeless_s = HOPELESS_FACTOR * best_s
        if hopeless_s < first_s < hopeless_s + PAUSE_S:
            first_s = min(first_s, kernel.timed_call())
        if first_s > hopeless_s:
            return (first_s,)
    for _ in range(protocol.warmup - 1):  # the verified call was the first one
        kernel.call()
    number, call_s = calls_per_sample(kernel, protocol, first_s)
    if best_s is None:
        return timed(kernel, protocol, number, protocol.repeats)
    if call_s > SLOW_FACTOR * best_s:
        call_s = min(call_s, *timed(kernel, protocol, number, 1))
        if call_s > SLOW_FACTOR * best_s:
            return (call_s,)
    samples: tuple[float, ...] = (call_s,) if number == 1 and not protocol.flush_cache else ()
    for count, factor in LOOKS:
        if count < protocol.repeats:
            samples += timed(kernel, protocol, number, count - len(samples))
            if min(samples) > factor * best_s:
                return samples
            if len(samples) >= LEAST_SAMPLES and number * sum(samples) >= ENOUGH_S:
                return samples
    return samples + timed(kernel, protocol, number, protocol.repeats - len(samples))


def timed(kernel: Kernel, protocol: Protocol, number: int, repeats: int) -> tuple[float, ...]:
    """Seconds per call, `repeats` samples of `number` calls each.

    Single calls are long ones, and the compiled timing loop would call once more than asked.
    """
    if number > 1 or protocol.flush_cache:
        return kernel.time_s(number, repeats, protocol.flush_cache)
    return tuple(kernel.timed_call() for _ in range(repeats))


def samples_in_turn(
    kernels: Sequence[Kernel], protocol: Protocol, rounds: int, least: int | None = None
) -> list[list[float]]:
    """`rounds` samples of each kernel, taken in turn: a, b, c, a, b, c, …; each after a call that is not timed.

    What disturbs the machine for longer than a round disturbs all alike, so their ratios hold. With `least`, after so
    many rounds, those that are beaten drop out; the first kernel stays with the others, and the rounds end when it is
    decided who is fastest.
    """
    numbers = [calls_per_sample(kernel, protocol)[0] for kernel in kernels]
    samples: list[list[float]] = [[] for _ in kernels]
    going_on = list(range(len(kernels)))
    for done in range(1, rounds + 1):
        for place in going_on:
            kernels[place].call()
            samples[place].extend(timed(kernels[place], protocol, numbers[place], 1))
        if least is not None and done >= least:
            standings = standings_of([samples[place] for place in going_on])
            if RIVAL not in standings:
                break
            going_on = [p for p, standing in zip(going_on, standings, strict=True) if standing != BEATEN or p == 0]
    return samples


def standings_of(samples: Sequence[Sequence[float]]) -> list[str]:
    """How kernels timed in as many rounds stand beside the one with the least median.

    ``beaten``: slower in six of seven rounds. ``even``: its median is the least, or nearly so. ``rival``: neither.
    """
    medians = [statistics.median(found) for found in samples]
    best_s, leader = min(zip(medians, samples, strict=True))
    standings = []
    for median_s, found in zip(medians, samples, strict=True):
        lost = sum(other <= its for other, its in zip(found, leader, strict=True))
        standings.append(EVEN if median_s <= DRAW * best_s else BEATEN if lost <= len(found) // 7 else RIVAL)
    return standings


def calls_per_sample(kernel: Kernel, protocol: Protocol, first_s: float = math.inf) -> tuple[int, float]:
    """Calls in a row that last `min_sample_s`, at least the protocol's `number`, and how long one seems to be.

    The first call, which took `first_s`, is no guide: it touches memory for the first time, and comparing its outputs
    emptied the caches. With cold caches it is the protocol's number, and nothing is known of one call (0).
    """
    if protocol.flush_cache:
        return protocol.number, 0.0
    number = 1
    call_s = _probed(kernel, protocol, number, first_s)
    while call_s * number < protocol.min_sample_s / 10 and number < MOST_CALLS:
        number = min(MOST_CALLS, max(2 * number, math.ceil(protocol.min_sample_s / 5 / max(call_s, 1e-8))))
        call_s = _probed(kernel, protocol, number, first_s)
    return max(protocol.number, math.ceil(protocol.min_sample_s / max(call_s, 1e-8))), call_s


def _probed(kernel: Kernel, protocol: Protocol, number: int, first_s: float) -> float:
    """Seconds per call of `number` calls; the less of two looks where the first one may have been interrupted.

    It may where it was short, so that one interruption is most of it, or where calls were slower than the first one.
    """
    (call_s,) = timed(kernel, protocol, number, 1)
    if protocol.min_sample_s / 10 <= call_s * number < protocol.min_sample_s or call_s > SLOW_FACTOR * first_s:
        call_s = min(call_s, *timed(kernel, protocol, number, 1))
    return call_s
