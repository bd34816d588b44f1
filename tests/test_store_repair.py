"""A database that is damaged: what its pages still hold goes into a new one, the rest is reported."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import store_flips
from autosched.spec.errors import StoreError
from autosched.store.log import frames
from autosched.store.pages import TABLE_LEAF, PageError, columns, pages_of, varint
from autosched.store.store import Store
from cli_calls import call
from store_cases import MACHINE, gemm, numbered, record, timed
from store_flips import PAGE, apply, keys, random_flips, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was closed."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    store_flips.make(folder, logged=False)
    return folder


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose process was killed, with a log."""
    folder = tmp_path_factory.mktemp("logged") / "store"
    store_flips.make(folder, logged=True)
    assert (folder / "cache.db-wal").stat().st_size > 0
    return folder


def copy(store: Path, to: Path) -> Path:
    return Path(shutil.copytree(store, to / "store"))


@contextlib.contextmanager
def changed(folder: Path) -> Iterator[bytearray]:
    """The bytes of the database, which go back into it."""
    database = folder / "cache.db"
    data = bytearray(database.read_bytes())
    yield data
    database.write_bytes(data)


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_hold_what_sqlite_reads(whole: Path) -> None:
    with contextlib.closing(sqlite3.connect(whole / "cache.db")) as connection:
        expected = set(connection.execute("SELECT key, raw, store_time, mode, value FROM Cache"))
    with (whole / "cache.db").open("rb") as file:
        pages = pages_of(file)
        rows = [row for n in pages.numbers for row in pages.rows(n, (TABLE_LEAF,), 10**6) if len(row) == 12]
    assert {(row[1], row[2], row[3], row[9], row[11]) for row in rows} == expected


