"""Runs the kernels of one worker: each verified first, then timed, every step with a deadline that fits it."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure, Protocol
from ..spec.convert import unstructure
from ..spec.schedule import Schedule
from ..spec.tolerance import LOOSER, accuracy_of
from .noise import is_scattered
from .pulse import Beats, Patience
from .reference import Reference
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .wire import Message
    from .workers import Handle

AGAIN: Final = 2
"""How often a trial is made again on a disturbed machine."""
NEARLY: Final = 1.05
"""A kernel that would be so many times as slow as the best on a quiet machine may be as fast."""
_KEEP_S: Final = 60.0
_COMPARED_PER_S: Final = 1e7
"""Values that a worker compares in a second, at the very least."""


@attrs.frozen(kw_only=True)
class Limits:
    """What a candidate may use before it is given up.

    The first call gets `first_run_s` while no time is known, later `run_factor` times the best median, at least
    `least_run_s`. `memory_bytes` is beyond the task's own data. After
    `total_s` from the start whatever is still asked for is given up.
    """

    build_s: float = 20.0
    first_run_s: float = 60.0
    least_run_s: float = 1.0
    run_factor: float = 20.0
    memory_bytes: int = 2 * 2**30
    total_s: float = math.inf


@attrs.frozen(kw_only=True)
class Timed:
    """The samples of a kernel, and how many times as long the machine's pulse took beside them as at its best."""

    samples_s: tuple[float, ...]
    level: float = 1.0

    @property
    def quiet_s(self) -> float:
        """What its median would be on a quiet machine, as far as the pulse can tell."""
        return statistics.median(self.samples_s) / self.level


