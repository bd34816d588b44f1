"""The store under load and damage, in its short form."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import run_store_faults
import store_load

if TYPE_CHECKING:
    from pathlib import Path


def test_the_short_form() -> None:
    command = [sys.executable, run_store_faults.__file__, "--short", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| `kill -9` of a writer, meanwhile | 3 |" in done.stdout


def test_what_is_lost_is_seen(tmp_path: Path) -> None:
    with store_load.Store(tmp_path / "store") as store:
        store.put(store_load.written(1))
    load = store_load.Load(writers=0, writes=0, readers=0, kills=0)
    assert store_load.run(tmp_path, load, 0).lost == ()
    writers = store_load.Writers(tmp_path, load)
    assert writers.put() == []
    (tmp_path / "acknowledged-0").write_text("1\n2\n")
    load = store_load.Load(writers=1, writes=2, readers=0, kills=0)
    assert store_load.run(tmp_path, load, 0).lost == (2,)
