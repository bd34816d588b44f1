"""The suite `store`: its stores are what the store itself would write, and their tasks are found."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from autosched.bench.filling import fill
from autosched.bench.in_store import lookup_times
from autosched.bench.numbered import numbered_task
from autosched.spec.spec_file import SpecFile, save_spec
from autosched.store.machine import this_machine
from autosched.store.store import Store
from store_cases import gemm, record, timed

if TYPE_CHECKING:
    from pathlib import Path


def rows(folder: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(folder / "cache.db")) as connection:
        return dict(connection.execute("SELECT key, value FROM Cache"))


def test_a_filled_store_has_what_puts_would_write(tmp_path: Path) -> None:
    fill(tmp_path / "filled", record(timed(0.1), timed(0.2, baseline_s=(0.4,), date="2026-12-01")), 3, 4)
    with Store(tmp_path / "filled") as filled, Store(tmp_path / "put") as put:
        records = list(filled.records())
        assert len(records) == 12
        for each in records:
            put.put(each)
        assert filled.check() == put.check() == ()
    assert rows(tmp_path / "filled") == rows(tmp_path / "put")


def test_lookups_hit_each_task(tmp_path: Path) -> None:
    first = record(timed(0.1), machine=this_machine())
    fill(tmp_path / "store", first, 20, 2)
    save_spec(SpecFile(task=first.task, schedule=first.schedule), tmp_path / "task.json")
    found = lookup_times(str(tmp_path / "store"), str(tmp_path / "task.json"), 20, 15)
    assert {kind: len(samples) for kind, samples in found.items()} == {"known": 15, "fresh": 15, "missed": 15}
    with pytest.raises(AssertionError):
        lookup_times(str(tmp_path / "store"), str(tmp_path / "task.json"), 40, 40)


def test_numbered_tasks_are_tasks_of_their_own() -> None:
    assert len({str(numbered_task(gemm(), number)) for number in range(9)}) == 9
