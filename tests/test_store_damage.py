"""Damage: one warning and a miss, never a wrong value, never an exception from a lookup, never a pickle."""

from __future__ import annotations

import contextlib
import logging
import pickle
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autosched.spec.errors import StoreError
from autosched.store.disk import DamageError, TextDisk
from autosched.store.entries import seal, unseal
from autosched.store.records import SearchState
from autosched.store.store import Store
from store_cases import MACHINE, failed, gemm, record, tiled, timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autosched.spec.json_text import Json

STATE = SearchState(strategy="random", trials=8, finished=8, seconds=1.0, date="2026-11-23")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two records, the faster one leading, and a search state."""
    path = tmp_path_factory.mktemp("template") / "store"
    with Store(path) as store:
        store.put(record(timed(0.1)))
        store.put(record(timed(0.2), schedule=tiled(factor=16)))
        store.finish_search(gemm(), STATE, MACHINE)
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    """A copy of the template, to be damaged."""
    shutil.copytree(template, tmp_path / "store")
    with Store(tmp_path / "store") as store:
        yield store


def tamper(store: Store, statement: str, *arguments: object) -> None:
    """Changes the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(store.path / "cache.db")) as connection, connection:
        assert connection.execute(statement, arguments).rowcount > 0


def key_of(store: Store, kind: str) -> str:
    return store._entries.keys(f"{kind}/")[0]


def value_of(store: Store, key: str) -> str:
    with contextlib.closing(sqlite3.connect(store.path / "cache.db")) as connection:
        ((value,),) = connection.execute("SELECT value FROM Cache WHERE key = ?", (key,)).fetchall()
    assert type(value) is str
    return value


# --- the seal ---------------------------------------------------------------------------------------------------------

ENTRY: Json = {"a": [1, 2.5, None, "text"], "b": {}}


def test_what_is_sealed_is_unsealed() -> None:
    assert unseal("key", seal("key", ENTRY)) == ENTRY


def test_an_entry_belongs_to_its_key() -> None:
    with pytest.raises(DamageError, match="its checksum is wrong"):
        unseal("key2", seal("key1", ENTRY))


@given(st.data())
def test_no_change_of_one_character_goes_unseen(data: st.DataObject) -> None:
    sealed = seal("key", ENTRY)
    place = data.draw(st.integers(0, len(sealed) - 1))
    with_another = sealed[:place] + data.draw(st.characters(codec="utf-8")) + sealed[place + 1 :]
    for damaged in ({with_another} - {sealed}) | {sealed[:place], sealed[:place] + sealed[place + 1 :], sealed + "}"}:
        with pytest.raises(DamageError):
            unseal("key", damaged)


@given(st.text())
@example("")
@example("[" * 100_000)
def test_any_text_is_an_entry_or_damage(text: str) -> None:
    with pytest.raises(DamageError):
        unseal("key", text)


