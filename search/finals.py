"""The finals: the best few and the default, timed in turn in one process, until the store's leader has won there."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure
from .progress import FinalistsTimed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.schedule import Schedule
    from ..store.records import Record
    from .journal import Journal
    from .progress import Watch
    from .tuner import Bench

FINALISTS: Final = 6
DOUBTFUL: Final = 2
"""Seats for trials that were slower than the first one, but on a disturbed machine."""
NEAR: Final = 1.3
"""A trial slower than this many times the best is not among them."""
ROUNDS: Final = 11
"""More than the samples of a trial, so that a schedule that was lucky then is found out."""
FEW_ROUNDS: Final = 5
"""So many decide where the fastest wins nearly all of them."""
CALLS: Final = 2
"""A sample of a slow kernel takes so many calls: the first is not timed."""
FIRST_CALLS: Final = 3
"""Before the samples each is called to be verified, and to see how long a call is."""
LEAST_SEATS: Final = 2
"""The default and the store's leader take part however short the time is."""
USUAL_SEATS: Final = 4
"""So much time is kept for finals where kernels are slow."""
SLOW_S: Final = 0.1
"""Kernels slower than this are timed for few rounds."""
REPEATS: Final = 3
"""How often finals are held at most."""
CLOSE: Final = 1.05
"""What was tried alone ran up to this much faster than in turn with others; beyond it, a trial may be better."""


@attrs.frozen(kw_only=True)
class FinalsTime:
    """When finals must end, by the monotonic clock, and the seconds that building a schedule takes."""

    end: float
    build_s: float

    def seated(self, journal: Journal, finalists: Sequence[Schedule]) -> list[Schedule]:
        """As many of the first finalists as there is time for, two at least."""
        left_s = self.end - time.monotonic()
        return [
            each
            for number, each in enumerate(finalists, start=1)
            if number <= LEAST_SEATS or needed_s(journal, finalists[:number], self.build_s) <= left_s
        ]

    def rounds(self, journal: Journal, finalists: Sequence[Schedule], most: int) -> int:
        """How many rounds of some finalists there is time for."""
        left_s = self.end - time.monotonic() - needed_s(journal, finalists, self.build_s)
        return max(FEW_ROUNDS, min(most, FEW_ROUNDS + int(left_s / max(CALLS * _calls_s(journal, finalists), 1e-9))))


def needed_s(journal: Journal, finalists: Sequence[Schedule], build_s: float) -> float:
    """Seconds of finals of some schedules in few rounds; building one takes `build_s`."""
    return len(finalists) * build_s + (FIRST_CALLS + CALLS * FEW_ROUNDS) * _calls_s(journal, finalists)


def usual_s(journal: Journal, default: Schedule, build_s: float) -> float:
    """Seconds that finals of the usual number of finalists would take now."""
    return needed_s(journal, [default, *journal.fastest(USUAL_SEATS)], build_s)


def _calls_s(journal: Journal, finalists: Sequence[Schedule]) -> float:
    """Seconds of one call of each."""
    return sum(journal.level_s(each) or 0.0 for each in finalists)


def hold_finals(
    bench: Bench, journal: Journal, default: Schedule, watch: Watch, allowed: FinalsTime | None = None
) -> None:
    """Times the finalists and stores their samples beside the default's; the store's leader is one of them then.

    Finals are held again while trials look better than the leader: they may be, or were lucky once, in a good moment.
    `allowed`, where there is a limit, makes them shorter, and none begin that would end too late but the first.
    """
    held: list[Schedule] = [default]
    finalists = _seated(default, journal.best(), _nearest(journal))
    for _ in range(REPEATS):
        if allowed is not None:
            finalists = allowed.seated(journal, finalists)
        medians = _medians(bench, journal, finalists, default, allowed)
        if not medians:
            return
        watch(FinalistsTimed(count=len(finalists), best_s=min(medians.values()), default_s=medians.get(default)))
        held += finalists
        leader = journal.best()
        if leader is None or leader.latency_s is None:
            return
        winner_s = medians.get(leader.schedule, leader.latency_s)
        # What made every finalist slower in turn than alone would do so to the others.
        ratios = [s / t for schedule, s in medians.items() if (t := journal.level_s(schedule)) is not None]
        if not journal.fastest(1, without=held, below_s=winner_s / max(CLOSE, min(ratios, default=1.0))):
            return
        finalists = _seated(default, leader, journal.fastest(FINALISTS, without=held))
        if allowed is not None and time.monotonic() + needed_s(journal, finalists[:3], allowed.build_s) > allowed.end:
            return


def _seated(default: Schedule, leader: Record | None, trials: Sequence[Schedule]) -> list[Schedule]:
    """The default, the store's leader and some trials, each once."""
    served = () if leader is None else (leader.schedule,)
    return list(dict.fromkeys((default, *served, *trials)))


def _nearest(journal: Journal) -> list[Schedule]:
    """The fastest trials, as far as they are near the first; behind it those that may only have been disturbed."""
    levels = [level_s for schedule in journal.fastest(1) if (level_s := journal.level_s(schedule)) is not None]
    least_s = min(levels, default=math.inf)
    near = journal.fastest(FINALISTS, below_s=NEAR * least_s)
    return [*near[:1], *journal.doubtful(DOUBTFUL, without=near, below_s=least_s), *near[1:]]


def _medians(
    bench: Bench, journal: Journal, finalists: list[Schedule], default: Schedule, allowed: FinalsTime | None
) -> dict[Schedule, float]:
    """Each finalist's median of one finals, whose samples are in the store then; empty where none can be timed."""
    best_s = journal.best_s
    if best_s is None:
        return {}
    rounds = ROUNDS if best_s < SLOW_S else FEW_ROUNDS
    if allowed is not None:
        rounds = allowed.rounds(journal, finalists, rounds)
    results = bench.retime(finalists, rounds, least=FEW_ROUNDS)
    timed = {s: r for s, r in zip(finalists, results, strict=True) if not isinstance(r, Failure)}
    for schedule, result in zip(finalists, results, strict=True):
        # Where all fail it is not their fault: they ran alone before.
        if isinstance(result, Failure) and timed:
            journal.put(schedule, result)
    for schedule, samples_s in timed.items():
        journal.put(schedule, samples_s, baseline_s=timed.get(default, ()))
    return {schedule: statistics.median(samples_s) for schedule, samples_s in timed.items()}
