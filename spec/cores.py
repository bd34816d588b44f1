"""How many cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The CPUs that this process may run on: its affinity where the system has one (Linux), else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
