"""Measures candidates: builds them in parallel, verifies each, and times them one after another.

Everything that a candidate can do wrong comes back as a `Failure`; only trouble of the harness itself is an exception.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure, Protocol
from ..spec.convert import unstructure
from ..spec.errors import MeasureError
from ..spec.schedule import Schedule
from .measuring import Measuring
from .pinning import cpus_for
from .reference import WHOLE_POINTS
from .runner import Limits, Runner, Timed
from .timing_lock import TimingLock
from .workers import Handle, ZygoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ..spec.task import Task
    from .reference import Reference
    from .wire import Message
    from .workers import Workers

__all__ = ["Limits", "Measurement", "Measurer"]

BUILDER: Final = "autosched.search.worker:build_kernel"
WORKER: Final = "autosched.search.worker:Worker"
MAX_RESTARTS: Final = 3
SUSPICIOUS_FACTOR: Final = 1.5
"""One that is so many times as fast as the best before is measured twice."""
SUSPICIOUS_AFTER: Final = 8
"""From this many measurements on: the first ones improve in leaps."""


@attrs.frozen(kw_only=True)
class Measurement:
    """What came back from one candidate: seconds per call, and what it took to know."""

    samples_s: tuple[float, ...]
    build_s: float
    run_s: float
    level: float = 1.0
    """How many times as long the machine's pulse took meanwhile as at its best; 1 where it was quiet, or not asked."""

    @property
    def median_s(self) -> float:
        """The median sample."""
        return statistics.median(self.samples_s)


@attrs.frozen(kw_only=True)
class _Built:
    """A schedule whose worker holds its kernel, or why there is none."""

    schedule: Schedule
    handle: Handle | None = None
    build_s: float = 0.0
    failure: Failure | None = None


def unknown(_: Schedule) -> bool:
    """Says of every schedule that it is to be measured."""
    return False


def _build_request(schedule: Schedule) -> Message:
    return {"op": "build", "schedule": unstructure(schedule)}


def _kernel_in(answer: Message) -> int | Failure:
    """A kernel's number in a worker's answer about one of several schedules, or why there is none."""
    return Failure(**answer["failed"]) if "failed" in answer else int(answer["kernel"])


