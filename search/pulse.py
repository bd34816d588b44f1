"""The machine's pulse: a short chain of multiply-adds on the threads of a kernel, timed right before and after it.

On a shared machine a neighbour takes half of a core for a second or three, and whatever runs meanwhile takes 1.5 to 2
times as long: a good candidate is passed over. The chain touches registers alone and tells within milliseconds.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from .buffers import GuardedBuffer
from .peak import peak_schedule, peak_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .sampling import Kernel

STEPS: Final = 2**18
"""Four milliseconds: longer than a core is taken away at a time."""
DISTURBED: Final = 1.15
"""The machine counts as disturbed where the chain takes so many times as long as it ever did at best."""
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
        buffers = [GuardedBuffer(task.workload.buffers[name]) for name in task.workload.params]
        for buffer in buffers:
            buffer.erase()
        self._kernel = build(peak_schedule(), task, buffers)

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
