"""The answer to a request: the best schedule known for a task on this machine, and what is known of it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import attrs

from .search.speedup import speedup_interval, speedup_of
from .store.layers import USER
from .store.match import EXACT
from .store.recent import drifted
from .store.records import CLAIMED, Record
from .store.tools import RECHECK, TRUST

if TYPE_CHECKING:
    import os

    from .search.confidence import Interval
    from .spec.claim import Machine, Protocol
    from .spec.schedule import Schedule
    from .spec.spec_file import SpecFile
    from .spec.task import Task
    from .spec.tvm_call import BuiltFunction
    from .store.records import Measurement
    from .store.tools import Drift


UNMEASURED: Final = "not measured"
"""The origin of a schedule that nobody has timed."""


@attrs.frozen(kw_only=True)
class Answer:
    """A schedule for a task, and where it came from: "store", "search", or "default".

    "default" is the schedule of the model alone: a search found no better one, or none was looked for and it has no
    times at all. Times are those of the last session in which the schedule was timed in turn with the default one, so
    that their ratio holds.

    `layer` is where a stored one stood (`autosched.store.layers.LAYERS`), `match` how near the machine is that it was
    measured on (`autosched.store.match.MATCHES`), `drift` what was asked for where its tools are others today.
    """

    record: Record
    source: str
    layer: str = USER
    match: str = EXACT
    drift: str = TRUST

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
        """What the times are worth: "measured here", "verified" (claimed, its numbers right here) or "claimed".

        Times of another machine are a claim here, and so are, under the policy "recheck", those that have drifted.
        "not measured" where there are none.
        """
        if self._session is None:
            return UNMEASURED
        is_claim = self.match != EXACT or (self.drift == RECHECK and self.drifted)
        return CLAIMED if is_claim else self.record.origin

    @property
    def drifted(self) -> tuple[Drift, ...]:
        """What is another one today than when the schedule was last timed: TVM, LLVM, the kernel, ..."""
        return drifted(self.record)

    @property
    def samples(self) -> tuple[float, ...]:
        """Seconds per call, of one session."""
        return self._session.samples_s if self._session is not None else ()

    @property
    def latency_s(self) -> float | None:
        """The median sample; None where nobody has timed the schedule."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def default_latency_s(self) -> float | None:
        """The median of the default schedule in the same session; None where it could not be timed."""
        baseline_s = self._session.baseline_s if self._session is not None else ()
        return statistics.median(baseline_s) if baseline_s else None

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the default schedule; None where that could not be timed."""
        return None if self._session is None else speedup_of(self.samples, self._session.baseline_s)

    @property
    def speedup_interval(self) -> Interval | None:
        """What the speedup is with how much confidence, from samples taken in turn; None where there are none."""
        return None if self._session is None else speedup_interval(self.samples, self._session.baseline_s)

    @property
    def gflops(self) -> float | None:
        """Giga operations per second, two for a multiply-add; None where nothing is multiplied or timed."""
        from .spec.flops import flop_count

        count, latency_s = flop_count(self.task.workload), self.latency_s
        return None if count is None or latency_s is None else count / latency_s / 1e9

    @property
    def spec(self) -> SpecFile:
        """The spec file's content: task, schedule, and a claim for each session."""
        from .store.claims import spec_from_record

        return spec_from_record(self.record)

    @property
    def _session(self) -> Measurement | None:
        """The last session with a baseline, or else the last; None where there was none."""
        counted = self.record.counted
        return next((m for m in reversed(counted) if m.baseline_s), counted[-1] if counted else None)

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


@attrs.frozen(kw_only=True)
class Result(Answer):
    """An answer that was timed."""

    @property
    def latency_s(self) -> float:
        """The median sample."""
        return statistics.median(self.samples)
