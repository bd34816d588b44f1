"""What happens around a search: helpers killed, disks full, stores that become read-only, Ctrl-C, a second tuner."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

import attrs

from autosched.store.store import Store
from fault_kernels import ASKED, BUILDING, BUILT, STORED, TIMED, Plan
from fault_kills import lost_or_repeated, outcomes, same_search, unreadable
from fault_rows import differs, row
from fault_tuner import FINAL, Orders, Site, Tuner, default_digest, new_site, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fault_kernels import Event
    from fault_rows import Row

TRIALS: Final = 16


def one_line(tuner: Tuner, *words: str) -> list[str]:
    """What is wrong with the end of what a tuner printed: one line for people, with each of `words` once, and no
    traceback.
    """
    lines = tuner.stderr.splitlines()
    last = lines[-1] if lines else ""
    wrong = [f"a traceback: {last!r}"] if "Traceback" in tuner.stderr else []
    if not last.startswith("autosched: ") or any(last.count(word) != 1 for word in words):
        wrong.append(f"it says {last!r}")
    return wrong


def kept(site: Site, left: bool = True) -> list[str]:
    """What is wrong with the store and with what was left after a tuner ended."""
    wrong = [*unreadable(site), *lost_or_repeated(site.records(), site.events, default_digest())]
    return [*wrong, *site.wait_until_tidy()[1]] if left else wrong


# --- helpers killed ---------------------------------------------------------------------------------------------------


def helper_rows(seed: int) -> Iterator[Row]:
    """A worker, and the process that forks workers, killed from outside at several moments."""
    orders = Orders(trials=TRIALS, seed=seed, method="random")
    with new_site(Plan()) as calm:
        run(calm, orders)
        hanging = min(outcomes(calm).keys() - {calm.best_digest(), default_digest()})
        with new_site(Plan(faults={hanging: "hang_while_building"})) as site:
            tuner = start(site, orders)
            pid = _builder_of(site, tuner, hanging)
            os.kill(pid, signal.SIGKILL)
            wrong = differs(status=(tuner.wait(), 0), best=(site.best_digest(), calm.best_digest()))
            wrong += differs(stored=(outcomes(site).get(hanging), "crash"), trials=(len(site.records()), TRIALS))
            yield row(
                "`kill -9` of a worker while it builds", 1, "its candidate is a `crash`", "so", wrong + kept(site)
            )
        expected = "a new one takes over: exit status 0, the same trials and the same best"
        for when, plan, instant in _ZYGOTE_KILLS:
            with new_site(plan(hanging)) as site:
                tuner = start(site, orders)
                if instant is not None:
                    tuner.wait_for(lambda site=site, tuner=tuner, instant=instant: instant(site, tuner))
                    os.kill(tuner.zygote() or 0, signal.SIGKILL)
                wrong = differs(status=(tuner.wait(), 0)) + same_search(site, calm, TRIALS) + kept(site)
                yield row(f"`kill -9` of the process that forks workers, {when}", 1, expected, "so", wrong)


def _builder_of(site: Site, tuner: Tuner, digest: str) -> int:
    """The process that builds a schedule."""
    found: list[str] = []

    def building() -> bool:
        found[:] = [event.detail for event in site.events if (event.what, event.digest) == (BUILDING, digest)]
        return bool(found)

    tuner.wait_for(building)
    return int(found[0])


_ZYGOTE_KILLS: Final = (
    ("while it starts", lambda _: Plan(), lambda _, tuner: tuner.zygote() is not None),
    ("while a candidate is built", lambda digest: Plan(faults={digest: "crash_zygote_once"}), None),
    (
        "in the finals",
        lambda _: Plan(sample_s=0.03),
        lambda site, _: site.count(BUILT) > TRIALS and site.count(STORED) >= TRIALS,
    ),
)
"""When; the plan, given a schedule's digest; how the instant is known, if the kernel does not do it itself."""


# --- no space, no right -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place: Path, kib: int) -> Iterator[bool]:
    """A file system of its own at `place`; False where this process may not mount one."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    with contextlib.suppress(OSError):
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


def fill(folder: Path) -> Path:
    """Takes all the space that a disk has left; the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    return ballast


