"""Measures candidates: builds them in parallel, verifies each, and times them one after another.

Everything that a candidate can do wrong comes back as a `Failure`; only trouble of the harness itself is an exception.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure, Protocol
from ..spec.convert import unstructure
from ..spec.errors import MeasureError
from ..spec.schedule import Schedule
from .pinning import cpus_for
from .reference import Reference
from .timing_lock import TimingLock
from .workers import Handle, Workers, ZygoteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from ..spec.task import Task
    from .wire import Message

BUILDER: Final = "autosched.search.worker:build_kernel"
MAX_RESTARTS: Final = 3


@attrs.frozen(kw_only=True)
class Measurement:
    """What came back from one candidate: seconds per call, and what it took to know."""

    samples_s: tuple[float, ...]
    build_s: float
    run_s: float

    @property
    def median_s(self) -> float:
        """The median sample."""
        return statistics.median(self.samples_s)


@attrs.frozen(kw_only=True)
class Limits:
    """What a candidate may use before it is given up.

    The first call gets `first_run_s` while no time is known, later `run_factor` times the best median, at least
    `least_run_s`. `memory_bytes` is beyond the task's own data.
    """

    build_s: float = 20.0
    first_run_s: float = 60.0
    least_run_s: float = 1.0
    run_factor: float = 20.0
    memory_bytes: int = 2 * 2**30


@attrs.frozen(kw_only=True)
class _Built:
    """A schedule whose worker holds its kernel, or why there is none."""

    schedule: Schedule
    handle: Handle | None = None
    build_s: float = 0.0
    failure: Failure | None = None


class Measurer:
    """Measures schedules of one task under one protocol; a context manager, so that no process outlives it."""

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        *,
        builders: int | None = None,
        batch: int | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        lock_path: Path | None = None,
        builder: str = BUILDER,
    ) -> None:
        self.task = task
        self.protocol = protocol
        self.limits = limits or Limits()
        self.busy_s = 0.0
        """Wall seconds spent building and running so far."""
        self.best_s: float | None = None
        """The best median so far: what decides how closely a candidate is looked at."""
        self.retracted: list[Schedule] = []
        """Schedules that had agreed with an output that was later found wrong: their times do not count."""
        self._builders = builders or len(os.sched_getaffinity(0))
        self._batch = batch or max(4, 2 * self._builders)
        self._cpus = cpus_for(protocol.threads)
        self._lock = TimingLock(lock_path)
        self._folder = Path(tempfile.mkdtemp(prefix="autosched-"))
        self._agreeing: list[Schedule] = []
        self._has_agreed = False
        self._builder = builder
        self._restarts = 0
        try:
            self._workers = self._start_workers()
            self._reference = Reference(task, self._folder, seed=seed)  # while the zygote imports TVM
            self._workers.share_task()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Measurer:  # noqa: PYI034 # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process and removes every file of this measurer."""
        with contextlib.suppress(AttributeError):  # it may not have come to be
            self._workers.close()
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def waited_s(self) -> float:
        """Wall seconds spent waiting for other tuners on this machine."""
        return self._lock.waited_s

    # --- many candidates, one after another ---------------------------------------------------------------------------

    def measure(self, schedules: Iterable[Schedule]) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        """Each schedule with its measurement or failure, in order.

        Schedules are taken a batch at a time while the batch builds, so a generator can propose with what it has seen
        so far. Timing never overlaps building.
        """
        source = iter(schedules)
        while True:
            batch: list[_Built] = []
            done = 0
            try:
                self._build_batch(source, batch)
                if not batch:
                    return
                for built in batch:
                    result = self._timed(built)
                    done += 1
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
        self._workers.close()
        self._workers = self._start_workers()
        self._workers.share_task()

    def _start_workers(self) -> Workers:
        return Workers(self.task, self._folder, builder=self._builder, memory_bytes=self.limits.memory_bytes)

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
        self._workers.request(handle, {"op": "build", "schedule": unstructure(schedule)}, self.limits.build_s)
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

    def _timed(self, built: _Built) -> Measurement | Failure:
        if built.handle is None:
            return built.failure or Failure(kind="crash", detail="it was not built")
        with self._lock.timing():
            begin = time.monotonic()
            result = self._verified_samples(built.handle, built.schedule)
            strays = self._workers.end(built.handle)["strays"]
            run_s = time.monotonic() - begin
            self.busy_s += run_s
        if isinstance(result, Failure):
            return result
        if strays:
            return Failure(kind="crash", detail=f"it left {strays} processes running; they were killed")
        measurement = Measurement(samples_s=result, build_s=built.build_s, run_s=run_s)
        if self.best_s is None or measurement.median_s < self.best_s:
            self.best_s = measurement.median_s
        return measurement

    # --- a few candidates, in turn ------------------------------------------------------------------------------------

    def retime(
        self,
        schedules: Sequence[Schedule],
        rounds: int,
        *,
        beside: tuple[Task, Schedule] | None = None,
    ) -> list[tuple[float, ...] | Failure]:
        """`rounds` samples of each schedule, all in one process and in turn: a, b, c, a, b, c, …

        What disturbs the machine for longer than a round disturbs all alike: ratios hold where times drift. `beside` is
        a schedule of another task, timed with the others on the same threads but not verified: its samples come last.
        """
        results: dict[int, tuple[float, ...] | Failure] = {}
        count = len(schedules) + (beside is not None)
        while len(results) < count:
            asked = {number: s for number, s in enumerate(schedules) if number not in results}
            handle = self._workers.fork()
            try:
                results.update(self._retime_in(handle, asked, rounds, beside, len(schedules)))
            finally:
                self._workers.end(handle)
        return [results[number] for number in range(count)]

    def _retime_in(
        self,
        handle: Handle,
        asked: dict[int, Schedule],
        rounds: int,
        beside: tuple[Task, Schedule] | None,
        beside_number: int,
    ) -> dict[int, tuple[float, ...] | Failure]:
        """The failures of this attempt, or else the samples of all: a failure spoils the process for the others."""
        kernels: dict[int, int] = {}
        with self._lock.building():
            for number, schedule in asked.items():
                request: Message = {"op": "build", "schedule": unstructure(schedule)}
                answer = self._busy(handle, request, self.limits.build_s, "build_timeout")
                if isinstance(answer, Failure):
                    return {number: answer}
                kernels[number] = answer["kernel"]
            if beside is not None:
                request = {"op": "beside", "task": unstructure(beside[0]), "schedule": unstructure(beside[1])}
                answer = self._busy(handle, request, self.limits.build_s, "build_timeout")
                if isinstance(answer, Failure):
                    raise MeasureError(f"the kernel to time beside cannot be built: {answer.detail}")
                kernels[beside_number] = answer["kernel"]
        with self._lock.timing():
            slowest_s = 0.0
            for number, schedule in asked.items():
                first_s = self._verify(handle, kernels[number], schedule)
                if isinstance(first_s, Failure):
                    return {number: first_s}
                slowest_s = max(slowest_s, first_s)
            request = {
                "op": "retime",
                "kernels": list(kernels.values()),
                "rounds": rounds,
                "protocol": unstructure(self.protocol),
                "cpus": self._cpus,
            }
            deadline_s = self._deadline_s(slowest_s, 2 * (rounds + 5) * len(kernels))
            answer = self._busy(handle, request, deadline_s, "run_timeout")
        if isinstance(answer, Failure):
            return dict.fromkeys(kernels, answer)
        samples = answer["samples_s"]
        return {number: tuple(map(float, found)) for number, found in zip(kernels, samples, strict=True)}

    def _busy(self, handle: Handle, request: Message, deadline_s: float, timeout_kind: str) -> Message | Failure:
        begin = time.monotonic()
        try:
            return self._workers.answer(handle, request, deadline_s, timeout_kind)
        finally:
            self.busy_s += time.monotonic() - begin

    def _deadline_s(self, first_s: float, samples: int) -> float:
        """Time for so many samples of a kernel whose first call took `first_s`, five times over."""
        sample_s = max(first_s * self.protocol.number, 2 * self.protocol.min_sample_s)
        return self.limits.least_run_s + 5 * samples * sample_s

    # --- one candidate ------------------------------------------------------------------------------------------------

    def _verified_samples(self, handle: Handle, schedule: Schedule) -> tuple[float, ...] | Failure:
        """Verifies, then times, the only kernel of a worker."""
        verified = self._verify(handle, 0, schedule)
        if isinstance(verified, Failure):
            return verified
        request = {
            "op": "time",
            "kernel": 0,
            "protocol": unstructure(self.protocol),
            "first_s": verified,
            "best_s": self.best_s,
        }
        deadline_s = self._deadline_s(verified, self.protocol.repeats + self.protocol.warmup + 5)
        answer = self._workers.answer(handle, request, deadline_s, "run_timeout")
        return answer if isinstance(answer, Failure) else tuple(float(s) for s in answer["samples_s"])

    def _verify(self, handle: Handle, kernel: int, schedule: Schedule) -> float | Failure:
        """Seconds of the first call, if every output is right."""
        request = {"op": "verify", "kernel": kernel, "cpus": self._cpus, "pinned": self.protocol.pinned}
        answer = self._workers.answer(handle, request, self._first_deadline_s(), "run_timeout")
        if isinstance(answer, Failure):
            return answer
        if answer["disputed"] is not None and not self._settle(answer["disputed"]):
            return Failure(kind="wrong_answer", detail=answer["disputed"]["detail"])
        self._agreeing.append(schedule)
        if not self._reference.is_whole and not self._has_agreed:
            kept = self._workers.answer(handle, {"op": "keep", "kernel": kernel}, 60.0, "run_timeout")
            if isinstance(kept, Failure):
                return kept
            self._workers.share_outputs()
            self._has_agreed = True
        return float(answer["first_s"])

    def _first_deadline_s(self) -> float:
        if self.best_s is None:
            return self.limits.first_run_s
        # Comparing outputs takes time too: about a second for a hundred million values.
        return max(self.limits.least_run_s, self.limits.run_factor * self.best_s) + self._compare_s()

    def _compare_s(self) -> float:
        buffers = self.task.workload.buffers
        elements = 0
        for name in self.task.workload.params:
            size = 1
            for extent in buffers[name].shape:
                size *= extent
            elements += size
        return 1.0 + elements / 1e7

    def _settle(self, disputed: Message) -> bool:
        """Asks the evaluator who is right; True if the candidate is, and the output that all agreed with was wrong."""
        if not self._reference.settles_for(disputed["output"], disputed["positions"], disputed["found"]):
            return False
        self.retracted += self._agreeing
        self._agreeing.clear()
        self._has_agreed = False
        return True
