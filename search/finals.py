"""The finals: the best few and the default, timed in turn in one process, until the store's leader has won there."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Final

from ..spec.claim import Failure
from .progress import FinalistsTimed

if TYPE_CHECKING:
    from ..spec.schedule import Schedule
    from .journal import Journal
    from .progress import Watch
    from .tuner import Bench

FINALISTS: Final = 4
ROUNDS: Final = 11
"""More than the samples of a trial, so that a schedule that was lucky then is found out."""
FEW_ROUNDS: Final = 5
SLOW_S: Final = 0.1
"""Kernels slower than this are timed for few rounds"""
REPEATS: Final = 2
"""How often finals are held at most."""
CLOSE: Final = 1.03
"""A leader within this factor of the winner has won as well: the next finals might end the other way round."""


def hold_finals(bench: Bench, journal: Journal, default: Schedule, end: float | None, watch: Watch) -> None:
    """Times the finalists and stores their samples beside the default's.

    A schedule may lead the store by luck: it was measured once, in a good moment. It then takes part in further finals,
    until who leads has won, and against the default without any allowance. `end`: no finals begin after that time.
    """
    finalists = list(dict.fromkeys([default, *journal.fastest(FINALISTS)]))
    held: set[Schedule] = set()
    for _ in range(REPEATS):
        medians = _medians(bench, journal, finalists, default)
        if not medians:
            return
        winner = min(medians, key=lambda schedule: medians[schedule])
        watch(FinalistsTimed(count=len(finalists), best_s=medians[winner], default_s=medians.get(default)))
        leader = journal.best()
        if leader is None or _has_won(leader.schedule, winner, default, medians):
            return
        if end is not None and time.monotonic() > end:
            return
        held.update(finalists)
        # A leader that was not held yet may be one of many that were lucky.
        unheld = [s for s in journal.fastest(len(held) + FINALISTS) if s not in held]
        others = [] if leader.schedule in held else unheld[: FINALISTS - 1]
        finalists = list(dict.fromkeys([default, winner, leader.schedule, *others]))


def _has_won(leader: Schedule, winner: Schedule, default: Schedule, medians: dict[Schedule, float]) -> bool:
    """True where the leader took part, is no slower than the default, and as good as the winner."""
    if leader not in medians:
        return False
    return medians[leader] <= min(medians.get(default, math.inf), CLOSE * medians[winner])


def _medians(bench: Bench, journal: Journal, finalists: list[Schedule], default: Schedule) -> dict[Schedule, float]:
    """Each finalist's median of one finals, whose samples are in the store then; empty where none can be timed."""
    best_s = journal.best_s
    if best_s is None:
        return {}
    results = bench.retime(finalists, ROUNDS if best_s < SLOW_S else FEW_ROUNDS)
    timed = {s: r for s, r in zip(finalists, results, strict=True) if not isinstance(r, Failure)}
    for schedule, result in zip(finalists, results, strict=True):
        # Where all fail it is not their fault: they ran alone before.
        if isinstance(result, Failure) and timed:
            journal.put(schedule, result)
    for schedule, samples_s in timed.items():
        journal.put(schedule, samples_s, baseline_s=timed.get(default, ()))
    return {schedule: statistics.median(samples_s) for schedule, samples_s in timed.items()}