@attrs.define(kw_only=True)
class Runner:
    """The tuner's side of verifying and timing; the caller holds the lock.

    Where the evaluator gives sampled points only, the whole output of the first candidate that passes them is kept, and
    later ones are compared with it too. If one differs, the evaluator settles who is right.
    """

    workers: Workers
    reference: Reference
    protocol: Protocol
    limits: Limits
    cpus: tuple[int, ...]
    best_s: float | None = None
    agreed: int = 0
    """Number of the kept output that candidates are compared with; 0: none yet."""
    agreeing: list[Schedule] = attrs.field(factory=list)
    retracted: list[Schedule] = attrs.field(factory=list)
    beats: Beats = attrs.field(factory=Beats)
    patience: Patience = attrs.field(factory=Patience)

    def verify(self, handle: Handle, kernel: int, schedule: Schedule) -> float | Failure:
        """Runs a kernel once: the seconds it took, if every output is right."""
        answer = self._compared(handle, kernel)
        return answer if isinstance(answer, Failure) else self._settled(handle, schedule, answer)

    def _compared(self, handle: Handle, kernel: int) -> Message | Failure:
        """What the worker says of a kernel's outputs."""
        request = {
            "op": "verify",
            "kernel": kernel,
            "cpus": self.cpus,
            "pinned": self.protocol.pinned,
            "agreed": self.agreed,
        }
        return self.workers.answer(handle, request, self._first_deadline_s(), "run_timeout")

    def _settled(self, handle: Handle, schedule: Schedule, answer: Message) -> float | Failure:
        """The first call's seconds, if outputs that differ from those of an earlier candidate are right after all."""
        disputed = answer["disputed"]
        accuracy = accuracy_of(self.reference.task.workload, schedule.algorithm)
        if disputed is not None:
            wrong = (disputed["output"], disputed["positions"], disputed["found"])
            if not self.reference.settles_for(*wrong, accuracy):
                return Failure(kind="wrong_answer", detail=disputed["detail"])
            self.retracted += self.agreeing
            self.agreeing.clear()
        if LOOSER[accuracy] > 1 and not self.agreeing:
            return float(answer["first_s"])  # too far off for others to be compared with
        if not self.reference.is_whole and not self.agreeing:
            kept = self.workers.answer(handle, {"op": "keep", "agreed": self.agreed + 1}, _KEEP_S, "run_timeout")
            if isinstance(kept, Failure):
                return kept
            self.agreed += 1
            self.workers.share_outputs(self.agreed)
        self.agreeing.append(schedule)
        return float(answer["first_s"])

    def samples(self, handle: Handle, kernel: int, first_s: float) -> Timed | Failure:
        """The samples of a verified kernel whose first call took `first_s`.

        Taken again, while there is patience, where the machine was disturbed meanwhile and the kernel may be the best:
        those of the quietest moment count.
        """
        first = self._timed(handle, kernel, first_s)
        if isinstance(first, Failure):
            return first
        quietest = timed = first
        for _ in range(AGAIN):
            if timed.level == 1 or not self._may_be_best(timed) or self.patience.left_s() <= 0:
                break
            with self.patience.waiting():
                became_quiet = self._rest(handle)
                if became_quiet is not True:
                    return quietest if became_quiet is False else became_quiet
                again = self._timed(handle, kernel, first_s)
            if isinstance(again, Failure):
                return quietest if again.kind == "noise" else again
            timed = again
            if timed.level < quietest.level:
                quietest = timed
        return quietest

    def _timed(self, handle: Handle, kernel: int, first_s: float) -> Timed | Failure:
        """The samples of a kernel, taken twice where they are scattered."""
        request = {
            "op": "time",
            "kernel": kernel,
            "protocol": unstructure(self.protocol),
            "first_s": first_s,
            "best_s": self.best_s,
            "pulse_s": self.beats.quiet_s,
        }
        deadline_s = self._deadline_s(first_s, self.protocol.repeats + self.protocol.warmup + 5)
        scattered: tuple[float, ...] = ()
        for _ in range(2):
            answer = self.workers.answer(handle, request, deadline_s, "run_timeout")
            if isinstance(answer, Failure):
                return answer
            scattered = tuple(map(float, answer["samples_s"]))
            level = self.beats.level(map(float, answer["beats_s"]))
            if not is_scattered(scattered):
                return Timed(samples_s=scattered, level=level)
        low, _, high = statistics.quantiles(scattered, n=4)
        return Failure(
            kind="noise", detail=f"a quarter of its samples is below {low:.3g} s, a quarter above {high:.3g} s"
        )

    def _may_be_best(self, timed: Timed) -> bool:
        return self.best_s is None or timed.quiet_s <= NEARLY * self.best_s

    def _rest(self, handle: Handle) -> bool | Failure:
        """Waits for a quiet machine; False where it does not come while there is patience."""
        patience_s = self.patience.left_s()
        request = {"op": "rest", "pulse_s": self.beats.quiet_s, "patience_s": patience_s}
        answer = self.workers.answer(handle, request, self.limits.least_run_s + 2 * patience_s, "run_timeout")
        if isinstance(answer, Failure):
            return False if answer.kind == "run_timeout" else answer  # it was asked to wait
        return bool(answer["is_quiet"])

    def samples_in_turn(
        self, handle: Handle, kernels: Sequence[int], rounds: int, least: int | None, slowest_s: float
    ) -> list[tuple[float, ...]] | Failure:
        """`rounds` samples of each kernel of a worker, in turn; the slowest's first call took `slowest_s`.

        With `least`, as few as that where it is decided then who is fastest.
        """
        request = {
            "op": "retime",
            "kernels": list(kernels),
            "rounds": rounds,
            "least": least,
            "protocol": unstructure(self.protocol),
            "cpus": self.cpus,
        }
        deadline_s = self._deadline_s(slowest_s, 2 * (rounds + 5) * len(kernels))
        answer = self.workers.answer(handle, request, deadline_s, "run_timeout")
        return answer if isinstance(answer, Failure) else [tuple(map(float, found)) for found in answer["samples_s"]]

    def _first_deadline_s(self) -> float:
        if self.best_s is None:
            return self.limits.first_run_s
        buffers = self.reference.task.workload.buffers
        values = sum(math.prod(buffers[name].shape) for name in self.reference.task.workload.params)
        run_s = max(self.limits.least_run_s, self.limits.run_factor * self.best_s)
        return run_s + values / _COMPARED_PER_S

    def _deadline_s(self, first_s: float, samples: int) -> float:
        """Time for so many samples of a kernel whose first call took `first_s`, five times over."""
        sample_s = max(first_s * self.protocol.number, 2 * self.protocol.min_sample_s)
        return self.limits.least_run_s + 5 * samples * sample_s