def test_long_rows_are_read_over_their_pages(tmp_path: Path) -> None:
    values = [None, -5, 2**40, 0.25, "é" * 3000, "x" * 20_000, b"\x00\xff" * 4000, 1, 0]
    with contextlib.closing(sqlite3.connect(tmp_path / "some.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a, b, c, d, e, f, g, h, i)")
        connection.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    with (tmp_path / "some.db").open("rb") as file:
        pages = pages_of(file)
        assert list(pages.rows(2, (TABLE_LEAF,), 10**6)) == [tuple(values)]
        assert list(pages.rows(2, (TABLE_LEAF,), 10**4)) == [], "a row that is too large is left out"
        assert list(pages.rows(99, (TABLE_LEAF,), 10**6)) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_a_row_or_a_page_error(data: bytes) -> None:
    with contextlib.suppress(PageError, IndexError, UnicodeDecodeError, struct.error):
        columns(data)
    with contextlib.suppress(IndexError):
        value, end = varint(data, 0)
        assert 0 <= value < 2**64
        assert 1 <= end <= 9


# --- repair -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 2, 3, 4, 5, 9])
def test_a_lost_page_takes_only_itself(whole: Path, tmp_path: Path, page: int) -> None:
    folder = copy(whole, tmp_path)
    with changed(folder) as data:
        data[page * PAGE : (page + 1) * PAGE] = b"\xa5" * PAGE
    with Store(folder) as store:
        lines = store.check(repair=True)
        assert any("entries saved into a new one; the damaged one is kept as" in line for line in lines)
        assert store.check() == ()
        held = set(store._entries.keys(""))
        lost = {line.removesuffix(": is lost") for line in lines if line.endswith(": is lost")}
        assert held | lost >= keys()
        assert len(keys() - held) < 12, "a page holds a few rows"
        store.put(record(timed(0.5)))
    assert (folder / "cache.db.damaged-1").exists()
    assert not (folder / "repaired").exists()


def test_a_store_without_its_first_page_has_all_its_entries(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    with changed(folder) as data:
        data[:PAGE] = bytes(PAGE)
    with pytest.raises(StoreError, match="autosched doctor --repair saves the entries that can still be read"):
        Store(folder).best(gemm(), MACHINE)
    Store(folder).check(repair=True)
    seen = read_all(folder)
    assert (seen.missing, seen.wrong, seen.error) == (0, [], "")


@pytest.mark.parametrize("place", [0, 9, 17, 25, 32, 40, 45, 60, 5000])
def test_a_damaged_log_is_not_dropped_without_a_word(logged: Path, tmp_path: Path, place: int) -> None:
    folder = copy(logged, tmp_path)
    with (folder / "cache.db-wal").open("r+b") as log:
        log.seek(place)
        (byte,) = log.read(1)
        log.seek(place)
        log.write(bytes([byte ^ 0x10]))
    with pytest.raises(StoreError, match="its log has entries that SQLite would drop"):
        Store(folder).best(gemm(extent=16), MACHINE)
    Store(folder).check(repair=True)
    assert (folder / "cache.db.damaged-1-wal").exists()
    seen = read_all(folder)
    assert (seen.missing, seen.wrong, seen.error) == (0, [], "")


def test_a_log_with_an_uncommitted_end_is_whole(logged: Path, tmp_path: Path) -> None:
    folder = copy(logged, tmp_path)
    with (folder / "cache.db-wal").open("rb") as log:
        found = list(frames(log))
    assert all(frame.is_whole for frame in found)
    last = max(number for number, frame in enumerate(found) if frame.commits)
    with (folder / "cache.db-wal").open("r+b") as log:
        log.truncate(found[last].place + PAGE)
        log.seek(0, 2)
        log.write(log_bytes(folder, found[last].place - 24)[:16].ljust(24 + PAGE, b"x"))
        log.seek(found[last].place + PAGE + 4)
        log.write(bytes(4))  # no commit
    seen = read_all(folder)
    assert (seen.missing, seen.wrong, seen.error) == (0, [], "")


def log_bytes(folder: Path, place: int) -> bytes:
    return (folder / "cache.db-wal").read_bytes()[place : place + 24]


def test_the_leader_gives_a_lost_record_back(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("DELETE FROM Cache WHERE key LIKE 'record/%'")
    with Store(folder) as store:
        before = store.best(gemm(extent=16), MACHINE)
        store.check(repair=True)
        assert store.best(gemm(extent=16), MACHINE) == before
        assert len(list(store.records())) == len(store_flips.EXTENTS)
        assert store.check() == ()


def test_a_store_that_another_has_open_is_not_repaired(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT COUNT(*) FROM Settings').fetchall();"
        "print('open', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(folder / "cache.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with changed(folder) as data:
            data[3 * PAGE :] = b"\xa5" * (len(data) - 3 * PAGE)
        with pytest.raises(StoreError, match="another process has it open; end it, then repair"):
            Store(folder).check(repair=True)
        other.communicate("\n", timeout=30)
    assert "entries saved into a new one" in " ".join(Store(folder).check(repair=True))


def test_a_layout_whose_name_is_not_utf8_is_damage(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    with changed(folder) as data:
        place = data.index(b"indexCache_key_raw")
        data[place + 8] = 0xAD
    with pytest.raises(StoreError, match=r"cache\.db is damaged"):
        Store(folder).best(gemm(extent=16), MACHINE)
    Store(folder).check(repair=True)
    assert read_all(folder).missing == 0


def test_what_is_written_after_the_folder_was_replaced_is_not_lost(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.put(numbered(1))
        os.rename(tmp_path / "store", tmp_path / "away")  # noqa: PTH104 # as another program does
        store.put(numbered(2))
        with Store(tmp_path / "store") as fresh:
            assert [r.schedule for r in fresh.records()] == [numbered(2).schedule]


def test_the_doctor_says_what_was_saved_and_lost(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    with changed(folder) as data:
        place = data.index(b'"spec":1,"schedule"')  # of some record, or of a leader
        data[place] ^= 1
        data[:100] = bytes(100)
    done = call("doctor", "--no-peak", "--store", str(folder))
    assert done.exit_code == 1
    assert "cache.db is damaged" in done.stderr
    done = call("doctor", "--no-peak", "--repair", "--store", str(folder))
    assert done.exit_code == 0, done.stderr
    assert "entries saved into a new one; the damaged one is kept as" in done.stdout
    assert ": is lost" in done.stdout
    assert call("doctor", "--no-peak", "--store", str(folder)).exit_code == 0


# --- one byte ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["whole", "logged"])
def test_one_changed_byte_never_gives_a_wrong_value(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    template: Path = request.getfixturevalue(kind)
    rng = random.Random(20)
    for number, flip in enumerate(random_flips(template, 6, rng)):
        folder = copy(template, tmp_path / str(number))
        apply(flip, folder)
        found = store_flips.outcome(folder)
        assert found.wrong == [], flip
