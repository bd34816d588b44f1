"""The machine's pulse: a short chain of multiply-adds on the threads of a kernel, timed right before and after it.

On a shared machine a neighbour takes half of a core for a second or three, and whatever runs meanwhile takes 1.5 to 2
times as long: a good candidate is passed over. The chain touches registers alone and tells within milliseconds.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from .buffers import GuardedBuffer, loaded_buffers
from .peak import peak_schedule, peak_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .sampling import Kernel

STEPS: Final = 2**18
"""Four milliseconds: longer than a core is taken away at a time."""
DISTURBED: Final = 1.15
"""The machine counts as disturbed where the chain takes so many times as long as at best lately."""
LATELY: Final = 16
"""Trials; a machine that is slower for longer is as it is."""
PAUSE_S: Final = 0.02
"""Between two looks while it is waited for better."""
PATIENCE: Final = 0.1
"""Part of a search's time that may pass waiting."""
PATIENCE_S: Final = 1.0
"""Seconds waited at a time: a neighbour's work lasts one to three."""


class Pulse:
    """The chain for `threads` threads, built by `build` as candidates are."""

    def __init__(self, threads: int, build: Callable[[Schedule, Task, Sequence[GuardedBuffer]], Kernel]) -> None:
        task = peak_task(threads, steps=STEPS)
        self._kernel = build(peak_schedule(), task, loaded_buffers(task))

    def beat_s(self) -> float:
        """Seconds that the chain takes now."""
        return self._kernel.timed_call()

    def rest(self, quiet_s: float, patience_s: float) -> bool:
        """Waits until the chain takes about `quiet_s` again; False where it does not within `patience_s`."""
        end = time.monotonic() + patience_s
        while level_of([self.beat_s()], quiet_s) > 1:
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE_S)
        return True


class Beats:
    """What the chain took beside the last trials, as workers say, of whom nothing is believed but a number above 0."""

    def __init__(self) -> None:
        self._best: deque[float] = deque(maxlen=LATELY)

    @property
    def quiet_s(self) -> float | None:
        """The least of late; None where nothing is known."""
        return min(self._best, default=None)

    def level(self, beats_s: Iterable[float]) -> float:
        """Takes note of what a trial's beats took; how disturbed it was."""
        beats = [seconds for seconds in beats_s if 0 < seconds < math.inf]
        if beats:
            self._best.append(min(beats))
        return level_of(beats, self.quiet_s)


class Patience:
    """How long may be waited for a quiet machine: now and then a moment, all in all a part of the time that passes."""

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._begin = time.monotonic()

    def left_s(self) -> float:
        """Seconds that may be waited now; none where it is not above 0."""
        return min(PATIENCE_S, PATIENCE * (time.monotonic() - self._begin) - self.waited_s)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time until it ends as waited."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.waited_s += time.monotonic() - begin


def level_of(beats_s: Sequence[float], quiet_s: float | None) -> float:
    """How many times as long beats are on average as one at best; 1 where none is much longer, or nothing is known."""
    if not beats_s or quiet_s is None or max(beats_s) <= DISTURBED * quiet_s:
        return 1.0
    return sum(beats_s) / len(beats_s) / quiet_s
