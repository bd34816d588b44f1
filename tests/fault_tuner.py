"""Starts tuners to be harmed: ``autosched tune`` on the kernels of `fault_kernels`, in a process group of its own.

The process is forked from this one, which has imported everything, so that hundreds of tuners can be killed in minutes;
what it starts is started as ever.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from autosched.cli import main as command_line
from autosched.nn.registry import get_task
from autosched.search import journal, tuner
from autosched.search.default import default_candidate
from autosched.search.measure import Limits, Measurer
from autosched.search.processes import adopt_orphans, children, descendants, kill_all, marked_processes
from autosched.search.space import Space
from autosched.spec.claim import Protocol, Tool
from autosched.store.machine import this_machine
from autosched.store.store import Store
from fault_kernels import ASKED, BUILDER, NAME, SITE, STORED, Event, Plan, digest_of, note, read_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autosched.spec.schedule import Schedule
    from autosched.store.records import Record

OPERATOR: Final = ("gemm", "N=16", "K=16", "M=16", "--threads", "1")
TASK: Final = get_task("gemm", N=16, K=16, M=16, threads=1)
PROTOCOL: Final = Protocol(threads=1)
PATIENCE_S: Final = 60.0
"""What a tuner is waited for at most."""
CALM: Final = Limits(build_s=60.0, first_run_s=60.0, least_run_s=20.0)
"""Limits that nothing reaches but what hangs, however busy the machine is."""


@functools.cache
def space() -> Space:
    """The space of the task here; tuners that are forked later have it too."""
    return Space(TASK, this_machine())


@functools.cache
def default_digest() -> str:
    return digest_of(default_candidate(space()).schedule)


@attrs.frozen(kw_only=True)
class Orders:
    """How a tuner is to be run."""

    trials: int
    seed: int = 0
    method: str = "auto"
    limits: Limits = CALM
    lock: str = "lock"
    name: str = ""
    words: tuple[str, ...] = ()
    tools: tuple[Tool, ...] | None = None
    """The tools it believes to work with; None: those that are there."""
    prepare: Callable[[], None] | None = None
    """Called in the tuner before it begins."""
    on_put: Callable[[int, Store], None] | None = None
    """Called in the tuner after each record that it stored, with their number."""


@attrs.define(eq=False)
class Site:
    """A folder for the tuners of one scenario: store, plan, events, temporary files, what they print."""

    folder: Path

    @property
    def store_path(self) -> Path:
        return self.folder / "store"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def events(self) -> list[Event]:
        return read_events(self.folder)

    def count(self, what: str) -> int:
        """How many events of a kind there are."""
        path = self.folder / "events"
        return path.read_bytes().count(f'["{what}"'.encode()) if path.exists() else 0

    def records(self) -> dict[str, Record]:
        """What the store holds, by digest."""
        with Store(self.store_path) as store:
            return {digest_of(record.schedule): record for record in store.records(TASK, this_machine(), PROTOCOL)}

    def best_digest(self) -> str:
        with Store(self.store_path) as store:
            found = store.best(TASK, this_machine(), PROTOCOL)
        return "" if found is None else digest_of(found.schedule)

    def leftovers(self) -> list[str]:
        """Processes that belong to the site, by their environment or below this one, and files that its tuners left."""
        processes = {*marked_processes(SITE, str(self.folder)), *descendants(os.getpid())}
        return [f"process {pid}" for pid in processes] + [f"file {path.name}" for path in self.temporary.iterdir()]

    def wait_until_tidy(self, patience_s: float = PATIENCE_S) -> tuple[float, list[str]]:
        """Waits until nothing is left; how long that took, and what is left nevertheless."""
        begin = time.monotonic()
        reap_orphans()
        while (left := self.leftovers()) and time.monotonic() - begin < patience_s:
            time.sleep(0.02)
            reap_orphans()
        return time.monotonic() - begin, left


@contextlib.contextmanager
def new_site(plan: Plan) -> Iterator[Site]:
    """A site in a folder of its own, taken away afterwards with all processes that belong to it."""
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        site = Site(folder)
        site.temporary.mkdir()
        plan.write(folder)
        yield site
    finally:
        kill_all(marked_processes(SITE, str(folder)))
        reap_orphans()
        shutil.rmtree(folder, ignore_errors=True)


def reap_orphans() -> None:
    """Waits for children of this process that are dead and that nobody else waits for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            os.waitpid(-1, os.WNOHANG)


