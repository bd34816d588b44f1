"""Which thread runs on which CPU: two threads on one CPU halve every figure, and nothing else shows it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Sequence


def cpus_for(threads: int) -> tuple[int, ...]:
    """One CPU for each thread from those that this process may use, different cores before two halves of one."""
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(allowed):
        raise MeasureError(
            f"{threads} threads cannot be timed: this process may use {len(allowed)} CPUs; "
            f"choose threads from 1 to {len(allowed)}"
        )
    rank = {cpu: _siblings(cpu).index(cpu) for cpu in allowed}
    return tuple(sorted(allowed, key=lambda cpu: (rank[cpu], cpu))[:threads])


def _siblings(cpu: int) -> tuple[int, ...]:
    """The CPUs that share a core with `cpu`, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    found = {cpu}
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text(encoding="ascii").strip().split(","):
            low, _, high = part.partition("-")
            found.update(range(int(low), int(high or low) + 1))
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


def check_pinned(cpus: Sequence[int]) -> None:
    """MeasureError unless every CPU of `cpus` has exactly one thread of this process, and no other CPU has one.

    Asked after a candidate ran: it may have moved or started threads.
    """
    threads = [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    places = sorted(sorted(os.sched_getaffinity(thread)) for thread in threads)
    if places != sorted([cpu] for cpu in cpus):
        raise MeasureError(f"threads may run on CPUs {places}, expected one on each of {sorted(cpus)}")
