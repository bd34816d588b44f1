"""When a search ends. Apart from the tuner, so that a request that the store can answer is checked without it."""

from __future__ import annotations

from typing import Final

import attrs

from ..spec.errors import SpecError

LIMIT: Final = 1024
"""Trials at which a search ends that could go on for as long as it improves."""
PATIENCE: Final = 24
"""Trials without improvement after which a search may stop early."""
IMPROVEMENT: Final = 0.01
"""By so much a trial must beat the best to count as an improvement: less is noise."""


@attrs.frozen(kw_only=True)
class Budget:
    """When a search ends: at `trials` in all, those of earlier searches included, or after `seconds` of this one.

    With `early_stopping` also when none of the last trials improved on the best by 1 %: half of all, at least 24.
    """

    trials: int = 64
    seconds: float | None = None
    early_stopping: bool = False

    def __attrs_post_init__(self) -> None:
        if type(self.trials) is not int or self.trials < 1:
            raise SpecError(f"found {self.trials!r}; allowed: a whole number from 1", "trials")
        if self.seconds is not None and not (type(self.seconds) in (int, float) and self.seconds > 0):
            raise SpecError(f"found {self.seconds!r}; allowed: a time greater than 0, or None for no limit", "seconds")
        if type(self.early_stopping) is not bool:
            raise SpecError(f"found {self.early_stopping!r}; allowed: True or False", "early_stopping")


EFFORTS: Final = {
    "quick": Budget(trials=16, seconds=10),
    "normal": Budget(),
    "full": Budget(trials=LIMIT, early_stopping=True),
}
"""Level of effort → its budget. Each goes on from where a lower one ended."""


def budget_of(
    trials: int | None = None,
    seconds: float | None = None,
    early_stopping: bool = False,
    effort: str | None = None,
) -> Budget:
    """The budget that options say, each None where it is not given; SpecError where they contradict each other."""
    if effort is None:
        if trials is None:
            trials = LIMIT if early_stopping else Budget().trials
        return Budget(trials=trials, seconds=seconds, early_stopping=early_stopping)
    if effort not in EFFORTS:
        raise SpecError(f"unknown effort {effort!r}; allowed: {', '.join(EFFORTS)}", "effort")
    others = {"trials": trials, "seconds": seconds, "early_stopping": early_stopping or None}
    for name, value in others.items():
        if value is not None:
            raise SpecError(f"found {effort!r} beside {name}={value!r}, which are two budgets; give one", "effort")
    return EFFORTS[effort]


def is_settled(improved_at: int, trials: int) -> bool:
    """True where the last of `trials` did not improve on what was found at number `improved_at`, and long enough."""
    return trials - improved_at >= max(PATIENCE, trials / 2)