def full_store_row(seed: int) -> Row:
    """The store's disk is full half-way; then there is space again."""
    orders = Orders(trials=TRIALS, seed=seed, method="random")
    with new_site(Plan()) as site, new_site(Plan()) as calm, small_disk(site.store_path, 8192) as mounted:
        full = (lambda number, _: fill(site.store_path) if number == 9 else None) if mounted else _limit_pages
        tuner = run(site, attrs.evolve(orders, on_put=full))
        (site.store_path / "ballast").unlink(missing_ok=True)
        wrong = differs(status=(tuner.status, 2), stored=(9 <= len(site.records()) < TRIALS, True)) + kept(site)
        wrong += one_line(tuner, str(site.store_path), "the disk is full", "free some space", "--store")
        run(calm, orders)
        wrong += differs(status_again=(run(site, orders).status, 0)) + same_search(site, calm, TRIALS) + kept(site)
    how = "a tmpfs" if mounted else "SQLite's limit on pages"
    expected = "exit status 2, one line: what, where, what to do; nothing lost; with space it goes on to its end"
    return row(f"the store's disk is full half-way ({how})", 1, expected, "so", wrong)


def full_temporary_rows(seed: int) -> Iterator[Row]:
    """The disk of temporary files is full; no row where this process may not mount one."""
    with new_site(Plan()) as site, small_disk(site.temporary, 64) as mounted:
        if not mounted:
            return
        ballast = fill(site.temporary)
        with ballast.open("ab") as file:
            file.truncate(file.tell() - 2**13)  # enough for a folder, too little for the files
        tuner = run(site, Orders(trials=TRIALS, seed=seed))
        ballast.unlink()
        wrong = differs(status=(tuner.status, 1)) + one_line(tuner, "temporary files", "free some space", "TMPDIR")
        wrong += site.wait_until_tidy()[1]
        expected = "exit status 1, one line: what, where, what to do"
        yield row("the disk of temporary files is full", 1, expected, "so", wrong)


def _limit_pages(number: int, store: Store) -> None:
    """The database may not grow from now on, as on a disk that is full."""
    if number == 9:
        cache = store._entries._cache
        assert cache is not None
        cache._sql("PRAGMA max_page_count = 1")  # it cannot be less than there are


_CAP_DAC_OVERRIDE: Final = 1
_CAPABILITY_VERSION: Final = 0x20080522


def obey_permissions() -> None:
    """Takes root's right to write where permissions forbid it from this process."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of the higher half
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) == 0:
        for part in range(3):
            sets[part] &= ~(1 << _CAP_DAC_OVERRIDE)
        libc.capset(header, sets)


def read_only_row(seed: int) -> Row:
    """The store's folder and files lose their write permission half-way, and the tuner its open connection."""
    orders = Orders(trials=TRIALS, seed=seed, method="random", prepare=obey_permissions)

    def forbid(number: int, store: Store) -> None:
        if number == 9:
            store.close()
            for path in (*store.path.iterdir(), store.path):
                path.chmod(path.stat().st_mode & ~0o222)

    with new_site(Plan()) as site, new_site(Plan()) as calm:
        tuner = run(site, attrs.evolve(orders, on_put=forbid))
        for path in (site.store_path, *site.store_path.iterdir()):
            path.chmod(path.stat().st_mode | 0o200)
        wrong = differs(status=(tuner.status, 2), stored=(len(site.records()), 9))
        wrong += one_line(tuner, str(site.store_path), "not writable", "--store") + kept(site)
        run(calm, orders)
        wrong += differs(status_again=(run(site, orders).status, 0)) + same_search(site, calm, TRIALS) + kept(site)
    expected = "exit status 2, one line: what, where, what to do; nothing lost; writable again, it goes on to its end"
    return row("the store is made read-only half-way", 1, expected, "so", wrong)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def interrupted_row(seed: int) -> Row:
    """Ctrl-C: a signal to the group."""
    with new_site(Plan(sample_s=0.02)) as site:
        tuner = start(site, Orders(trials=TRIALS, seed=seed))
        tuner.wait_for(lambda: site.count(STORED) >= 6)
        tuner.signal(signal.SIGINT, whole_group=True)
        wrong = differs(status=(tuner.wait(), 130)) + one_line(tuner, "interrupted") + kept(site)
        with Store(site.store_path) as store:
            wrong += differs(searches=(len(list(store.searches())), 1))
        if not site.best_digest() or "the best so far" not in tuner.stderr:
            wrong.append("the best so far is not told, or not in the store")
    return row("Ctrl-C", 1, "exit status 130, the best so far told and stored, no process left", "so", wrong)


