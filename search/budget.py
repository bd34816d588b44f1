"""When a search ends. Apart from the tuner, so that a request that the store can answer is checked without it."""

from __future__ import annotations

import attrs

from ..spec.errors import SpecError


@attrs.frozen(kw_only=True)
class Budget:
    """When a search ends: at `trials` in all, those of earlier searches included, or after `seconds` of this one."""

    trials: int = 64
    seconds: float | None = None

    def __attrs_post_init__(self) -> None:
        if type(self.trials) is not int or self.trials < 1:
            raise SpecError(f"found {self.trials!r}; allowed: a whole number from 1", "trials")
        if self.seconds is not None and not (type(self.seconds) in (int, float) and self.seconds > 0):
            raise SpecError(f"found {self.seconds!r}; allowed: a time greater than 0, or None for no limit", "seconds")
