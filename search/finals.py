"""The finals: the best few and the default, timed in turn in one process, until the store's leader has won there."""

from __future__ import annotations

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
FEW_ROUNDS: Final = 5
SLOW_S: Final = 0.1
"""Kernels slower than this are timed for few rounds."""
REPEATS: Final = 4
"""How often the finals are held again where the leader of all samples did not win, or was not among the finalists."""


def hold_finals(bench: Bench, journal: Journal, default: Schedule, end: float | None, watch: Watch) -> None:
    """Times the finalists and stores their samples beside the default's.

    A schedule may lead the store by luck: it was measured once, in a good moment. It then takes part in finals of its
    own, with more samples each time, until who leads has also won. `end`: no finals begin after that time.
    """
    finalists = list(dict.fromkeys([default, *journal.fastest(FINALISTS)]))
    samples: dict[Schedule, list[float]] = {}
    for _ in range(REPEATS):
        if not _timed(bench, journal, finalists, default, samples):
            return
        medians = {schedule: statistics.median(found) for schedule, found in samples.items()}
        winner = min(medians, key=lambda schedule: medians[schedule])
        watch(FinalistsTimed(count=len(finalists), best_s=medians[winner], default_s=medians.get(default)))
        leader = journal.best()
        if leader is None or leader.schedule == winner or (end is not None and time.monotonic() > end):
            return
        finalists = list(dict.fromkeys([default, winner, leader.schedule]))


def _timed(
    bench: Bench, journal: Journal, finalists: list[Schedule], default: Schedule, samples: dict[Schedule, list[float]]
) -> bool:
    """Adds one turn's samples to `samples` and to the store; False where none of the finalists can be timed."""
    best_s = journal.best_s
    if best_s is None:
        return False
    results = bench.retime(finalists, ROUNDS if best_s < SLOW_S else FEW_ROUNDS)
    timed = {s: r for s, r in zip(finalists, results, strict=True) if not isinstance(r, Failure)}
    for schedule, result in zip(finalists, results, strict=True):
        # Where all fail it is not their fault: they ran alone before.
        if isinstance(result, Failure) and timed:
            samples.pop(schedule, None)
            journal.put(schedule, result)
    for schedule, result in timed.items():
        journal.put(schedule, result, baseline_s=timed.get(default, ()))
        samples.setdefault(schedule, []).extend(result)
    return bool(timed)
