"""The answer to a request: the best schedule known for a task on this machine, and what is known of it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import attrs

from .search.confidence import median_interval
from .store.records import Record

if TYPE_CHECKING:
    import os

    from .search.confidence import Interval
    from .spec.claim import Machine, Protocol
    from .spec.schedule import Schedule
    from .spec.spec_file import SpecFile
    from .spec.task import Task
    from .spec.tvm_call import BuiltFunction
    from .store.records import Measurement


@attrs.frozen(kw_only=True)
class Result:
    """A record of the store, and where it came from: "store", "search", or "default" where a search found no better.

    Times are those of the last session in which the schedule was timed in turn with the default one, so that their
    ratio holds.
    """

    record: Record
    source: str

    @property
    def task(self) -> Task:
        """What the schedule is for."""
        return self.record.task

    @property
    def schedule(self) -> Schedule:
        """How the task is computed."""
        return self.record.schedule

    @property
    def machine(self) -> Machine:
        """Where it was measured."""
        return self.record.machine

    @property
    def protocol(self) -> Protocol:
        """How it was measured."""
        return self.record.protocol

    @property
    def origin(self) -> str:
        """What the times are worth: "measured here", "verified" (claimed elsewhere, timed here) or "claimed"."""
        return self.record.origin

    @property
    def samples(self) -> tuple[float, ...]:
        """Seconds per call, of one session."""
        return self._session.samples_s

    @property
    def latency_s(self) -> float:
        """The median sample."""
        return statistics.median(self.samples)

    @property
    def default_latency_s(self) -> float | None:
        """The median of the default schedule in the same session; None where it could not be timed."""
        baseline_s = self._session.baseline_s
        return statistics.median(baseline_s) if baseline_s else None

    @property
    def speedup(self) -> float | None:
        """How many times faster than the default schedule; None where that could not be timed."""
        default_s = self.default_latency_s
        return None if default_s is None else default_s / self.latency_s

    @property
    def speedup_interval(self) -> Interval | None:
        """What the speedup is with how much confidence, from samples taken in turn; None where there are none."""
        session = self._session
        if not session.baseline_s or len(session.baseline_s) != len(session.samples_s):
            return None
        return median_interval(
            [default_s / s for default_s, s in zip(session.baseline_s, session.samples_s, strict=True)]
        )

    @property
    def gflops(self) -> float | None:
        """Giga operations per second, two for a multiply-add; None where nothing is multiplied."""
        from .spec.flops import flop_count

        count = flop_count(self.task.workload)
        return None if count is None else count / self.latency_s / 1e9

    @property
    def spec(self) -> SpecFile:
        """The spec file's content: task, schedule, and a claim for each session."""
        from .store.claims import spec_from_record

        return spec_from_record(self.record)

    @property
    def _session(self) -> Measurement:
        """The last session with a baseline, or else the last."""
        counted = self.record.counted
        return next((m for m in reversed(counted) if m.baseline_s), counted[-1])

    def build(self) -> BuiltFunction:
        """The compiled function: call it with inputs, then outputs, as NumPy arrays, TVM tensors or through DLPack.

        TVM's thread pool is set to the task's threads; nothing else of the process changes.
        """
        from .spec.tvm_call import built_function

        return built_function(self.schedule, self.task)

    def export_library(self, path: str | os.PathLike[str]) -> None:
        """Writes the compiled function as a shared library with the entry ``main``; needs the system's C compiler.

        What is computed once is done by the entry ``pack``, into buffers that ``main`` takes behind the parameters.
        """
        from .spec.tvm_call import export_library

        export_library(self.schedule, self.task, path)