class Measurer(Measuring[Runner]):
    """Measures schedules of one task under one protocol on this machine; busy while it builds and runs."""

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        *,
        builders: int | None = None,
        batch: int | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        whole_points: int = WHOLE_POINTS,
        lock_path: Path | None = None,
        builder: str = BUILDER,
    ) -> None:
        self.protocol = protocol
        self._builders = builders or len(os.sched_getaffinity(0))
        self._batch = batch or max(4, 4 * self._builders)
        self._restarts = 0
        self._timed_before = 0
        cpus, limits = cpus_for(protocol.threads), limits or Limits()
        self._lock = TimingLock(lock_path)

        def runner(workers: Workers, reference: Reference) -> Runner:
            return Runner(workers=workers, reference=reference, protocol=protocol, limits=limits, cpus=cpus)

        super().__init__(task, limits, runner, builder=builder, worker=WORKER, seed=seed, whole_points=whole_points)

    def close(self) -> None:
        super().close()
        self._lock.close()

    @property
    def waited_s(self) -> float:
        """Wall seconds spent waiting for other tuners on this machine."""
        return self._lock.waited_s

    @property
    def best_s(self) -> float | None:
        """The best median so far: what decides how closely a candidate is looked at."""
        return self._runner.best_s

    @best_s.setter
    def best_s(self, seconds: float | None) -> None:
        self._runner.best_s = seconds

    # --- many candidates, one after another ---------------------------------------------------------------------------

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = unknown
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        """Each schedule with its measurement or failure, in order; those that are known by then are left out.

        Schedules are taken a batch at a time while the batch builds, so a generator can propose with what it has seen
        so far. Timing never overlaps building. `is_known` is asked when a schedule is about to be timed: another tuner
        may have done so since it was proposed.
        """
        source = iter(schedules)
        while True:
            batch: list[_Built] = []
            done = 0
            try:
                self._share_task()
                self._build_batch(source, batch)
                if not batch:
                    return
                for built in batch:
                    result = self._timed(built, is_known)
                    done += 1
                    if result is not None:
                        yield built.schedule, result
            except ZygoteError as error:
                self._restart(error)
                source = itertools.chain([built.schedule for built in batch[done:]], source)
            finally:
                self._end_all(built.handle for built in batch[done:])

    def _restart(self, error: ZygoteError) -> None:
        """New workers in place of killed ones; gives up where that happens again and again."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise error
        self._restart_workers()

    def _build_batch(self, source: Iterator[Schedule], batch: list[_Built]) -> None:
        """Takes up to a batch of schedules and builds them, at most `builders` at once."""
        building: dict[Handle, int] = {}
        with self._lock.building():
            begin = time.monotonic()
            idle_s = 0.0
            exhausted = False
            try:
                while building or not exhausted:
                    while not exhausted and len(building) < self._builders and len(batch) < self._batch:
                        asked = time.monotonic()
                        schedule = next(source, None)
                        idle_s += 0.0 if building else time.monotonic() - asked
                        if schedule is None:
                            exhausted = True
                            break
                        batch.append(_Built(schedule=schedule))
                        building[self._start_build(schedule)] = len(batch) - 1
                    exhausted = exhausted or len(batch) == self._batch
                    if building:
                        self._collect(building, batch)
            finally:
                self._end_all(building)
                self.busy_s += time.monotonic() - begin - idle_s

    def _start_build(self, schedule: Schedule) -> Handle:
        handle = self._workers.fork()
        self._workers.request(handle, _build_request(schedule), self.limits.build_s)
        return handle

    def _collect(self, building: dict[Handle, int], batch: list[_Built]) -> None:
        """Waits for the next workers that have built, or failed to."""
        for handle, answer in self._workers.wait(building, "build_timeout").items():
            number = building.pop(handle)
            if isinstance(answer, Failure):
                self._workers.end(handle)
                batch[number] = attrs.evolve(batch[number], failure=answer)
            else:
                batch[number] = attrs.evolve(batch[number], handle=handle, build_s=float(answer["build_s"]))

    def _end_all(self, handles: Iterable[Handle | None]) -> None:
        for handle in handles:
            if handle is not None:
                self._workers.end(handle)

    def _timed(self, built: _Built, is_known: Callable[[Schedule], bool]) -> Measurement | Failure | None:
        """Verifies and times what was built, twice where it seems too fast to be true; None where it is known."""
        if built.handle is None:
            failure = built.failure or Failure(kind="crash", detail="it was not built")
            return None if is_known(built.schedule) else failure
        found = self._timed_in(built.schedule, built.handle, built.build_s, is_known)
        if isinstance(found, Measurement):
            self._timed_before += 1
            if self._is_suspicious(found):
                found = self._confirmed(built.schedule, found)
        if isinstance(found, Measurement) and (self.best_s is None or found.median_s < self.best_s):
            self.best_s = found.median_s
        return found

    def _timed_in(
        self, schedule: Schedule, handle: Handle, build_s: float, is_known: Callable[[Schedule], bool]
    ) -> Measurement | Failure | None:
        """Verifies and times the kernel of a worker, unless it is known; ends the worker with whatever it started."""
        with self._lock.timing(), self._busy():
            if is_known(schedule):
                self._workers.end(handle)
                return None
            begin = time.monotonic()
            result: Timed | Failure | float = self._runner.verify(handle, 0, schedule)
            if isinstance(result, float):
                result = self._runner.samples(handle, 0, result)
            strays = self._workers.end(handle)["strays"]
            run_s = time.monotonic() - begin
        if isinstance(result, Failure):
            return result
        if strays:
            return Failure(kind="crash", detail=f"it left {strays} processes running; they were killed")
        return Measurement(samples_s=result.samples_s, build_s=build_s, run_s=run_s, level=result.level)

    def _is_suspicious(self, found: Measurement) -> bool:
        """True of a candidate that is far ahead of many others: it may have been timed wrongly, or not do its work."""
        return (
            self._timed_before > SUSPICIOUS_AFTER
            and self.best_s is not None
            and found.median_s * SUSPICIOUS_FACTOR < self.best_s
        )

    def _confirmed(self, schedule: Schedule, first: Measurement) -> Measurement | Failure | None:
        """The slower of two measurements, the second in a process of its own; or why there is none."""
        found = self._built_alone(schedule)
        if isinstance(found, Failure):
            return found
        second = self._timed_in(schedule, *found, unknown)
        return max(first, second, key=lambda found: found.median_s) if isinstance(second, Measurement) else second

    def _built_alone(self, schedule: Schedule) -> tuple[Handle, float] | Failure:
        """A worker that holds the kernel, and the seconds it took to build; or why there is none."""
        handle = self._workers.fork()
        with self._lock.building(), self._busy():
            answer = self._workers.answer(handle, _build_request(schedule), self.limits.build_s, "build_timeout")
        if isinstance(answer, Failure):
            self._workers.end(handle)
            return answer
        return handle, float(answer["build_s"])

    # --- whether candidates are right ---------------------------------------------------------------------------------

    def compare(self, schedules: Sequence[Schedule]) -> Iterator[tuple[Schedule, Failure | None]]:
        """Each schedule with what is wrong with it, None where its output is right, in order; nothing is timed."""
        waiting = list(schedules)
        while waiting:
            try:
                self._share_task()
                built = self._built_alone(waiting[0])
                if isinstance(built, Failure):
                    wrong: Failure | None = built
                else:
                    with self._lock.timing(), self._busy():
                        first_s = self._runner.verify(built[0], 0, waiting[0])
                        self._workers.end(built[0])
                    wrong = first_s if isinstance(first_s, Failure) else None
            except ZygoteError as error:
                self._restart(error)
                continue
            yield waiting.pop(0), wrong

    # --- a few candidates, in turn ------------------------------------------------------------------------------------

    def retime(
        self,
        schedules: Sequence[Schedule],
        rounds: int,
        *,
        least: int | None = None,
        beside: tuple[Task, Schedule] | None = None,
    ) -> list[tuple[float, ...] | Failure]:
        """`rounds` samples of each schedule, all in one process and in turn: a, b, c, a, b, c, …

        What disturbs the machine for longer than a round disturbs all alike: ratios hold where times drift. With
        `least`, the rounds end after as many, or later, when it is decided who is fastest. `beside` is
        a schedule of another task, timed with the others on the same threads but not verified: its samples come last.
        """
        results: dict[int, tuple[float, ...] | Failure] = {}
        count, together = len(schedules) + (beside is not None), self._builders > 1
        while len(results) < count:
            asked = {number: s for number, s in enumerate(schedules) if number not in results}
            try:
                self._share_task()
                handle = self._workers.fork()
                try:
                    built = self._kernels_of(handle, asked, together=together)
                    if built is None:
                        together = False
                        continue
                    failed = {number: kernel for number, kernel in built.items() if isinstance(kernel, Failure)}
                    kernels = {number: kernel for number, kernel in built.items() if not isinstance(kernel, Failure)}
                    if beside is not None and not failed:
                        kernels[len(schedules)] = self._kernel_beside(handle, *beside)
                    results.update(failed or self._retime_in(handle, asked, kernels, (rounds, least)))
                finally:
                    self._workers.end(handle)
            except ZygoteError as error:
                self._restart(error)
        return [results[number] for number in range(count)]

    def _kernels_of(
        self, handle: Handle, asked: dict[int, Schedule], *, together: bool
    ) -> dict[int, int | Failure] | None:
        """What the worker calls each schedule's kernel; where some have none, perhaps only why the first has none.

        Built beside one another if `together`. None where the worker broke then, or ran out of memory: any of them may
        be to blame, or all together.
        """
        with self._lock.building(), self._busy():
            if together and len(asked) > 1:
                contents = [unstructure(schedule) for schedule in asked.values()]
                request: Message = {"op": "build_all", "schedules": contents, "builders": self._builders}
                limit_s = self.limits.build_s * math.ceil(len(asked) / self._builders)
                answer = self._workers.answer(handle, request, limit_s, "build_timeout")
                if isinstance(answer, Failure):
                    return None
                built = dict(zip(asked, map(_kernel_in, answer["built"]), strict=True))
                crowded = any(isinstance(found, Failure) and found.kind == "out_of_memory" for found in built.values())
                return None if crowded else built
            kernels: dict[int, int | Failure] = {}
            for number, schedule in asked.items():
                answer = self._workers.answer(handle, _build_request(schedule), self.limits.build_s, "build_timeout")
                if isinstance(answer, Failure):
                    return {number: answer}
                kernels[number] = answer["kernel"]
            return kernels

    def _kernel_beside(self, handle: Handle, task: Task, schedule: Schedule) -> int:
        """What the worker calls the kernel of another task."""
        request: Message = {"op": "beside", "task": unstructure(task), "schedule": unstructure(schedule)}
        with self._lock.building(), self._busy():
            answer = self._workers.answer(handle, request, self.limits.build_s, "build_timeout")
        if isinstance(answer, Failure):
            raise MeasureError(f"the kernel to time beside cannot be built: {answer.detail}")
        return int(answer["kernel"])

    def _retime_in(
        self, handle: Handle, asked: dict[int, Schedule], kernels: dict[int, int], rounds: tuple[int, int | None]
    ) -> dict[int, tuple[float, ...] | Failure]:
        """The failure of one, which spoils the process for the others, or else the samples of all `kernels`."""
        with self._lock.timing(), self._busy():
            slowest_s = 0.0
            for number, schedule in asked.items():
                first_s = self._runner.verify(handle, kernels[number], schedule)
                if isinstance(first_s, Failure):
                    return {number: first_s}
                slowest_s = max(slowest_s, first_s)
            found = self._runner.samples_in_turn(handle, list(kernels.values()), *rounds, slowest_s)
        if isinstance(found, Failure):
            return dict.fromkeys(kernels, found)
        return dict(zip(kernels, found, strict=True))
