"""The kernels of the fault-injection suite: a matrix product in NumPy, a pretended time, and the fault it was given.

What a worker does is decided by files in a folder, the site, that AUTOSCHED_FAULTS names; every build and every timing
adds a line to the site's events. Only the kernels are pretended: processes, limits, lock and store are the real ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

import faulty_builder
from autosched.search import sampling
from autosched.spec.convert import unstructure
from autosched.spec.json_text import compact_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.search.buffers import GuardedBuffer
    from autosched.search.sampling import Kernel
    from autosched.spec.claim import Protocol
    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task

BUILDER: Final = "fault_kernels:build"
SITE: Final = "AUTOSCHED_FAULTS"
"""Environment variable: the site's folder. Whatever runs for a site inherits it, so it also finds what was left."""
NAME: Final = "AUTOSCHED_FAULTS_TUNER"
"""Environment variable: which tuner of a site this is, where there are several."""

STORED, ASKED, BUILDING, BUILT, TIMED = "stored", "asked", "building", "built", "timed"
"""Kinds of events: a record is in the store; the store was asked and knew of none; the process `detail` builds, has
built; a sample was taken."""
BY_DIGEST: Final = {"0": "refuse", "1": "one_wrong", "2": "segfault"}
"""Where faults are spread: the fault of the schedules whose digest begins with a digit."""

HARMLESS: Final = ("right", "crash_zygote_once")
"""Names of faults after which the kernel itself is right."""


@attrs.frozen(kw_only=True)
class Plan:
    """What the kernels of a site do: the faults of some schedules, by digest, and how long a sample lasts.

    With `spread`, one schedule in five has a fault, but for those in `sound`.
    """

    faults: dict[str, str] = attrs.field(factory=dict)
    spread: bool = False
    sound: tuple[str, ...] = ()
    sample_s: float = 0.0

    def fault(self, digest: str) -> str:
        if digest in self.faults:
            return self.faults[digest]
        return BY_DIGEST.get(digest[0], "right") if self.spread and digest not in self.sound else "right"

    def write(self, folder: Path) -> None:
        (folder / "plan.json").write_text(json.dumps(attrs.asdict(self)), encoding="utf-8")


def read_plan(folder: Path) -> Plan:
    return Plan(**json.loads((folder / "plan.json").read_text(encoding="utf-8")))


@attrs.frozen
class Event:
    """A line of a site's events; times by the monotonic clock, which is one for the whole machine."""

    what: str
    digest: str
    tuner: str
    begin_s: float
    end_s: float
    detail: str = ""


def note(what: str, digest: str, begin_s: float, detail: str = "", sync: bool = False) -> None:
    """Adds an event that ends now; with `sync` it is on the disk when this returns."""
    event = Event(what, digest, os.environ.get(NAME, ""), begin_s, time.monotonic(), detail)
    line = json.dumps(attrs.astuple(event)).encode() + b"\n"
    file = os.open(Path(os.environ[SITE]) / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line)
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def read_events(folder: Path) -> list[Event]:
    path = folder / "events"
    return [Event(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def digest_of(schedule: Schedule) -> str:
    return hashlib.sha256(compact_json(unstructure(schedule)).encode()).hexdigest()


def pretended_s(digest: str, fault: str = "right") -> float:
    """Between 0.1 and 0.2 s, the same whenever it is asked for; whatever has a fault claims to be faster than all."""
    return (0.1 if fault in HARMLESS else 0.001) * (1 + int(digest[:8], 16) / 2**32)


class FaultyKernel:
    """Does the task's work, then what its fault says; a sample is a pretended one."""

    def __init__(self, digest: str, plan: Plan, buffers: Sequence[GuardedBuffer]) -> None:
        self._digest = digest
        self._plan = plan
        self._a, self._b, self._c = buffers
        self._fault = plan.fault(digest)

    def prepare(self) -> None:
        pass

    def call(self) -> None:
        np.matmul(self._a.array(), self._b.array(), out=self._c.array())
        getattr(faulty_builder, self._fault)(self._a.array().reshape(-1), self._c.array().reshape(-1))

    def timed_call(self) -> float:
        begin = time.perf_counter()
        self.call()
        return time.perf_counter() - begin

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        begin = time.monotonic()
        self.call()
        time.sleep(self._plan.sample_s)
        note(TIMED, self._digest, begin)
        return (pretended_s(self._digest, self._fault),) * repeats


def _pretended_samples(kernel: Kernel, protocol: Protocol, number: int, repeats: int) -> tuple[float, ...]:
    return kernel.time_s(number, repeats)


def build(schedule: Schedule, task: Task, buffers: Sequence[GuardedBuffer]) -> FaultyKernel:
    """The builder, in a worker: single calls are pretended to last as long as those of the kernel's own loop."""
    setattr(sampling, "timed", _pretended_samples)  # noqa: B010 # mypy would have its type be final
    site = Path(os.environ[SITE])
    digest, plan, begin = digest_of(schedule), read_plan(site), time.monotonic()
    note(BUILDING, digest, begin, detail=str(os.getpid()))
    faulty_builder.fail_to_build(plan.fault(digest), site / "killed")
    note(BUILT, digest, begin)
    return FaultyKernel(digest, plan, buffers)
