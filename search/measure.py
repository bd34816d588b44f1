"""Measures candidates: builds them in parallel, verifies each, and times them one after another.

Everything that a candidate can do wrong comes back as a `Failure`; only trouble of the harness itself is an exception.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import attrs

from ..spec.claim import Failure, Protocol
from ..spec.convert import unstructure
from ..spec.errors import MeasureError
from ..spec.schedule import Schedule
from ..spec.task import Task
from .pinning import cpus_for
from .reference import Reference
from .timing_lock import TimingLock
from .wire import Message
from .workers import Handle, Workers

BUILDER: Final = "autosched.search.worker:build_kernel"


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
        try:
            self._workers = Workers(task, self._folder, builder=builder, memory_bytes=self._memory_bytes())
            self._reference = Reference(task, self._folder, seed=seed)  # while the zygote imports TVM
            self._workers.share_task()
        except BaseException:
            self.close()
            raise

    def _memory_bytes(self) -> int:
        return self.limits.memory_bytes

    def __enter__(self) -> Measurer:
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
        while batch := self._build_batch(source):
            try:
                for built in batch:
                    yield built.schedule, self._timed(built)
            finally:
                self._end_all(built.handle for built in batch)

    def _build_batch(self, source: Iterator[Schedule]) -> list[_Built]:
        """Takes up to a batch of schedules and builds them, at most `builders` at once."""
        batch: list[_Built] = []
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
                        building[self._start_build(schedule)] = len(batch)
                        batch.append(_Built(schedule=schedule))
                    exhausted = exhausted or len(batch) == self._batch
                    if building:
                        self._collect(building, batch)
            except BaseException:
                self._end_all([*building, *(built.handle for built in batch)])
                raise
            self.busy_s += time.monotonic() - begin - idle_s
        return batch

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
        sample_s = max(verified * self.protocol.number, 2 * self.protocol.min_sample_s)
        deadline_s = self.limits.least_run_s + 5 * (self.protocol.repeats + self.protocol.warmup + 5) * sample_s
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
            self._workers.share_task()
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
