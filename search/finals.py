"""The finals: the best few and the default, timed in turn in one process, until the store's leader has won there."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Final

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
NEAR: Final = 1.3
"""A trial slower than this many times the best is not among them."""
ROUNDS: Final = 11
"""More than the samples of a trial, so that a schedule that was lucky then is found out."""
FEW_ROUNDS: Final = 5
"""So many decide where the fastest wins nearly all of them."""
SLOW_S: Final = 0.1
"""Kernels slower than this are timed for few rounds."""
REPEATS: Final = 3
"""How often finals are held at most."""
CLOSE: Final = 1.05
"""What was tried alone ran up to this much faster than in turn with others; beyond it, a trial may be better."""


def hold_finals(bench: Bench, journal: Journal, default: Schedule, end: float | None, watch: Watch) -> None:
    """Times the finalists and stores their samples beside the default's; the store's leader is one of them then.

    Finals are held again while trials look better than the leader: they may be, or were lucky once, in a good moment.
    `end`: no finals begin after that time.
    """
    held: list[Schedule] = [default]
    finalists = _seated(default, journal.best(), _nearest(journal))
    for _ in range(REPEATS):
        medians = _medians(bench, journal, finalists, default)
        if not medians:
            return
        watch(FinalistsTimed(count=len(finalists), best_s=min(medians.values()), default_s=medians.get(default)))
        held += finalists
        leader = journal.best()
        if leader is None or leader.latency_s is None or (end is not None and time.monotonic() > end):
            return
        winner_s = medians.get(leader.schedule, leader.latency_s)
        # What made every finalist slower in turn than alone would do so to the others.
        ratios = [s / t for schedule, s in medians.items() if (t := journal.level_s(schedule)) is not None]
        if not journal.fastest(1, without=held, below_s=winner_s / max(CLOSE, min(ratios, default=1.0))):
            return
        finalists = _seated(default, leader, journal.fastest(FINALISTS, without=held))


def _seated(default: Schedule, leader: Record | None, trials: Sequence[Schedule]) -> list[Schedule]:
    """The default, the store's leader and some trials, each once."""
    served = () if leader is None else (leader.schedule,)
    return list(dict.fromkeys((default, *served, *trials)))


def _nearest(journal: Journal) -> list[Schedule]:
    """The fastest trials, as far as they are near the first."""
    levels = [level_s for schedule in journal.fastest(1) if (level_s := journal.level_s(schedule)) is not None]
    least_s = min(levels, default=math.inf)
    return journal.fastest(FINALISTS, below_s=NEAR * least_s)


def _medians(bench: Bench, journal: Journal, finalists: list[Schedule], default: Schedule) -> dict[Schedule, float]:
    """Each finalist's median of one finals, whose samples are in the store then; empty where none can be timed."""
    best_s = journal.best_s
    if best_s is None:
        return {}
    results = bench.retime(finalists, ROUNDS if best_s < SLOW_S else FEW_ROUNDS, least=FEW_ROUNDS)
    timed = {s: r for s, r in zip(finalists, results, strict=True) if not isinstance(r, Failure)}
    for schedule, result in zip(finalists, results, strict=True):
        # Where all fail it is not their fault: they ran alone before.
        if isinstance(result, Failure) and timed:
            journal.put(schedule, result)
    for schedule, samples_s in timed.items():
        journal.put(schedule, samples_s, baseline_s=timed.get(default, ()))
    return {schedule: statistics.median(samples_s) for schedule, samples_s in timed.items()}
