"""Many processes that write to one store and read from it while some of them are killed: nothing acknowledged is lost.

Run as a program it is one of these processes: ``write FOLDER NAME FIRST COUNT`` or ``read FOLDER``.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from autosched.spec.errors import StoreError
from autosched.spec.schedule import Nest, Schedule
from autosched.store.store import Store
from store_cases import MACHINE, gemm, record, timed

if TYPE_CHECKING:
    from autosched.spec.task import Task
    from autosched.store.records import Record

_PAUSE_S: Final = 0.002
TASKS: Final = 8
"""Writers meet on these: every put reads and may replace the leader of one."""


@functools.cache
def task_of(number: int) -> Task:
    return gemm(extent=16 + 8 * (number % TASKS))


def written(number: int) -> Record:
    """The record of a number: a schedule of its own, the faster the greater the number."""
    schedule = Schedule(nests=(Nest(stage="C", unroll_limit=number),))
    return record(timed(1.0 / (number + 1)), task=task_of(number), schedule=schedule)


def write(folder: str, acknowledged: str, first: str, count: str) -> None:
    """Puts records, and notes each number once its put has returned; what a killed one has noted is in the file."""
    store = Store(folder)
    note = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(int(first), int(first) + int(count)):
        store.put(written(number))
        os.write(note, b"%d\n" % number)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def read(folder: str) -> None:
    """Looks up until its standard input ends; says how often, and each thing that was not as it must be."""
    heard, wrong, reads = _Heard(), [], 0
    logging.getLogger("autosched.store").addHandler(heard)
    slowest_s = 0.0
    last: dict[int, float] = {}
    store = Store(folder)
    # A pause, or the readers would take the cores from the writers.
    while not select.select([0], [], [], _PAUSE_S)[0]:
        number = reads % TASKS
        begin = time.perf_counter()
        try:
            found = store.best(task_of(number), MACHINE)
        except StoreError as error:
            wrong.append(str(error))
            break
        slowest_s = max(slowest_s, time.perf_counter() - begin)
        reads += 1
        latency_s = found.latency_s if found is not None else None
        # Records only come, and each is faster than all with lower numbers: what leads never gets slower or is gone.
        if latency_s is None or latency_s > last.get(number, 10.0):
            wrong += [f"task {number}: {latency_s} s after {last[number]} s"] if number in last else []
        else:
            last[number] = latency_s
    print(reads, slowest_s, *(line.replace(" ", "_") for line in wrong + heard.lines))


@attrs.frozen(kw_only=True)
class Load:
    """How much is done at once; `writes` are of each writer."""

    writers: int
    writes: int
    readers: int
    kills: int


@attrs.frozen(kw_only=True)
class Loaded:
    """What a run of many processes came to."""

    acknowledged: int
    kills: int
    reads: int
    seconds: float
    slowest_read_s: float
    lost: tuple[int, ...]
    wrong: tuple[str, ...]


def start(*words: str, pipe: int | None = None) -> subprocess.Popen[bytes]:
    """One of the processes; with `pipe` it can be told to end, and what it says is kept."""
    command = [sys.executable, __file__, *words]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent)


class Writers:
    """The writing processes, each with its numbers and the file of those that it has put."""

    def __init__(self, folder: Path, load: Load) -> None:
        self._store, self._writes = str(folder / "store"), load.writes
        self._notes = [folder / f"acknowledged-{number}" for number in range(load.writers)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.wrong: list[str] = []
        for number in range(load.writers):
            self._go_on(number)

    @property
    def running(self) -> list[int]:
        return sorted(self._running)

    def put(self) -> list[int]:
        """All numbers that were acknowledged."""
        return [int(line) for note in self._notes if note.exists() for line in note.read_text().splitlines()]

    def kill(self, number: int) -> None:
        self._running[number].kill()
        self._running[number].wait()

    def look_after(self) -> None:
        """Lets those that were killed go on where they stopped."""
        for number, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[number]
            if process.returncode not in (0, -signal.SIGKILL):
                self.wrong.append(f"a writer exited with {process.returncode}")
            elif self._done(number) < self._writes:
                self._go_on(number)

    def _done(self, number: int) -> int:
        return self._notes[number].read_bytes().count(b"\n") if self._notes[number].exists() else 0

    def _go_on(self, number: int) -> None:
        done = self._done(number)
        first = str(number * self._writes + done)
        self._running[number] = start("write", self._store, str(self._notes[number]), first, str(self._writes - done))


def run(folder: Path, load: Load, seed: int) -> Loaded:
    """Has processes write and read; a writer that is killed at a random instant goes on where it stopped."""
    rng = random.Random(seed)
    begin = time.monotonic()
    readers = [start("read", str(folder / "store"), pipe=subprocess.PIPE) for _ in range(load.readers)]
    writers = Writers(folder, load)
    # Kills are spread over the work, not over time: on a slow machine they come as late as they must.
    goals = sorted(rng.uniform(0, 0.98) * load.writers * load.writes for _ in range(load.kills))
    killed = 0
    while writers.running:
        if killed < load.kills and len(writers.put()) >= goals[killed]:
            time.sleep(rng.uniform(0, 0.01))
            writers.kill(rng.choice(writers.running))
            killed += 1
        writers.look_after()
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    said = [(process.communicate(timeout=60)[0].decode().split() or ["0", "0", "a reader died"]) for process in readers]
    put = set(writers.put())
    with Store(folder / "store") as after:
        held = {number_of(found) for found in after.records()}
        wrong = [*writers.wrong, *(line for _, _, *lines in said for line in lines), *after.check()]
    return Loaded(
        acknowledged=len(put),
        kills=killed,
        reads=sum(int(count) for count, *_ in said),
        seconds=seconds,
        slowest_read_s=max((float(slowest) for _, slowest, *_ in said), default=0.0),
        lost=tuple(sorted(put - held)),
        wrong=tuple(wrong),
    )


def number_of(found: Record) -> int:
    limit = found.schedule.nests[0].unroll_limit
    assert limit is not None
    return limit


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
