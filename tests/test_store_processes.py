"""Many processes on one store: nothing acknowledged is lost, whoever writes at once and whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autosched.store.store import Store
from store_cases import MACHINE, gemm, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from autosched.store.records import Record

# Each writer puts records of schedules that are told apart by `unroll_limit`, and says so once each is put.
WRITER = """
import sys
sys.path[:0] = [sys.argv[1]]
from store_cases import numbered
from autosched.store.store import Store
store, first, count = Store(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + count):
    store.put(numbered(number))
    print(number, flush=True)
"""


def number_of(found: Record) -> int:
    limit = found.schedule.nests[0].unroll_limit
    assert limit is not None
    return limit


def writer(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(Path(__file__).parent), str(folder), str(first), str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    # The store is not there yet: they also race to make it.
    writers = [writer(tmp_path / "store", first, 40) for first in (0, 100, 200)]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        begin(process)
    for process in writers:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(out.split()) == 40
    with Store(tmp_path / "store") as store:
        found = {number_of(r) for r in store.records()}
        assert found == {first + i for first in (0, 100, 200) for i in range(40)}
        best = store.best(gemm(), MACHINE)
        assert best is not None
        assert number_of(best) == 0
        assert store.check() == ()


def test_writers_of_one_record_lose_nothing(tmp_path: Path) -> None:
    code = WRITER.replace("numbered(number)", "dated(number)").replace("import numbered", "import dated")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path), str(first), "30"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for first in (0, 100)
    ]  # fmt: skip
    for process in writers:
        begin(process)
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Store(tmp_path) as store:
        (united,) = store.records()
        assert [m.date for m in united.measurements] == [f"day {first + i:03}" for first in (0, 100) for i in range(30)]


@pytest.mark.parametrize("after", [1, 20])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, after: int) -> None:
    process = writer(tmp_path / "store", 0, 10_000)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begin(process)
    acknowledged = [int(process.stdout.readline()) for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    with Store(tmp_path / "store") as store:
        found = {number_of(r) for r in store.records()}
        assert found >= set(acknowledged)
        assert len(found) <= len(acknowledged) + 1, "at most the one under way"
        assert store.check() == ()
        best = store.best(gemm(), MACHINE)
        assert best is not None
        assert number_of(best) == 0
        store.put(numbered(99_999))  # nobody holds a lock any more


@pytest.mark.parametrize("delay_s", [0.0, 0.004, 0.012])
def test_a_process_killed_while_it_makes_the_store_leaves_one_that_can_be_used(tmp_path: Path, delay_s: float) -> None:
    process = writer(tmp_path / "store", 0, 1)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begin(process)
    time.sleep(delay_s)
    process.kill()
    process.communicate(timeout=60)
    with Store(tmp_path / "store") as store:
        assert len(list(store.records())) <= 1
        store.put(numbered(5))
        assert 5 in {number_of(r) for r in store.records()}
        assert store.check() == ()


def in_threads(work: Callable[[int], None], count: int) -> list[BaseException]:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 # given back to the test, which shows it
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def work(thread: int) -> None:
        with store:  # each thread has a connection of its own, and closes it
            for number in range(thread * 10, thread * 10 + 10):
                store.put(numbered(number))
                assert store.best(gemm(), MACHINE) is not None

    assert in_threads(work, 4) == []
    assert {number_of(r) for r in store.records()} == set(range(40))
    assert store.check() == ()
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_writes_too(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.put(numbered(0))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.put(numbered(1))
                code = 0
            finally:
                os._exit(code)
        store.put(numbered(2))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert {number_of(r) for r in store.records()} == {0, 1, 2}
        assert store.check() == ()


DAMAGER = """
import contextlib, sqlite3, sys
sys.path[:0] = [sys.argv[1]]
from store_cases import MACHINE, gemm, numbered
from autosched.store.store import Store
store = Store(sys.argv[2])
for number in range(60):
    with contextlib.closing(sqlite3.connect(store.path / "cache.db", timeout=60)) as connection, connection:
        connection.execute("UPDATE Cache SET value = 'broken' WHERE key LIKE 'record/%' OR key LIKE 'best/%'")
    put = numbered(0)
    store.put(put)
    assert store.get(gemm(), put.schedule, MACHINE) is not None, f"round {number}: what was mended is gone"
    assert store.best(gemm(), MACHINE) is not None, f"round {number}: its leader is gone"
"""


def test_repair_takes_nothing_that_another_has_mended(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.put(numbered(0))
        damager = subprocess.Popen(
            [sys.executable, "-c", DAMAGER, str(Path(__file__).parent), str(folder)], stderr=subprocess.PIPE, text=True
        )
        while damager.poll() is None:
            store.check(repair=True)
        assert damager.stderr is not None
        assert damager.returncode == 0, damager.stderr.read()
        damager.stderr.close()
        store.check(repair=True)
        assert store.check() == ()
        assert store.best(gemm(), MACHINE) is not None
