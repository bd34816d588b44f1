"""What was measured of a machine as a whole, once: how fast it multiplies and adds, and moves bytes."""

from __future__ import annotations

import attrs

from ..spec.errors import SpecError


@attrs.frozen(kw_only=True)
class Speeds:
    """The speeds of one machine with so many threads at work, per second; medians of some samples.

    `machine` is its `machine_key`. Bytes are read, whole lines in order: of the second and the last-level cache by one
    thread while all read, of memory by all threads together. `region_s` is the cost of a parallel loop that does
    nothing.
    """

    machine: str
    threads: int
    flops: float
    l2_bytes: float
    l3_bytes: float
    memory_bytes: float
    region_s: float
    date: str

    def __attrs_post_init__(self) -> None:
        for name in ("flops", "l2_bytes", "l3_bytes", "memory_bytes", "region_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SpecError(f"found {getattr(self, name)!r}; allowed: a number above 0", name)


def speeds_key(speeds: Speeds) -> str:
    """Where a machine's speeds stand: its key, then the number of threads."""
    return speeds_place(speeds.machine, speeds.threads)


def speeds_place(machine: str, threads: int) -> str:
    """As `speeds_key`, of what is looked for."""
    return f"{machine}/{threads}"
