"""The command line between stores and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from autosched.spec.spec_file import load_spec
from autosched.store.exporting import all_entries
from autosched.store.store import Store
from cli_calls import call
from store_cases import failed, gemm, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path) -> Store:
    store = Store(folder / "store")
    store.put(record(timed(0.1)))
    store.put(record(timed(0.2), task=gemm(extent=32), schedule=tiled(extent=32)))
    store.put(record(failed=failed(), schedule=tiled(factor=2)))
    return store


def test_export_and_import(folder: Path) -> None:
    fill(folder)
    done = call("export", "-o", "specs")
    assert (done.exit_code, done.stdout) == (0, "specs: 2 files, 2 schedules of 2 tasks\n")
    assert all(load_spec(file).claims for file in (folder / "specs").iterdir())
    (folder / "specs" / "bad.json").write_text("{")
    done = call("import", "specs", "--store", "theirs")
    assert done.exit_code == 2, "some were bad; the others are there"
    assert done.stdout == f"imported: 2 records from 2 files into {folder}/theirs\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("specs/bad.json: not JSON at line 1, column 2: ")
    assert call("import", "specs/bad.json", "--store", "theirs").exit_code == 2
    (folder / "specs" / "bad.json").unlink()
    done = call("import", "specs", "--store", "theirs", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"files": 2, "records": 2, "left_out": 0, "refused": []})


def test_a_store_is_rebuilt(folder: Path) -> None:
    store = fill(folder)
    done = call("export", "--all", "-o", "all.jsonl", "--json")
    assert json.loads(done.stdout) == {"path": "all.jsonl", "files": 1, "records": 3, "tasks": 2}
    done = call("rebuild", "all.jsonl", "--store", "again")
    assert (done.exit_code, done.stdout) == (0, f"put back: 3 records from 1 file into {folder}/again\n")
    for _, task in store.tasks():
        assert list(all_entries(Store("again"), task)) == list(all_entries(store, task))
    done = call("import", "all.jsonl", "--store", "claims")
    assert done.stdout == f"imported: 2 records from 1 file into {folder}/claims; 1 without a claim left out\n"


def test_there_must_be_something_to_export(folder: Path) -> None:
    done = call("export", "-o", "specs")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"autosched: store {folder}/store: nothing to export; autosched tune finds what")
    fill(folder)
    done = call("export", "-o", "no/such/x.json")
    assert done.exit_code == 2
    assert "no folder" in done.stderr
