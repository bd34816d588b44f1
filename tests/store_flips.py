"""Single bytes of a store's files changed: what readers then see, and what a repair saves."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from autosched.spec.claim import Protocol
from autosched.spec.errors import StoreError
from autosched.spec.rename import schedule_digest
from autosched.store.keys import slot, task_key
from autosched.store.records import SearchState
from autosched.store.store import Store
from store_cases import MACHINE, gemm, record, tiled, timed

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from autosched.spec.task import Task
    from autosched.store.records import Record

EXTENTS: Final = tuple(range(16, 64, 8))
FACTORS: Final = (2, 4, 8)
STATE: Final = SearchState(strategy="random", trials=3, finished=3, seconds=1.0, date="2026-11-23")
EXTRA: Final = record(timed(0.5), task=gemm(extent=8), schedule=tiled(factor=2, extent=8))
"""What is put after a repair."""
HEAD: Final = 256
"""Where on each page the structure stands that SQLite follows."""
PAGE: Final = 4096


@functools.cache
def contents() -> tuple[Record, ...]:
    """Some records of several tasks, of each the first the fastest."""
    return tuple(
        record(timed(0.001 * factor), task=gemm(extent=extent), schedule=tiled(factor=factor, extent=extent))
        for extent in EXTENTS
        for factor in FACTORS
    )


_FILL: Final = """
import os, sys
sys.path[:0] = [sys.argv[1]]
import store_flips
store = store_flips.fill(sys.argv[2])
os._exit(0)  # as kill -9: nobody closes the database, so its log stays
"""


def fill(folder: str) -> Store:
    store = Store(folder)
    for found in contents():
        store.put(found)
    for extent in EXTENTS:
        store.finish_search(gemm(extent=extent), STATE, MACHINE)
    return store


def make(folder: Path, *, logged: bool) -> None:
    """A store with `contents`, all in the database; or `logged`, as a killed process leaves it, some in the log."""
    if logged:
        command = [sys.executable, "-c", _FILL, str(Path(__file__).parent), str(folder)]
        subprocess.run(command, check=True, timeout=120)
    else:
        fill(str(folder)).close()


@attrs.frozen(kw_only=True)
class Flip:
    """A byte of a file, by how much it was changed."""

    file: str
    place: int
    change: int


def random_flips(folder: Path, count: int, rng: random.Random) -> Iterator[Flip]:
    """Every other one anywhere in the store's files, the rest where pages say how they are built."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    sizes = [path.stat().st_size for path in files]
    for number in range(count):
        (which,) = rng.choices(range(len(files)), sizes)
        place = rng.randrange(sizes[which])
        if number % 2:
            place = min(place // PAGE * PAGE + rng.randrange(HEAD), sizes[which] - 1)
        yield Flip(file=files[which].name, place=place, change=rng.randrange(1, 256))


def apply(flip: Flip, folder: Path) -> None:
    with (folder / flip.file).open("r+b") as file:
        file.seek(flip.place)
        (byte,) = file.read(1)
        file.seek(flip.place)
        file.write(bytes([byte ^ flip.change]))


@attrs.define
class Seen:
    """What was read of a damaged store. `quiet` are those that were missing without a word."""

    right: int = 0
    missing: int = 0
    wrong: list[str] = attrs.Factory(list)
    quiet: list[str] = attrs.Factory(list)
    error: str = ""


class Heard(logging.Handler):
    """Counts warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def read_all(folder: Path) -> Seen:
    """Every lookup, record and search state, each compared with what was put."""
    seen, heard = Seen(), Heard()
    logger = logging.getLogger("autosched.store")
    logger.addHandler(heard)
    propagate, logger.propagate = logger.propagate, False
    try:
        with Store(folder) as store:
            for what, found, expected in _answers(store):
                if found == expected:
                    seen.right += 1
                elif found is None:
                    seen.missing += 1
                    if not heard.lines:
                        seen.quiet.append(what)
                else:
                    seen.wrong.append(what)
    except StoreError as error:
        seen.error = str(error)
    finally:
        logger.removeHandler(heard)
        logger.propagate = propagate
    return seen


def _answers(store: Store) -> Iterator[tuple[str, object, object]]:
    """What is asked, the answer, and the right one."""
    for extent in EXTENTS:
        task = gemm(extent=extent)
        yield f"best of {extent}", store.best(task, MACHINE), _best(task, extent)
        yield f"search of {extent}", store.search_state(task, MACHINE), STATE
    for expected in contents():
        found = store.get(expected.task, expected.schedule, MACHINE)
        yield f"record of {expected.task.workload.inputs[0].shape}", found, expected
    known = _known()
    for key, listed in {key_of(r): r for r in store.records() if r.task != EXTRA.task}.items():
        yield f"listed {key}", listed, known.get(key)


@functools.cache
def _known() -> dict[str, Record]:
    return {key_of(r): r for r in contents()}


def _best(task: Task, extent: int) -> Record:
    return record(timed(0.001 * FACTORS[0]), task=task, schedule=tiled(factor=FACTORS[0], extent=extent))


def key_of(found: Record) -> str:
    """The key of a record's entry."""
    place = slot(found.task, found.machine, found.protocol)
    return f"record/{place}/{schedule_digest(found.schedule, found.task.names)}"


@functools.cache
def keys() -> frozenset[str]:
    """The keys of all entries of `contents`."""
    found = {"format"}
    for each in contents():
        task, machine, protocol = slot(each.task, each.machine, Protocol(threads=each.task.threads)).split("/")
        place = f"{task}/{machine}/{protocol}"
        found |= {key_of(each), f"task/{task_key(each.task)}", f"machine/{machine}", f"protocol/{protocol}"}
        found |= {f"best/{place}", f"search/{place}"}
    return frozenset(found)


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a store with one changed byte: what its readers saw, and what is wrong with that or the repair."""

    seen: str
    lost: int
    wrong: list[str]


def outcome(folder: Path) -> Outcome:
    """Reads a damaged store, repairs it, reads it again, and writes to it."""
    before = read_all(folder)
    wrong = [f"wrong: {what}" for what in before.wrong] + [f"missing without a word: {what}" for what in before.quiet]
    with Store(folder) as store:
        lines = store.check(repair=True)
        lost = keys() - set(store._entries.keys(""))
        reported = {line.partition(": ")[0] for line in lines}
        wrong += [f"repaired, and wrong: {line}" for line in store.check()]
        wrong += [f"lost without a word: {key}" for key in lost - reported]
        store.put(EXTRA)
    after = read_all(folder)
    wrong += [f"repaired, and unreadable: {after.error}"] if after.error else []
    wrong += [f"repaired, and wrong: {what}" for what in after.wrong if not lost]
    if before.error or before.missing:
        wrong += [] if lines else ["unseen by the doctor"]
    seen = "error" if before.error else "missing" if before.missing else "right"
    return Outcome(seen=seen, lost=len(lost), wrong=wrong)
