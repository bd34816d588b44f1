"""What the store promises, one call at a time."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.spec.errors import SpecError, StoreError
from autosched.spec.rename import schedule_digest
from autosched.spec.schedule import Schedule
from autosched.spec.task import Argument, OperatorCall
from autosched.spec.versions import VERSION
from autosched.store.keys import machine_key, protocol_key, slot, task_key
from autosched.store.machine import this_machine
from autosched.store.records import CLAIMED, MEASURED, SearchState
from autosched.store.store import Store
from store_cases import MACHINE, OTHER_MACHINE, OTHER_PROTOCOL, PROTOCOL, failed, gemm, named, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_reading_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "store")
    assert store.best(gemm()) is None
    assert store.get(gemm(), tiled()) is None
    assert store.search_state(gemm()) is None
    assert store.task("0" * 64) is None
    for nothing in (store.records(), store.tasks(), store.searches(), store.check(), store.machines()):
        assert list(nothing) == []
    assert list(tmp_path.iterdir()) == []


def test_the_path_is_given_or_in_the_environment_or_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AUTOSCHED_STORE", raising=False)
    assert Store().path == tmp_path / ".cache" / "autosched"
    monkeypatch.setenv("AUTOSCHED_STORE", "~/elsewhere")
    assert Store().path == tmp_path / "elsewhere"
    assert Store("~/given").path == tmp_path / "given"
    assert Store(tmp_path / "given").path == tmp_path / "given"


def test_without_machine_and_protocol_it_is_about_here(store: Store) -> None:
    with store:
        store.put(record(timed(0.1), machine=this_machine()))
        store.put(record(timed(0.01)))  # another machine's, faster
        store.put(record(timed(0.01), machine=this_machine(), protocol=OTHER_PROTOCOL))
        best = store.best(gemm())
        assert best is not None
        assert (best.machine, best.protocol, best.latency_s) == (this_machine(), PROTOCOL, 0.1)


def test_a_record_speaks_the_names_of_who_asks(store: Store) -> None:
    store.put(record(timed(0.1)))
    other = gemm("XYZmnr")
    best = store.best(other, MACHINE)
    assert best is not None
    assert best.task is other
    assert best.schedule == tiled("XYZmnr")
    assert [r.schedule for r in store.records(other)] == [tiled("XYZmnr")]
    assert [r.schedule for r in store.records()] == [tiled()], "as it was put first"


def test_a_winner_that_turns_out_slower_is_overtaken(store: Store) -> None:
    slower = record(timed(0.2), schedule=tiled(factor=16))
    store.put(record(timed(0.1)))
    store.put(slower)
    assert store.best(gemm(), MACHINE) == record(timed(0.1))
    store.put(record(timed(0.9, 0.9, 0.9, date="2026-12-01")))
    assert store.best(gemm(), MACHINE) == slower


def test_a_winner_that_turns_out_wrong_is_no_winner(store: Store) -> None:
    store.put(record(timed(0.1)))
    store.put(record(failed=failed("wrong_answer", date="2026-12-01")))
    assert store.best(gemm(), MACHINE) is None
    (kept,) = store.records()
    assert kept.failure == failed("wrong_answer").failure
    assert kept.measurements == (timed(0.1),), "what was measured is not forgotten"


def test_a_claim_leads_only_where_nothing_was_timed_here(store: Store) -> None:
    store.put(record(timed(0.001, origin=CLAIMED)))
    best = store.best(gemm(), MACHINE)
    assert best is not None
    assert best.origin == CLAIMED
    store.put(record(timed(0.5), schedule=tiled(factor=16)))
    best = store.best(gemm(), MACHINE)
    assert best is not None
    assert (best.origin, best.latency_s) == (MEASURED, 0.5)


def test_what_was_not_verified_does_not_lead(store: Store) -> None:
    store.put(record(timed(0.1, verified=False)))
    assert store.best(gemm(), MACHINE) is None


def test_the_simpler_of_two_equally_fast_leads(store: Store) -> None:
    simple = Schedule()
    store.put(record(timed(0.1)))
    store.put(record(timed(0.1), schedule=simple))
    best = store.best(gemm(), MACHINE)
    assert best is not None
    assert best.schedule == simple


def test_only_allowed_accuracy_is_served(store: Store) -> None:
    store.put(record(timed(0.1, accuracy="reduced")))
    assert store.best(gemm(), MACHINE) is None
    assert store.best(gemm(), MACHINE, allow=("exact", "reduced")) is not None
    with pytest.raises(SpecError, match="allow: unknown accuracy 'fast'; allowed: exact, reassociated"):
        store.best(gemm(), MACHINE, allow=("fast",))


def test_failures_are_kept_so_that_nobody_tries_again(store: Store) -> None:
    store.put(record(failed=failed("build_timeout", "60 s")))
    found = store.get(gemm("XYZabc"), tiled("XYZabc"), MACHINE)
    assert found is not None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.detail) == ("build_timeout", "60 s")
    assert store.best(gemm(), MACHINE) is None


def test_putting_twice_is_putting_once(store: Store) -> None:
    assert store.put(record(timed(0.1))) == store.put(record(timed(0.1))) == record(timed(0.1))


def test_records_of_some_machine_or_protocol(store: Store) -> None:
    for machine in (MACHINE, OTHER_MACHINE):
        for protocol in (PROTOCOL, OTHER_PROTOCOL):
            store.put(record(timed(0.1), machine=machine, protocol=protocol))
    store.put(record(timed(0.1), task=gemm(extent=32), schedule=tiled(extent=32)))
    assert len(list(store.records())) == 5
    assert len(list(store.records(gemm()))) == 4
    assert {r.protocol for r in store.records(gemm(), OTHER_MACHINE)} == {PROTOCOL, OTHER_PROTOCOL}
    assert {r.machine for r in store.records(gemm(), protocol=OTHER_PROTOCOL)} == {MACHINE, OTHER_MACHINE}
    assert len(list(store.records(machine=MACHINE))) == 3
    assert len(list(store.records(gemm(), MACHINE, PROTOCOL))) == 1
    assert set(store.machines()) == {MACHINE, OTHER_MACHINE}


def test_a_task_is_found_by_its_key(store: Store) -> None:
    store.put(record(timed(0.1)))
    key = task_key(gemm())
    assert store.task(key) == gemm()
    assert store.task(key[:8]) == gemm()
    assert store.task("0" * 64) is None
    assert store.task("000000") is None
    assert dict(store.tasks()) == {key: gemm()}
    with pytest.raises(StoreError, match="'GEMM' is not a task's key; allowed: 6 to 64 digits of 0-9a-f"):
        store.task("GEMM")


def test_a_key_that_begins_several_names_none(store: Store) -> None:
    with store._entries.transaction():
        for digit in "01":
            store._entries.write(f"task/abcdef{digit:0>58}", {})
    with pytest.raises(StoreError, match="2 tasks have keys that begin with abcdef; give more digits: abcdef0"):
        store.task("abcdef")


def test_a_task_learns_its_operator(store: Store) -> None:
    store.put(record(timed(0.1)))
    called = attrs.evolve(gemm("XYZabc"), op=OperatorCall(name="gemm", args=(Argument(name="M", value=64),)))
    store.put(record(timed(0.2), task=called, schedule=tiled("XYZabc")))
    found = store.task(task_key(gemm()))
    assert found is not None
    assert found.op == called.op
    assert len(list(store.tasks())) == 1


def test_a_schedule_that_does_not_fit_is_refused(store: Store) -> None:
    with pytest.raises(SpecError, match="the schedule names 'C', which this workload does not have"):
        store.put(record(timed(0.1), task=gemm("XYZabc")))
    assert list(store.records()) == []


def test_a_merged_store_knows_what_both_knew(tmp_path: Path) -> None:
    here, there, both = (Store(tmp_path / name) for name in ("here", "there", "both"))
    here.put(record(timed(0.1)))
    here.put(record(failed=failed(), schedule=tiled(factor=2)))
    here.finish_search(gemm(), SearchState(strategy="random", trials=9, finished=8, seconds=1.0, date="2026"), MACHINE)
    there.put(record(timed(0.3, date="2026-12-01"), task=gemm("XYZabc"), schedule=tiled("XYZabc")))
    there.put(record(timed(0.05), schedule=tiled(factor=16)))
    assert both.merge(here) + both.merge(there) == 4
    assert len(list(both.records())) == 3
    assert both.get(gemm(), tiled(), MACHINE) == record(timed(0.1), timed(0.3, date="2026-12-01"))
    assert both.best(gemm(), MACHINE) == there.best(gemm(), MACHINE)
    assert both.search_state(gemm(), MACHINE) == here.search_state(gemm(), MACHINE)
    again = Store(tmp_path / "again")
    again.merge(there)
    again.merge(here)
    strip = lambda r: attrs.evolve(r, task=gemm(), schedule=named(r, "ABCijk").schedule)  # noqa: E731
    assert sorted(map(repr, map(strip, again.records()))) == sorted(map(repr, map(strip, both.records())))


def test_entries_are_text_that_anyone_can_read(store: Store) -> None:
    store.put(record(timed(0.1)))
    store.close()
    connection = sqlite3.connect(store.path / "cache.db")
    rows = connection.execute("SELECT key, raw, mode, filename, value, typeof(value) FROM Cache").fetchall()
    connection.close()
    assert {(raw, mode, filename, kind) for _, raw, mode, filename, _, kind in rows} == {(1, 1, None, "text")}
    entries = {key: json.loads(value) for key, _, _, _, value, _ in rows}
    place = slot(gemm(), MACHINE, PROTOCOL)
    assert set(entries) == {
        "format", f"task/{task_key(gemm())}", f"machine/{machine_key(MACHINE)}", f"protocol/{protocol_key(PROTOCOL)}",
        f"best/{place}", f"record/{place}/{schedule_digest(tiled(), gemm().names)}",
    }  # fmt: skip
    assert all(set(entry) == {"sha256", "entry"} for entry in entries.values())
    assert entries["format"]["entry"] == {"format": "autosched/store", "version": 1}


def test_nothing_is_evicted(store: Store) -> None:
    store.put(record(timed(0.1)))
    connection = sqlite3.connect(store.path / "cache.db")
    settings_of = dict(connection.execute("SELECT key, value FROM Settings").fetchall())
    connection.close()
    assert (settings_of["eviction_policy"], settings_of["cull_limit"], settings_of["statistics"]) == ("none", 0, 0)


def test_a_store_of_a_later_version_is_refused(store: Store) -> None:
    with store._entries.transaction():
        store._entries.write("format", {"format": "autosched/store", "version": 2})
    store.close()
    with pytest.raises(
        StoreError, match=r"written by another version of autosched.*upgrade autosched, or name another"
    ):
        Store(store.path).best(gemm())


def test_a_record_in_a_later_language_is_skipped_loudly(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put(record(timed(0.1)))
    (key,) = store._entries.keys("record/")
    entry = store._entries.read(key, lambda entry: entry)
    with store._entries.transaction():
        store._entries.write(key, {**entry, "spec": VERSION + 1})  # type: ignore[dict-item]
    with caplog.at_level(logging.WARNING):
        assert list(store.records()) == []
    assert f"spec: written in version {VERSION + 1} of the language, this autosched reads {VERSION}" in caplog.text
    with pytest.raises(
        StoreError, match=rf"written by a later autosched, in version {VERSION + 1} of the language.*upgrade"
    ):
        store.put(record(timed(0.2)))
    assert store._entries.read(key, lambda entry: entry) == {**entry, "spec": VERSION + 1}, (
        "what a later version knows stays"
    )


def test_leaders_of_a_later_version_are_kept(store: Store) -> None:
    store.put(record(timed(0.1)))
    (key,) = store._entries.keys("best/")
    (leader,) = store._entries.read(key, lambda entry: entry)  # type: ignore[misc] # a list
    later = {**leader, "digest": "0" * 16, "record": {**leader["record"], "spec": VERSION + 1, "unheard": "of"}}
    with store._entries.transaction():
        store._entries.write(key, [later, leader])
    best = store.best(gemm(), MACHINE)
    assert best is not None
    assert best.latency_s == 0.1
    store.put(record(timed(0.05), schedule=tiled(factor=16)))
    assert store._entries.read(key, lambda entry: entry[0]) == later  # type: ignore[index]
    assert store.check() == ()
    store.check(repair=True)
    faster = store.best(gemm(), MACHINE)
    assert faster is not None
    assert faster.latency_s == 0.05
    for found in list(store.records()):
        store.delete(found)
    assert store._entries.read(key, lambda entry: entry) == [later]
