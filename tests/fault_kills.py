"""Tuners killed at random instants: nothing stored is lost, nothing is measured twice, nothing stays behind."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from autosched.search.journal import first_outcome
from autosched.spec.claim import Failure
from autosched.store.store import Store
from fault_kernels import STORED, TIMED, Plan
from fault_rows import differs, row
from fault_tuner import FINAL, TASK, Orders, Site, Tuner, default_digest, new_site, run, start

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from autosched.store.records import Record
    from fault_kernels import Event
    from fault_rows import Row

TRIALS: Final = 48
"""Trials of a search that is killed about 15 times."""
STARTING_S: Final = 1.5
"""A tuner on its own has its first trial in the store after so long."""
ENDS_WITH: Final = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}
"""The status of a tuner that got a signal."""
IDLE, SEARCHING, FINISHING = "before the first trial", "among the trials", "in the finals"


def lost_or_repeated(records: Mapping[str, Record], events: Iterable[Event], anchor: str) -> list[str]:
    """Records that are not as the acknowledged writes say; schedules other than `anchor` that were measured twice."""
    written = [event for event in events if event.what == STORED]
    wrong = []
    for digest, count in Counter(event.digest for event in written).items():
        sessions = _sessions(records[digest]) if digest in records else 0
        if sessions < count:
            wrong.append(f"{digest[:8]} is in the store {sessions} times, was put {count} times")
    trials = Counter(event.digest for event in written if event.detail != FINAL)
    for digest, found in records.items():
        again = max(trials[digest], _sessions(found) - sum(bool(m.baseline_s) for m in found.measurements))
        if digest != anchor and again > 1:
            wrong.append(f"{digest[:8]} was measured {again} times")
    return wrong


def _sessions(record: Record) -> int:
    return len(record.measurements) + (record.failed is not None)


def unreadable(site: Site) -> list[str]:
    """What is wrong with the store's entries, or with what a reader gets of them."""
    with Store(site.store_path) as store:
        entries = len(store._entries.keys("record/"))
        read = len(list(store.records()))
        return [*store.check(), *differs(records_read=(read, entries))]


def outcomes(site: Site) -> dict[str, float | str]:
    """Each schedule's first median, or the class of its failure, by digest."""
    first = {digest: first_outcome(record) for digest, record in site.records().items()}
    return {digest: o.kind if isinstance(o, Failure) else o for digest, o in first.items() if o is not None}


def same_search(site: Site, other: Site, trials: int) -> list[str]:
    """Where the finished search of a site differs from that of another one."""
    found, wanted = outcomes(site), outcomes(other)
    wrong = [
        f"{d[:8]}: {found.get(d)!r}, not {wanted.get(d)!r}" for d in {*found, *wanted} if found.get(d) != wanted.get(d)
    ]
    with Store(site.store_path) as store:
        state = store.search_state(TASK)
    done = None if state is None else (state.trials, state.finished)
    return wrong + differs(best=(site.best_digest(), other.best_digest()), search=(done, (trials, trials)))


@attrs.define
class Killed:
    """What came of some kills."""

    kills: Counter[str] = attrs.field(factory=Counter)
    runs: int = 0
    trials: int = 0
    in_flight: int = 0
    longest_s: float = 0.0
    wrong: list[str] = attrs.field(factory=list)

    def add(self, other: Killed) -> None:
        self.kills += other.kills
        self.runs += other.runs
        self.trials += other.trials
        self.in_flight += other.in_flight
        self.longest_s = max(self.longest_s, other.longest_s)
        self.wrong += other.wrong


def kill_tuners(seed: int, kills: int, signal_number: int = signal.SIGKILL, trials: int = TRIALS) -> Killed:
    """So many kills, every second one of the whole process group, in as many searches of `trials` as that takes."""
    rng = random.Random(seed)
    total = Killed()
    for number in itertools.count():
        if total.kills.total() >= kills or total.wrong:
            return total
        orders = Orders(trials=trials, seed=seed + number, method=("auto", "random")[number % 2])
        with new_site(Plan(spread=True, sound=(default_digest(),))) as site:
            left = _kill_one_search(site, orders, rng, kills - total.kills.total(), signal_number)
            left.runs, left.trials = 1, len(site.records())
            with new_site(Plan(spread=True, sound=(default_digest(),))) as other:
                run(other, orders)
                left.wrong += [f"search {number}: {line}" for line in same_search(site, other, trials)]
        total.add(left)
    raise AssertionError


