"""A store that somebody made to do harm: a miss or a StoreError, within bounds, and nothing that it says is done."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from autosched.spec.errors import StoreError
from autosched.store import database
from autosched.store.disk import DamageError, open_cache
from autosched.store.entries import _checksum, seal, unseal
from autosched.store.store import Store
from store_cases import MACHINE, gemm, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two records."""
    with Store(tmp_path / "store") as store:
        store.put(record(timed(0.1)))
        store.put(record(timed(0.2), schedule=tiled(factor=16)))
    return Store(store.path)


def run(store: Store, *statements: str) -> None:
    """Changes the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(store.path / "cache.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def sealed_text(key: str, text: str) -> str:
    """A text under a right seal, which anybody can make."""
    return f'{{"sha256":"{_checksum(key, text)}","entry":{text}}}'


def plant(store: Store, kind: str, text: str) -> None:
    """Puts a text under a right seal over the first entry of a kind."""
    key = store._entries.keys(f"{kind}/")[0]
    with contextlib.closing(sqlite3.connect(store.path / "cache.db")) as connection, connection:
        connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (sealed_text(key, text), key))


# --- texts ------------------------------------------------------------------------------------------------------------

TEXTS = {
    "deep lists": "[" * 10**6 + "]" * 10**6,
    "deep objects": '{"a":' * 10**6 + "1" + "}" * 10**6,
    "a key twice": '{"spec":1,"spec":1}',
    "a key twice inside": '[{"accuracy":"exact","record":{"spec":1,"spec":2}}]',
    "NaN": '{"measurements":[{"samples_s":[NaN]}]}',
    "infinity": '{"measurements":[{"samples_s":[-Infinity]}]}',
    "a number too large": '[{"accuracy":"exact","record":{"spec":1,"measurements":[{"samples_s":[1e999]}]}}]',
    "many digits": '{"spec":' + "9" * 100_000 + "}",
    "half a pair": '{"spec":"\\ud800"}',
    "control characters": '{"spec":"\n"}',
    "no value": "",
    "a number": "5",
}


@pytest.mark.parametrize("kind", ["best", "record", "task", "machine", "protocol"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_text_is_a_miss(store: Store, kind: str, text: str) -> None:
    plant(store, kind, text)
    assert store.best(gemm(), MACHINE) in (record(timed(0.1)), record(timed(0.2), schedule=tiled(factor=16)))
    assert len(list(store.records())) == (2 if kind == "best" else 1 if kind == "record" else 0)
    assert store.task(store._entries.keys("task/")[0].removeprefix("task/")) in (gemm(), None)


def test_a_key_that_stands_twice_is_damage() -> None:
    text = '{"a":{"b":1,"b":2}}'
    with pytest.raises(DamageError, match="it is not JSON: a key stands twice in one object"):
        unseal("key", sealed_text("key", text))
    assert unseal("key", sealed_text("key", text), quick=True) == {"a": {"b": 2}}, "not looked for in a lookup"
    assert unseal("key", seal("key", {"a": {"b": 1}})) == {"a": {"b": 1}}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 only SQLite's own limit of 1 GB holds")
def test_an_entry_too_large_is_not_loaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(store, "best", '"' + "x" * 300_000 + '"')
    plant(store, "record", '"' + "x" * 300_000 + '"')
    monkeypatch.setattr(database, "MAX_BYTES", 2**17)
    with Store(store.path) as fresh:
        assert fresh.best(gemm(), MACHINE) is not None, "the record that is left leads"
        assert len(list(fresh.records())) == 1
        assert len(fresh.check()) == 3, "two entries, and leaders that are not the best"
        fresh.check(repair=True)
        assert fresh.check() == ()


def test_nothing_is_written_that_would_not_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosched.store.entries.MAX_BYTES", 8192)
    with pytest.raises(StoreError, match=r"record/\S+ would take \d+ bytes; at most 8192 are kept"):
        store.put(record(timed(*[0.1 + number * 1e-9 for number in range(1000)], date="2026-12-01")))
    assert store.best(gemm(), MACHINE) == record(timed(0.1))


# --- rows -------------------------------------------------------------------------------------------------------------


def test_no_time_hides_an_entry(store: Store) -> None:
    run(store, "UPDATE Cache SET expire_time = 1.0")
    assert store.best(gemm(), MACHINE) == record(timed(0.1))
    store.put(record(timed(0.05)))
    assert store.best(gemm(), MACHINE) == record(timed(0.05), timed(0.1))


def test_no_name_in_the_database_decides_what_is_deleted(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    run(store, "UPDATE Cache SET filename = '../victim.txt'")
    store.put(record(timed(0.05)))
    store.delete_task(gemm())
    store.check(repair=True)
    assert victim.read_text() == "mine"


# --- the layout -------------------------------------------------------------------------------------------------------

# ruff: noqa: S608 # statements are made of this file's own texts
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
LAYOUTS = {
    "a trigger": (f"CREATE TRIGGER t AFTER INSERT ON Cache BEGIN DELETE FROM Cache WHERE rowid = ({ENDLESS}); END",),
    "a trigger under a known name": (
        "DROP TRIGGER Settings_count_insert",
        f"CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache BEGIN SELECT ({ENDLESS}); END",
    ),
    "a view in the place of the entries": (
        "ALTER TABLE Cache RENAME TO Kept",
        f"CREATE VIEW Cache AS SELECT key, raw, mode, filename, value, ({ENDLESS}) AS expire_time FROM Kept",
    ),
    "a setting that is an attribute": ("INSERT INTO Settings VALUES ('_disk', 5)",),
    "a setting of pickles": ("INSERT INTO Settings VALUES ('disk_anything', 5)",),
    "a pragma": ("INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)",),
    "a setting with an order": ("UPDATE Settings SET value = 'wal; x' WHERE key = 'sqlite_journal_mode'",),
}


@pytest.mark.parametrize("statements", LAYOUTS.values(), ids=LAYOUTS)
def test_another_layout_is_refused_and_repaired(store: Store, statements: tuple[str, ...]) -> None:
    run(store, *statements)
    for use in (lambda: store.best(gemm(), MACHINE), lambda: store.put(record(timed(0.3))), lambda: [*store.records()]):
        with pytest.raises(
            StoreError, match=rf"store {store.path}: cache.db is damaged, or no store's .*--repair saves"
        ):
            use()
    (line,) = store.check()
    assert "cache.db is damaged, or no store's" in line
    assert "entries saved into a new one" in store.check(repair=True)[1]
    assert store.check() == ()
    assert store.best(gemm(), MACHINE) == record(timed(0.1))


def test_settings_of_the_file_are_not_taken_over(store: Store) -> None:
    changes = {
        "eviction_policy": "least-recently-used",
        "cull_limit": 10,
        "sqlite_journal_mode": "off",
        "statistics": 1,
    }
    for name, value in changes.items():
        run(store, f"UPDATE Settings SET value = {value!r} WHERE key = {name!r}")
    with contextlib.closing(open_cache(store.path)) as cache:
        assert (cache.eviction_policy, cache.cull_limit, cache.statistics) == ("none", 0, 0)
        assert cache._sql("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_a_store_of_a_later_version_says_so(store: Store) -> None:
    with store._entries.transaction():
        store._entries.write("format", {"format": "autosched/store", "version": 99})
    with pytest.raises(StoreError, match="written by another version of autosched"):
        Store(store.path).best(gemm(), MACHINE)