# --- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["", "no JSON", '{"sha256":"0000000000000000","entry":{}}', "\u00e9" * 50, 5, None, b"\xff\xfe"], ids=repr
)
@pytest.mark.parametrize("kind", ["best", "record", "search", "task", "machine", "protocol"])
def test_a_damaged_entry_is_one_warning(
    store: Store, kind: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(store, kind)
    tamper(store, "UPDATE Cache SET value = ? WHERE key = ?", value, key)
    with Store(store.path) as fresh, caplog.at_level(logging.WARNING, "autosched.store"):
        seen = [(fresh.best(gemm(), MACHINE), list(fresh.records()), fresh.search_state(gemm(), MACHINE)) for _ in "12"]
        best, records, state = seen[0]
        assert seen[0] == seen[1]
        about = [message for message in caplog.messages if key in message]
        assert len(about) == 1, caplog.messages
        assert "is damaged" in about[0]
        assert "counts as absent; autosched doctor --repair removes it" in about[0]
        assert best == record(timed(0.1)), "the record itself, or else its copy among the leaders, is still there"
        assert state == (None if kind == "search" else STATE)
        assert len(records) == {"record": 1, "task": 0, "machine": 0, "protocol": 0}.get(kind, 2)
        assert any(line.startswith(key) for line in fresh.check())


@pytest.mark.parametrize("kind", ["best", "record", "search", "task", "machine", "protocol", "format"])
def test_text_that_is_not_utf8_is_damage(store: Store, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    key = "format" if kind == "format" else key_of(store, kind)
    tamper(store, "UPDATE Cache SET value = CAST(? AS TEXT) WHERE key = ?", b'{"sha256":"\xff\xfe"}', key)
    with Store(store.path) as fresh, caplog.at_level(logging.WARNING, "autosched.store"):
        fresh.best(gemm(), MACHINE)
        fresh.get(gemm(), tiled(), MACHINE)
        fresh.get(gemm(), tiled(factor=16), MACHINE)
        fresh.search_state(gemm(), MACHINE)
        list(fresh.records())
    assert len([message for message in caplog.messages if key in message]) == 1


@pytest.mark.parametrize("kind", ["best", "record", "search", "task", "machine", "protocol"])
@pytest.mark.parametrize("entry", [[], {}, None, [5], {"spec": 1}, [{"accuracy": "exact", "record": {}}]], ids=repr)
def test_a_rightly_sealed_entry_of_the_wrong_form_is_damage(
    store: Store, kind: str, entry: object, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(store, kind)
    tamper(store, "UPDATE Cache SET value = ? WHERE key = ?", seal(key, entry), key)  # type: ignore[arg-type]
    with Store(store.path) as fresh, caplog.at_level(logging.WARNING, "autosched.store"):
        best = fresh.best(gemm(), MACHINE)
        fresh.search_state(gemm(), MACHINE)
        list(fresh.records())
    if (kind, entry) == ("best", []):
        assert best is None, "an entry without leaders is a right one; check finds that it is not up to date"
        with Store(store.path) as fresh:
            assert any("is not the best record" in line for line in fresh.check())
    else:
        assert len([message for message in caplog.messages if key in message]) == 1
        assert best == record(timed(0.1))


@pytest.mark.parametrize("kind", ["task", "machine", "protocol"])
def test_content_that_was_changed_under_its_key_is_found_out(
    store: Store, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(store, kind)
    other = {"task": gemm(extent=32), "machine": record().machine, "protocol": record().protocol}[kind]
    with Store(store.path.parent / "other") as elsewhere:
        changes = {"machine": "family", "protocol": "warmup"}
        if kind == "task":
            elsewhere.put(record(timed(0.1), task=other, schedule=tiled(extent=32)))
            (other_key,) = elsewhere._entries.keys("task/")
            entry = elsewhere._entries.read(other_key, lambda entry: entry)
        else:
            entry = store._entries.read(key, lambda entry: entry)
            assert isinstance(entry, dict)
            entry = {**entry, changes[kind]: 77}
    tamper(store, "UPDATE Cache SET value = ? WHERE key = ?", seal(key, entry), key)
    with Store(store.path) as fresh, caplog.at_level(logging.WARNING, "autosched.store"):
        assert list(fresh.records()) == []
    assert "its content has another key" in caplog.text


def test_damage_is_mended_by_putting_again(store: Store) -> None:
    for kind in ("best", "record", "task", "machine", "protocol"):
        for key in store._entries.keys(f"{kind}/"):
            tamper(store, "UPDATE Cache SET value = 'x' WHERE key = ?", key)
    with Store(store.path) as fresh:
        fresh.put(record(timed(0.1)))
        fresh.put(record(timed(0.2), schedule=tiled(factor=16)))
        assert fresh.check() == ()
        assert len(list(fresh.records())) == 2
        assert fresh.best(gemm(), MACHINE) == record(timed(0.1))


def test_repair_leaves_a_sound_store(store: Store) -> None:
    for key in (key_of(store, "record"), key_of(store, "best"), key_of(store, "search")):
        tamper(store, "UPDATE Cache SET value = 'x' WHERE key = ?", key)
    with Store(store.path) as fresh:
        assert len(fresh.check()) == 4, "three damaged entries, and leaders that are not the best record"
        assert len(fresh.check(repair=True)) == 4
        assert fresh.check() == ()
        assert fresh.best(gemm(), MACHINE) in (record(timed(0.1)), record(timed(0.2), schedule=tiled(factor=16)))


# --- pickles ----------------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("kind", ["best", "record", "search", "task", "machine", "protocol", "format"])
def test_a_planted_pickle_is_never_loaded(store: Store, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    key = "format" if kind == "format" else key_of(store, kind)
    tamper(store, "UPDATE Cache SET value = ?, mode = 4 WHERE key = ?", pickle.dumps(Bomb()), key)
    with Store(store.path) as fresh, caplog.at_level(logging.WARNING, "autosched.store"):
        fresh.best(gemm(), MACHINE)
        fresh.search_state(gemm(), MACHINE)
        list(fresh.records())
        list(fresh.tasks())
        assert any("it holds a pickle" in line for line in fresh.check())
        fresh.put(record(timed(0.3)))
    assert "it holds a pickle" in caplog.text


@pytest.mark.parametrize("mode", [0, 2, 3, 4])
def test_text_that_calls_itself_something_else_is_not_read(store: Store, mode: int) -> None:
    key = key_of(store, "search")
    tamper(store, "UPDATE Cache SET mode = ? WHERE key = ?", mode, key)
    with Store(store.path) as fresh:
        assert fresh.search_state(gemm(), MACHINE) is None
        assert len(fresh.check()) == 1


def test_a_planted_pickle_file_is_never_loaded(store: Store) -> None:
    (store.path / "planted.val").write_bytes(pickle.dumps(Bomb()))
    key = key_of(store, "best")
    for mode in (2, 3, 4):
        tamper(store, "UPDATE Cache SET value = NULL, filename = 'planted.val', mode = ? WHERE key = ?", mode, key)
        with Store(store.path) as fresh:
            assert fresh.best(gemm(), MACHINE) == record(timed(0.1))
            list(fresh.records())


def test_a_pickled_key_is_never_loaded(store: Store) -> None:
    key = key_of(store, "record")
    tamper(store, "UPDATE Cache SET key = ?, raw = 0 WHERE key = ?", pickle.dumps(Bomb()), key)
    with Store(store.path) as fresh:
        assert len(list(fresh.records())) == 1
        assert any("1 entries have keys that the store never writes" in line for line in fresh.check())


def test_nothing_but_text_goes_in(tmp_path: Path) -> None:
    disk = TextDisk(str(tmp_path))
    assert disk.fetch(*disk.store("text", read=False)[1:], read=False) == "text"
    assert disk.get(*disk.put("key")) == "key"
    for value in (5, 2.5, b"bytes", None, {"a": 1}, Bomb()):
        with pytest.raises(TypeError, match=f"a value of the store is a {type(value).__name__}; give text"):
            disk.store(value, read=False)
        with pytest.raises(TypeError, match=f"a key of the store is a {type(value).__name__}; give text"):
            disk.put(value)
    with pytest.raises(DamageError, match="its key is not text"):
        disk.get(pickle.dumps(Bomb()), raw=False)


def test_long_text_stays_in_the_database(tmp_path: Path) -> None:
    with Store(tmp_path) as store, store._entries.transaction():
        store._entries.write("task/long", "x" * 10**6)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("cache.db")] == ["lock"]


# --- the database -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"once upon a time " * 1000)
    with pytest.raises(
        StoreError, match=rf"store {tmp_path}: cache.db is damaged.*not a database\); autosched doctor --repair saves"
    ):
        Store(tmp_path).best(gemm())


def test_a_database_with_a_hole(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for factor in (2, 4, 8, 16, 32):
            store.put(record(timed(0.1), schedule=tiled(factor=factor)))
            store.put(record(failed=failed(detail="x" * 1900), schedule=tiled(factor=factor)))
    for extra in ("cache.db-wal", "cache.db-shm"):
        (tmp_path / extra).unlink(missing_ok=True)
    database = tmp_path / "cache.db"
    whole = database.read_bytes()
    assert len(whole) > 8 * 4096
    # Whatever page is lost: a right answer, a miss, or a StoreError in one line.
    for page in range(len(whole) // 4096):
        database.write_bytes(whole[: page * 4096] + b"\xa5" * 4096 + whole[(page + 1) * 4096 :])
        said = ""
        try:
            with Store(tmp_path) as store:
                for found in (store.best(gemm(), MACHINE), *store.records()):
                    assert found is None or found.machine == MACHINE
        except StoreError as error:
            said = str(error)
        assert said == "" or (said.startswith(f"store {tmp_path}: ") and "\n" not in said)
        for extra in ("cache.db-wal", "cache.db-shm"):
            (tmp_path / extra).unlink(missing_ok=True)