def _kill_one_search(site: Site, orders: Orders, rng: random.Random, kills: int, number: int) -> Killed:
    """Starts tuners and kills them until one comes to its end."""
    total = Killed()
    for attempt in itertools.count():
        before, stored = len(site.events), site.count(STORED)
        tuner = start(site, orders)
        whole_group = rng.random() < 0.5
        if attempt < kills and _wait_for_instant(site, tuner, rng, stored):
            tuner.signal(number, whole_group)
        status = tuner.wait()
        seconds, left = site.wait_until_tidy()
        total.longest_s = max(total.longest_s, seconds)
        since = site.events[before:]
        records = site.records()
        known = {event.digest for event in since if event.what == TIMED} - {default_digest()}
        in_flight = len(known - set(records))
        total.in_flight += in_flight
        wrong = [*left, *unreadable(site), *lost_or_repeated(records, site.events, default_digest())]
        if in_flight > 1:
            wrong.append(f"{in_flight} trials were under way")
        total.wrong += [f"attempt {attempt}: {line}" for line in wrong]
        if status == 0:
            return total
        if status != ENDS_WITH[signal.Signals(number)]:
            total.wrong.append(f"attempt {attempt} ended with {status}: {tuner.stderr[-300:]}")
            return total
        total.kills[f"{'group' if whole_group else 'alone'}: {_phase(since, len(records) >= orders.trials)}"] += 1
    raise AssertionError


def _wait_for_instant(site: Site, tuner: Tuner, rng: random.Random, stored: int) -> bool:
    """Waits for an instant drawn at random: while the tuner starts, or soon after one of its next records."""
    if rng.random() < 0.3:
        wait_s, count = rng.uniform(0, STARTING_S), 0
    else:
        wait_s, count = rng.uniform(0, 0.06), rng.randint(1, 8)
    reached = tuner.wait_for(lambda: site.count(STORED) >= stored + count)
    end = time.monotonic() + wait_s
    return reached and tuner.wait_for(lambda: time.monotonic() > end)


def _phase(events: Sequence[Event], all_tried: bool) -> str:
    stored = [event for event in events if event.what == STORED]
    if any(event.detail == FINAL for event in stored) or (stored and all_tried):
        return FINISHING
    return SEARCHING if stored else IDLE


WHOM: Final = {"group": "the tuner's process group", "alone": "the tuner alone"}


def united(parts: Sequence[Killed]) -> Killed:
    total = Killed()
    for part in parts:
        total.add(part)
    return total


def kill_rows(parts: Sequence[Killed]) -> list[Row]:
    """A row for each kind of kill, and one for the searches that were killed."""
    total = united(parts)
    expected = "the store opens, every record is readable, none is lost, none measured twice, no process is left"
    found = [
        row(f"`kill -9` of {WHOM[whom]} {phase}", total.kills[f"{whom}: {phase}"], expected, "so")
        for whom in WHOM
        for phase in (IDLE, SEARCHING, FINISHING)
        if total.kills[f"{whom}: {phase}"]
    ]
    return [*found, _searches_row(f"these {total.kills.total()}, in {total.runs} searches", 0, total)]


def interrupt_row(total: Killed) -> Row:
    """The row of searches ended by Ctrl-C again and again."""
    return _searches_row("Ctrl-C at random instants", total.kills.total(), total)


def _searches_row(what: str, count: int, total: Killed) -> Row:
    expected = (
        "nothing is lost or measured twice; at most one trial was under way; at last left alone, each search ends with "
        "the trials, the times and the best of one that nobody disturbed"
    )
    seen = (
        f"so; {total.trials} trials, {total.in_flight} more were under way; "
        f"the last process was gone after {total.longest_s:.1f} s at most"
    )
    return row(what, count, expected, seen, total.wrong)
