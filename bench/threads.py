"""Which threads of this process do the work, and on which CPUs. Standard library only, as `child`.

A library starts threads when it likes; what counts is who uses the CPU while a kernel runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKING_SHARE: Final = 0.25
"""A thread that uses less of a CPU than this is not one that computes."""


def burst(call: Callable[[], object], seconds: float) -> None:
    """Calls at least once, until `seconds` have passed."""
    end = time.perf_counter() + seconds
    call()
    while time.perf_counter() < end:
        call()


def working_threads(call: Callable[[], object], seconds: float) -> tuple[int, ...]:
    """The threads that computed while `call` was called over and over; the main thread first."""
    call()  # who starts threads does so now
    before = _cpu_seconds()
    begin = time.perf_counter()
    burst(call, seconds)
    least_s = WORKING_SHARE * (time.perf_counter() - begin)
    after = _cpu_seconds()
    found = [thread for thread, used in after.items() if used - before.get(thread, 0.0) >= least_s]
    return tuple(sorted(found, key=lambda thread: (thread != os.getpid(), thread)))


def pin_working(call: Callable[[], object], cpus: Sequence[int], seconds: float) -> int:
    """Pins the threads that compute, each to a CPU of its own, and says how many they are.

    RuntimeError where they are more than CPUs, or where others compute once they are pinned.
    """
    threads = working_threads(call, seconds)
    if len(threads) > len(cpus):
        raise RuntimeError(f"{len(threads)} threads compute, {len(cpus)} were asked for")
    for thread, cpu in zip(threads, cpus, strict=False):
        os.sched_setaffinity(thread, {cpu})
    again = working_threads(call, seconds)
    places = [sorted(os.sched_getaffinity(thread)) for thread in again]
    if sorted(places) != sorted([cpu] for cpu in cpus[: len(again)]):
        raise RuntimeError(f"the threads that compute may run on CPUs {places}, expected one on each of {list(cpus)}")
    return len(again)


def _cpu_seconds() -> dict[int, float]:
    """Seconds of CPU that each thread of this process has used, to a clock tick."""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    used = {}
    for entry in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            used[int(entry.name)] = (int(fields[11]) + int(fields[12])) * tick_s
    return used
