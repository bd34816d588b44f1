"""What every suite works with: its options, a store, a folder for its files, the machine's timing lock."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..search.timing_lock import TimingLock
from ..spec.convert import unstructure
from ..spec.cores import available_cores
from ..spec.errors import SpecError
from ..store.machine import this_machine
from ..store.records import utc_now
from .contenders import Contender, available_peers
from .report import Report, line_from_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .report import Row

SUITES: Final = ("spine", "compiler", "measuring", "model", "yolo", "gemm", "store", "flextensor110", "tasks")
"""The modules of `suites`."""
SEARCHING: Final = ("yolo", "gemm")
"""Those in which peers that search take part."""

_DISTRIBUTIONS: Final = ("autosched", "apache-tvm", "apache-tvm-ffi", "numpy", "torch")


@attrs.frozen(kw_only=True)
class Options:
    """What the user asked of a suite.

    `seconds` bounds a search, None for what the suite thinks right. `store` is a folder, None for a new one that is
    thrown away, so that searches are real. `quick` takes small shapes and few rounds, and drops the bars: it says that
    the suite works, nothing else. What peers that tune have found stays in the folder `keep`, and is taken from there
    the next time, as have the times of a suite that lasts an hour; None: it is thrown away. `works` are the names of
    those works of a sweep, or groups of works, that are wanted; none: all.
    """

    against: tuple[str, ...] = ("torch", "numpy")
    trials: int = 64
    seconds: float | None = None
    threads: int = attrs.Factory(available_cores)
    store: str | None = None
    quick: bool = False
    keep: str | None = None
    works: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Ground:
    """Where a suite runs.

    In `sessions` all contenders are started anew, for a library's time depends on where its memory came to lie; each
    has so many `rounds`.
    """

    options: Options
    folder: Path
    store: str
    peers: tuple[Contender, ...]
    lock: TimingLock
    say: Callable[[str], None]
    notes: list[str]
    sessions: int = attrs.field()
    rounds: int = attrs.field()

    @sessions.default
    def _sessions(self) -> int:
        return 1 if self.options.quick else 3

    @rounds.default
    def _rounds(self) -> int:
        return 2 if self.options.quick else 10

    @property
    def sample_s(self) -> float:
        """How long the calls of one sample last together."""
        return 0.005 if self.options.quick else 0.05

    @property
    def burst_s(self) -> float:
        """How long a kernel is watched to see which threads compute; the kernel counts in ticks of 10 ms."""
        return 0.1 if self.options.quick else 0.3

    @property
    def processes(self) -> int:
        """Fresh processes of a command whose time is taken whole."""
        return 2 if self.options.quick else 5

    @property
    def entries(self) -> int:
        """Tasks that are looked up: more than the store remembers by text, but for the quick."""
        return 50 if self.options.quick else 600

    def note(self, line: str) -> None:
        """Adds a line to the report, once."""
        if line not in self.notes:
            self.notes.append(line)


@contextlib.contextmanager
def open_ground(options: Options, say: Callable[[str], None]) -> Iterator[Ground]:
    """A folder that is removed in the end, and the lock."""
    peers, lines = available_peers(options.against)
    lock = TimingLock()
    try:
        with tempfile.TemporaryDirectory(prefix="autosched-bench-") as folder:
            yield Ground(
                options=options,
                folder=Path(folder),
                store=options.store or str(Path(folder, "store")),
                peers=peers,
                lock=lock,
                say=say,
                notes=list(lines),
            )
    finally:
        lock.close()


def run_suite(name: str, options: Options, say: Callable[[str], None]) -> Report:
    """Runs a suite; SpecError where there is none of that name, MeasureError where it cannot be measured.

    `say` gets a line for people whenever something begins, and each row as soon as it is known.
    """
    if name not in SUITES:
        raise SpecError(f"unknown suite {name!r}; allowed: {', '.join(SUITES)}")
    date = utc_now()
    module: Any = importlib.import_module(f".suites.{name}", __package__)
    with open_ground(options, say) as ground:
        for peer in ground.peers:
            if peer.searches and name not in SEARCHING:
                ground.note(f"{peer.name} searches for minutes; it takes part in {' and '.join(SEARCHING)} alone")
        rows: tuple[Row, ...] = tuple(_told(module.run(ground), options, say))
        notes = tuple(ground.notes)
    machine: Any = unstructure(this_machine())
    return Report(
        suite=name,
        date=date,
        machine=machine,
        versions=versions(),
        threads=options.threads,
        quick=options.quick,
        rows=rows,
        notes=notes,
    )


def _told(rows: Iterable[Row], options: Options, say: Callable[[str], None]) -> Iterator[Row]:
    for each in rows:
        row = attrs.evolve(each, bar=None) if options.quick else each
        say(f"= {line_from_row(row)}")
        yield row


def versions() -> dict[str, str]:
    """Python's version and those of the distributions that take part, where they are installed."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
