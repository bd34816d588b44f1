"""``autosched doctor``: what it says, what it finds wrong, what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autosched.search import bandwidth
from autosched.spec.cores import available_cores
from autosched.spec.errors import MeasureError
from autosched.store.keys import machine_key
from autosched.store.machine import this_machine
from autosched.store.speeds import Speeds
from autosched.store.store import Store
from cli_calls import call

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pretend_speeds(monkeypatch: pytest.MonkeyPatch, one: float, each_other: float) -> None:
    """One thread alone does `one` GFLOP/s, every other one `each_other` more."""

    def speeds(threads: int) -> Speeds:
        total = one + each_other * (threads - 1)
        rates = dict.fromkeys(("l2_bytes", "l3_bytes", "memory_bytes"), 1e10)
        here = machine_key(this_machine())
        return Speeds(machine=here, threads=threads, flops=total * 1e9, **rates, region_s=1e-6, date="2026-11-28")

    monkeypatch.setattr(bandwidth, "measure_speeds", speeds)
    monkeypatch.setattr(bandwidth, "fma_peak_gflops", lambda threads: one + each_other * (threads - 1))


def test_doctor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_speeds(monkeypatch, 100.0, 100.0)
    done = call("doctor", "--store", "none", "--no-peak")
    assert not (folder / "none").exists()
    assert "ceiling" not in done.stdout
    done = call("doctor", "--store", "none")
    assert done.exit_code == 0, done.stderr
    names = {line[:16].strip() for line in done.stdout.splitlines()}
    expected = {"apache-tvm", "apache-tvm-ffi", "TVM pair", "machine", "fingerprint", "vector flags", "cores", "store"}
    assert names == {*expected, "ceiling", "bandwidth", "", "parallel loop", "kept"}
    assert "TVM pair         the one autosched is installed with" in done.stdout
    assert Store("none").speeds(this_machine(), available_cores()) is not None


def test_doctor_finds_threads_that_share_a_core(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autosched import cli_doctor

    monkeypatch.setattr(cli_doctor, "available_cores", lambda: 2)
    pretend_speeds(monkeypatch, 101.0, 1.0)
    done = call("doctor", "--store", "none")
    assert done.exit_code == 1
    assert not (folder / "none").exists(), "such speeds are not kept"
    assert "102 GFLOP/s float32 on 2 threads, 101 on one" in done.stdout
    assert "2 threads together are 1.01 times as fast as one; they share cores, or other programs run" in done.stderr
    pretend_speeds(monkeypatch, 100.0, 90.0)
    assert call("doctor", "--store", "none").exit_code == 0


def test_doctor_says_what_is_wrong_and_repairs(spec_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def fail(_: int) -> float:
        raise MeasureError("the workers cannot start")

    with sqlite3.connect(folder / "store" / "cache.db") as database:
        database.execute("UPDATE Cache SET value = 'damaged' WHERE key LIKE 'best/%'")
    database.close()
    monkeypatch.setattr(bandwidth, "measure_speeds", fail)
    done = call("doctor")
    assert done.exit_code == 1
    assert "wrong: ceiling: the workers cannot start" in done.stderr
    assert "autosched doctor --repair saves what is whole" in done.stderr
    assert "repaired" in call("doctor", "--repair", "--no-peak").stdout
    assert call("doctor", "--no-peak").exit_code == 0
    assert call("lookup", "--spec", spec_file).exit_code == 0
