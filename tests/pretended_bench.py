"""A bench without hardware: what a schedule takes follows from its text, so that searches can be replayed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from autosched.nn.registry import get_task
from autosched.search.measure import Measurement
from autosched.spec.claim import Failure, Protocol
from autosched.spec.convert import unstructure
from autosched.spec.json_text import compact_json
from autosched.spec.schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from autosched.search.measure import Limits
    from autosched.spec.task import Task

SMALL = get_task("gemv", N=32, K=32, threads=1)
"""Its space has few points: it can be exhausted."""
LARGE = get_task("gemm", N=64, M=64, K=64, threads=1)

Timing = Callable[[Schedule], float | Failure]


@functools.cache
def pretended_s(schedule: Schedule) -> float:
    """A time between 1 and 2 ms, the same whenever it is asked for."""
    digest = hashlib.sha256(compact_json(unstructure(schedule)).encode()).digest()
    return 0.001 * (1 + int.from_bytes(digest[:4], "big") / 2**32)


class PretendedBench:
    """Gives every schedule the seconds that `first` says, and in finals those that `final` says.

    `stop_after` trials it is interrupted, as by Ctrl-C.
    """

    def __init__(self, first: Timing = pretended_s, final: Timing | None = None, stop_after: int = 10**9) -> None:
        self.first = first
        self.final = final or first
        self.stop_after = stop_after
        self.measured: list[Schedule] = []
        self.retimed: list[list[Schedule]] = []
        self.retracted: tuple[Schedule, ...] = ()
        self.busy_s = 0.0
        self.waited: list[int] = []
        """How many schedules had been measured whenever somebody waited for it."""
        self.open = False

    def __call__(self, task: Task, protocol: Protocol, limits: Limits | None = None) -> PretendedBench:
        assert protocol.threads == task.threads
        return self

    def __enter__(self) -> Self:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = lambda _: False
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        for schedule in schedules:
            if is_known(schedule):
                continue
            if len(self.measured) >= self.stop_after:
                raise KeyboardInterrupt
            self.measured.append(schedule)
            found = self.first(schedule)
            yield (
                schedule,
                found if isinstance(found, Failure) else Measurement(samples_s=(found,) * 7, build_s=0, run_s=0),
            )

    def ready(self) -> None:
        self.waited.append(len(self.measured))

    def retime(
        self, schedules: Sequence[Schedule], rounds: int, *, least: int | None = None
    ) -> list[tuple[float, ...] | Failure]:
        self.retimed.append(list(schedules))
        found = [self.final(schedule) for schedule in schedules]
        return [entry if isinstance(entry, Failure) else (entry,) * rounds for entry in found]

    def compare(self, schedules: Sequence[Schedule]) -> Iterator[tuple[Schedule, Failure | None]]:
        for schedule in schedules:
            found = self.first(schedule)
            yield schedule, found if isinstance(found, Failure) else None
