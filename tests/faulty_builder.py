"""A builder of candidates that go wrong, each in its own way: the schedule's first nest is named for the fault.

The task computes ``Y[i] = X[i] + 1``; the schedule without nests does it right, in NumPy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autosched.search.buffers import GUARD_BYTES, GuardedBuffer
from autosched.spec.builder import build as build_workload
from autosched.spec.builder import compute, placeholder
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.schedule import Nest, Schedule
from autosched.spec.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUILDER = "faulty_builder:build"
SIZE = 1000


def task() -> Task:
    X = placeholder((SIZE,), name="X")
    return Task(workload=build_workload([X, compute((SIZE,), lambda i: X[i] + 1.0, name="Y")]), threads=1)


def candidate(fault: str = "", *more: str) -> Schedule:
    return Schedule(nests=tuple(Nest(stage=name) for name in (fault, *more) if name))


class Kernel:
    """Does a task's work, then (or instead) what its fault says."""

    def __init__(self, x: GuardedBuffer, y: GuardedBuffer, fault: Callable[[np.ndarray, np.ndarray], None]) -> None:
        self._x, self._y, self._fault = x, y, fault

    def prepare(self) -> None:
        pass

    def call(self) -> None:
        np.add(self._x.array(), np.float32(1), out=self._y.array())
        self._fault(self._x.array(), self._y.array())

    def timed_call(self) -> float:
        begin = time.perf_counter()
        self.call()
        return time.perf_counter() - begin

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        samples = []
        for _ in range(repeats):
            begin = time.perf_counter()
            for _ in range(number):
                self.call()
            samples.append((time.perf_counter() - begin) / number)
        return tuple(samples)


def hang(x: np.ndarray, y: np.ndarray) -> None:
    while True:
        time.sleep(1)


def hang_later(x: np.ndarray, y: np.ndarray) -> None:
    hang_later.calls += 1
    if hang_later.calls > 1:
        hang(x, y)


hang_later.calls = 0


def segfault(x: np.ndarray, y: np.ndarray) -> None:
    ctypes.string_at(0)


def abort(x: np.ndarray, y: np.ndarray) -> None:
    os.write(2, b"terminate called: it had enough\n")
    os.abort()


def exit_quietly(x: np.ndarray, y: np.ndarray) -> None:
    os._exit(3)


def allocate(x: np.ndarray, y: np.ndarray) -> None:
    np.ones(20 * 2**30, dtype=np.uint8)


def allocate_shared(x: np.ndarray, y: np.ndarray) -> None:
    """Memory that RLIMIT_DATA does not count, little by little."""
    memory = mmap.mmap(-1, 2**30)
    for page in range(0, 2**30, 4096):
        memory[page] = 1
    hang(x, y)


def fork(x: np.ndarray, y: np.ndarray) -> None:
    if os.fork() == 0:
        hang(x, y)


def fork_away(x: np.ndarray, y: np.ndarray) -> None:
    """A daemon: a session of its own, its parent gone, deaf to polite signals, nothing left open."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            hang(x, y)
        os._exit(0)
    os.waitpid(child, 0)


def fork_and_crash(x: np.ndarray, y: np.ndarray) -> None:
    """The child keeps every open file of the worker, so nobody reads an end of file."""
    fork(x, y)
    segfault(x, y)


def overrun(x: np.ndarray, y: np.ndarray) -> None:
    ctypes.memset(y.ctypes.data + y.nbytes, 0, 4)


def underrun(x: np.ndarray, y: np.ndarray) -> None:
    ctypes.memset(y.ctypes.data - GUARD_BYTES, 0, 4)


def change_input(x: np.ndarray, y: np.ndarray) -> None:
    x[7] = 0


def one_wrong(x: np.ndarray, y: np.ndarray) -> None:
    y[-1] += 0.001


def last_unwritten(x: np.ndarray, y: np.ndarray) -> None:
    y[-1] = np.nan


def wrong_unless_sampled(x: np.ndarray, y: np.ndarray) -> None:
    y[UNSAMPLED] += 0.5


def raise_error(x: np.ndarray, y: np.ndarray) -> None:
    raise RuntimeError("Assert fail: a shape does not fit")


def slow(x: np.ndarray, y: np.ndarray) -> None:
    time.sleep(0.02)


def very_slow(x: np.ndarray, y: np.ndarray) -> None:
    time.sleep(0.2)


def steady(x: np.ndarray, y: np.ndarray) -> None:
    time.sleep(0.005)


def scattered(x: np.ndarray, y: np.ndarray) -> None:
    """Every other call takes ten times as long."""
    scattered.calls += 1
    time.sleep(0.01 if scattered.calls % 2 else 0.001)


scattered.calls = 0


def fast_once(x: np.ndarray, y: np.ndarray) -> None:
    """Fast in the first process that runs it, and never again."""
    marker = Path(os.environ["AUTOSCHED_TEST_MARKER"])
    if not (marker.exists() and marker.read_text() != str(os.getpid())):
        marker.write_text(str(os.getpid()))
    else:
        time.sleep(0.005)


def right(x: np.ndarray, y: np.ndarray) -> None:
    pass


UNSAMPLED = 0
"""Set by the test in the environment of the workers: a position that no sampled point covers."""


def crash_zygote_once(x: np.ndarray, y: np.ndarray) -> None:
    pass


def fail_to_build(fault: str, killed: Path) -> None:
    """Does what a fault does while its kernel is built; `killed` is a file that remembers that it did."""
    match fault:
        case "refuse":
            raise LoweringError("the compiler refused the module: it is ugly")
        case "break_rule":
            raise SpecError("factors (3, 3) give 9, extent is 8", "nests[0]")
        case "hang_while_building":
            time.sleep(1000)
        case "crash_while_building":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash_zygote":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        case "crash_zygote_once" if not killed.exists():
            killed.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)


def build(schedule: Schedule, task: Task, buffers: Sequence[GuardedBuffer]) -> Kernel:
    global UNSAMPLED  # noqa: PLW0603 # this process builds one candidate
    UNSAMPLED = int(os.environ.get("AUTOSCHED_TEST_UNSAMPLED", "0"))
    fault = schedule.nests[0].stage if schedule.nests else "right"
    fail_to_build(fault, Path(os.environ.get("AUTOSCHED_TEST_MARKER", "")))
    return Kernel(buffers[0], buffers[1], globals()[fault])