def interrupted_twice_row(seed: int) -> Row:
    """Ctrl-C when the process that forks workers does not answer, and once more."""
    with new_site(Plan(sample_s=0.02)) as site:
        tuner = start(site, Orders(trials=TRIALS, seed=seed))
        tuner.wait_for(lambda: site.count(STORED) >= 6)
        zygote = tuner.zygote() or 0
        os.kill(zygote, signal.SIGSTOP)
        tuner.signal(signal.SIGINT, whole_group=True)
        time.sleep(0.5)
        waited = tuner.is_running()
        begin = time.monotonic()
        tuner.signal(signal.SIGINT, whole_group=True)
        status = tuner.wait()
        seconds = time.monotonic() - begin
        os.kill(zygote, signal.SIGCONT)
        wrong = differs(waited=(waited, True), status=(status, 130), at_once=(seconds < 1.0, True))
        wrong += one_line(tuner, "interrupted") + kept(site)
    return row("a second Ctrl-C while the first waits", 1, "exit status 130 at once", f"after {seconds:.2f} s", wrong)


# --- two tuners -------------------------------------------------------------------------------------------------------


def two_tuners_row(seed: int, locks: tuple[str, str] = ("lock", "lock")) -> Row:
    """Two tuners at once, with one store, one seed and (unless told otherwise) one lock."""
    with new_site(Plan(sample_s=0.01)) as site:
        orders = [
            Orders(trials=TRIALS, seed=seed, name=name, lock=lock) for name, lock in zip("ab", locks, strict=True)
        ]
        tuners = [start(site, order) for order in orders]
        statuses = [tuner.wait() for tuner in tuners]
        events = site.events
        with new_site(Plan()) as calm:
            run(calm, attrs.evolve(orders[0], name=""))
            wrong = same_search(site, calm, TRIALS)
        again, both = timed_again(events)
        wrong += differs(statuses=(statuses, [0, 0]), timings_that_overlap=(overlaps(events), 0)) + again
        wrong += [*unreadable(site), *site.wait_until_tidy()[1]]
        if min(sum(e.tuner == name and e.what == TIMED for e in events) for name in "ab") == 0:
            wrong.append("one of them timed nothing")
    expected = "no timing overlaps the other's timing or building; nothing committed is timed again; one best"
    return row("two tuners of one task, one store, one seed", 2, expected, f"so; {both} timed by both", wrong)


def overlaps(events: list[Event]) -> int:
    """How many times a tuner timed while the other one timed or built."""
    timings = [event for event in events if event.what == TIMED]
    works = [event for event in events if event.what in (TIMED, BUILT)]
    return sum(
        a.tuner != b.tuner and a.begin_s < b.end_s and b.begin_s < a.end_s for a, b in itertools.product(timings, works)
    )


def timed_again(events: list[Event]) -> tuple[list[str], int]:
    """Schedules that a tuner went to time when the other had committed them; how many both have timed."""
    trials = [e for e in events if e.what == STORED and e.detail != FINAL and e.digest != default_digest()]
    committed = {(e.tuner, e.digest): e.end_s for e in trials}
    wrong, both = [], 0
    for tuner, digest in committed:
        other = committed.get(("b" if tuner == "a" else "a", digest))
        if other is None:
            continue
        both += 1
        turns = [
            e.begin_s for what in (ASKED, TIMED) for e in events if (e.what, e.tuner, e.digest) == (what, tuner, digest)
        ]
        if turns and turns[0] > other:
            wrong.append(f"{digest[:8]} was timed by {tuner} {turns[0] - other:.3f} s after it was committed")
    return wrong, both // 2
