"""Taking samples in turn, and what is said of them: medians of all rounds, and how far the rounds lie apart."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    class Sampled(Protocol):
        """A `Child`, or what a test puts in its place."""

        def sample(self, kernel: str, sample_s: float) -> float:
            """Seconds per call."""
            ...

        def settle(self) -> bool:
            """Waits until it is idle."""
            ...


Samples: TypeAlias = dict[str, tuple[float, ...]]
"""Seconds per call by label; entry number i of each was taken in round i."""


@attrs.frozen(kw_only=True)
class Seat:
    """A kernel of a contender, under the label that its samples go by."""

    label: str
    child: Sampled
    kernel: str


@attrs.frozen(kw_only=True)
class Spread:
    """A figure from many rounds: the median, and the quartiles, between which half of the rounds lie."""

    median: float
    low: float
    high: float
    count: int


def take_rounds(
    seats: Sequence[Seat], rounds: int, sample_s: float, hold: Callable[[], AbstractContextManager[None]]
) -> tuple[Samples, int]:
    """`rounds` samples of each seat in turn, a, b, c, a, b, c, …, and how often someone did not become idle.

    `hold` keeps others from the machine; it is let go between rounds, so that they need not wait for long.
    """
    found: dict[str, list[float]] = {seat.label: [] for seat in seats}
    restless = 0
    for _ in range(rounds):
        with hold():
            for seat in seats:
                found[seat.label].append(seat.child.sample(seat.kernel, sample_s))
                restless += not seat.child.settle()
    return {label: tuple(samples) for label, samples in found.items()}, restless


def joined(sessions: Sequence[Samples]) -> Samples:
    """The samples of several sessions as if of one."""
    return {label: tuple(s for session in sessions for s in session[label]) for label in sessions[0]}


def spread(values: Sequence[float]) -> Spread:
    """The median and quartiles of some values."""
    if len(values) == 1:
        return Spread(median=values[0], low=values[0], high=values[0], count=1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median=median, low=low, high=high, count=len(values))


def rates(samples: Sequence[float], work: float) -> Spread:
    """`work` per second, round by round: GFLOP/s where work is in operations × 1e-9."""
    return spread([work / seconds for seconds in samples])


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """``above / below`` round by round: what disturbs a round disturbs both, so it falls out."""
    return spread([a / b for a, b in zip(above, below, strict=True)])