@attrs.define(eq=False)
class Tuner:
    """A tuner that runs, or has ended with `status`: the exit status, or the negative signal."""

    pid: int
    out: Path
    begin_s: float
    status: int | None = None

    def is_running(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        end = time.monotonic() + patience_s
        while self.is_running():
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        assert self.status is not None
        return self.status

    def wait_for(self, happened: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Waits until something has happened; False where the tuner ended first, or it takes too long."""
        end = time.monotonic() + patience_s
        while self.is_running() and time.monotonic() < end:
            if happened():
                return True
            time.sleep(0.003)
        return False

    def signal(self, number: int, whole_group: bool) -> None:
        (os.killpg if whole_group else os.kill)(self.pid, number)

    def zygote(self) -> int | None:
        return next(iter(children(self.pid)), None)

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.out.with_suffix(".err").read_text()


def start(site: Site, orders: Orders) -> Tuner:
    """Starts a tuner on a site's store."""
    space()
    out = site.folder / f"{len(list(site.folder.glob('*.out')))}.out"
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become_tuner(site, orders, out)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # whoever comes first: it is signalled by its group
    return Tuner(pid, out, begin)


def run(site: Site, orders: Orders) -> Tuner:
    """A tuner that was left alone until it ended."""
    tuner = start(site, orders)
    tuner.wait()
    return tuner


def _become_tuner(site: Site, orders: Orders, out: Path) -> None:
    """Never returns: the child runs the command line and ends."""
    try:
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in ((1, out), (2, out.with_suffix(".err"))):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
        os.environ.update({SITE: str(site.folder), NAME: orders.name, "TMPDIR": str(site.temporary)})
        tempfile.tempdir = None
        _pretend(site, orders)
        words = ["tune", *OPERATOR, "--store", str(site.store_path), "--trials", str(orders.trials)]
        command_line([*words, "--seed", str(orders.seed), "--method", orders.method, *orders.words])
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 0)
    except BaseException:  # noqa: BLE001 # shown as Python would
        traceback.print_exc()
    _leave(1)


def _leave(status: int) -> None:
    """Ends a forked child without the parent's cleanup."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _pretend(site: Site, orders: Orders) -> None:
    """Has this process tune with the site's kernels, and note each record that is in the store."""
    bench = functools.partial(
        Measurer, builder=BUILDER, builders=2, batch=8, limits=orders.limits, lock_path=site.folder / orders.lock
    )
    patched: Any = tuner
    patched.tune = functools.partial(tuner.tune, space=space(), bench=bench)
    if orders.tools is not None:
        patched = journal
        patched.tools = lambda _: orders.tools
    if orders.prepare is not None:
        orders.prepare()
    put, count = Store.put, 0

    def noted_put(self: Store, record: Record) -> Record:
        nonlocal count
        begin = time.monotonic()
        kept = put(self, record)
        note(STORED, digest_of(record.schedule), begin, _what(record), sync=True)
        count += 1
        if orders.on_put is not None:
            orders.on_put(count, self)
        return kept

    Store.put = noted_put  # type: ignore[method-assign]
    is_known = tuner._Search._is_known

    def noted_is_known(self: tuner._Search, schedule: Schedule) -> bool:
        begin = time.monotonic()
        known = is_known(self, schedule)
        if not known:
            note(ASKED, digest_of(schedule), begin)
        return known

    tuner._Search._is_known = noted_is_known  # type: ignore[method-assign]


FAILED, TRIAL, FINAL = "failed", "trial", "final"


def _what(record: Record) -> str:
    """What a record adds: a failure, the samples of a trial, or those of a final."""
    if record.failed is not None:
        return FAILED
    return FINAL if record.measurements[-1].baseline_s else TRIAL
