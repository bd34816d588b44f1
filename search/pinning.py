"""Which thread runs on which CPU: two threads on one CPU halve every figure, and nothing else shows it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec.errors import MeasureError
from ..store.machine import cpus_from_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def cpus_for(threads: int) -> tuple[int, ...]:
    """One CPU for each thread from those that this process may use, different cores before two halves of one."""
    allowed = os.sched_getaffinity(0)
    if not 1 <= threads <= len(allowed):
        raise MeasureError(
            f"{threads} threads cannot be timed: this process may use {len(allowed)} CPUs; "
            f"choose threads from 1 to {len(allowed)}"
        )
    return cpus_in_order(allowed, Path("/"))[:threads]


def cpus_in_order(allowed: Iterable[int], root: Path) -> tuple[int, ...]:
    """CPUs in the order in which threads take them: first one of each core, by Linux's files below `root`."""
    rank = {cpu: _siblings(cpu, root).index(cpu) for cpu in allowed}
    return tuple(sorted(rank, key=lambda cpu: (rank[cpu], cpu)))


def siblings_file(cpu: int) -> str:
    """The file below the root of Linux that lists the CPUs which share a core with `cpu`."""
    return f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"


def _siblings(cpu: int, root: Path) -> tuple[int, ...]:
    """The CPUs that share a core with `cpu`, itself included."""
    found = {cpu}
    with contextlib.suppress(OSError, ValueError):
        found.update(cpus_from_text((root / siblings_file(cpu)).read_text(encoding="ascii")))
    return tuple(sorted(found))


def pin_threads(cpus: Sequence[int]) -> None:
    """Pins the threads of this process to `cpus`: the main thread to the first, each other to one of its own.

    MeasureError unless there are as many threads as CPUs: a pool of another size would be timed as if it were this one.
    """
    main = os.getpid()
    others = sorted(int(entry.name) for entry in Path("/proc/self/task").iterdir() if int(entry.name) != main)
    if len(others) + 1 != len(cpus):
        raise MeasureError(f"this worker has {len(others) + 1} threads, {len(cpus)} were asked for")
    for thread, cpu in zip((main, *others), cpus, strict=True):
        os.sched_setaffinity(thread, {cpu})


def wait_until_alone(patience_s: float = 1.0) -> None:
    """Waits until this thread is the only one of its process: those that were joined take a moment to be gone."""
    end = time.monotonic() + patience_s
    while sum(1 for _ in Path("/proc/self/task").iterdir()) > 1 and time.monotonic() < end:
        time.sleep(0.001)


def check_pinned(cpus: Sequence[int]) -> None:
    """MeasureError unless every CPU of `cpus` has exactly one thread of this process, and no other CPU has one.

    Asked after a candidate ran: it may have moved or started threads.
    """
    threads = [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    places = sorted(sorted(os.sched_getaffinity(thread)) for thread in threads)
    if places != sorted([cpu] for cpu in cpus):
        raise MeasureError(f"threads may run on CPUs {places}, expected one on each of {sorted(cpus)}")
