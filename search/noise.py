"""The noise watch: the default schedule, measured again and again, shows when the machine itself has changed.

A slower machine makes every candidate slower that is tried meanwhile, and the best of them would be passed over. So the
default is an anchor: where its time moves, what was tried since it was last seen in its place is looked at again.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.schedule import Schedule

EVERY: Final = 32
"""Trials between two looks at the default."""
LAST: Final = 8
"""A search ends with a look at the default where there were so many trials since the last one."""
AGAIN: Final = 2
"""How often a schedule is measured again at most, however restless the machine is."""
DRIFT: Final = 1.15
"""The machine counts as changed where the default takes so many times as long as before, or so many times less."""
SCATTERED: Final = 3.0
"""Samples whose upper quartile is so many times their lower one say nothing; a core that is shared gives 2."""


def has_drifted(level: float, before: float) -> bool:
    """True where two levels of the machine, each a time over the same reference, are too far apart."""
    return not 1 / DRIFT <= level / before <= DRIFT


def is_scattered(samples_s: Sequence[float]) -> bool:
    """True where samples of one kernel, at least five, differ so much that their median says nothing."""
    if len(samples_s) < 5:
        return False
    low, _, high = statistics.quantiles(samples_s, n=4)
    return high > SCATTERED * low


class NoiseWatch:
    """Keeps the time of the default that the machine is held against, and what was tried since it was last looked at.

    `reference_s` is the default's median when it was first measured; `level` is how many times as long it takes now.
    """

    def __init__(self, reference_s: float) -> None:
        self.reference_s = reference_s
        self.level = 1.0
        self._window: list[Schedule] = []
        self._again: Counter[Schedule] = Counter()

    def tried(self, schedule: Schedule) -> None:
        """Notes a trial."""
        self._window.append(schedule)

    def tried_again(self, schedule: Schedule) -> None:
        """Notes that a schedule was measured again; that may have been disturbed too."""
        self._again[schedule] += 1
        self.tried(schedule)

    def may_be_tried_again(self, schedule: Schedule) -> bool:
        """False of a schedule that was measured again and again."""
        return self._again[schedule] < AGAIN

    def is_due(self, *, at_end: bool) -> bool:
        """True where the default is to be measured again."""
        return len(self._window) >= (LAST if at_end else EVERY)

    def ratio(self, default_s: float) -> float:
        """How many times as long the default takes now as the level says."""
        return default_s / self.reference_s / self.level

    def has_moved(self, default_s: float) -> bool:
        """True where the default's time now is not what the level says."""
        return has_drifted(default_s / self.reference_s, self.level)

    def settle(self, default_s: float) -> None:
        """Takes the default's time now for the machine's level."""
        self.level = default_s / self.reference_s

    def end_window(self) -> tuple[Schedule, ...]:
        """What was tried since the last look; the next window begins."""
        window = tuple(self._window)
        self._window.clear()
        return window
