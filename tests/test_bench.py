"""The benchmarks' own machinery: whom it times in which order, what it says of the samples, what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.bench.commands import heavy_imports, imported, run_command
from autosched.bench.compiling import count_nodes, spec_renamed
from autosched.bench.contenders import Child, Contender, available_peers, lend_package, peers_named
from autosched.bench.in_process import lookup_times
from autosched.bench.match import _check, make_order
from autosched.bench.numbered import renamed
from autosched.bench.opened import ArrayFile, Order
from autosched.bench.report import (
    Report,
    Row,
    at_least,
    at_most,
    json_from_report,
    spread_row,
    text_from_report,
    yes_row,
)  # fmt: skip
from autosched.bench.rounds import Seat, joined, rates, ratios, spread, take_rounds
from autosched.bench.suite import Options, open_ground
from autosched.bench.works import work
from autosched.search.peak import peak_schedule, peak_task
from autosched.spec.check import check_schedule
from autosched.spec.errors import MeasureError, SpecError
from autosched.spec.rename import schedule_digest
from autosched.spec.spec_file import SpecFile, save_spec
from autosched.spec.task import Task
from autosched.spec.testing import schedules
from autosched.store.machine import this_machine
from autosched.store.records import MEASURED, Measurement, Record, utc_now
from autosched.store.store import Store
from strategies import workloads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autosched.spec.workload import Workload

NUMPY = Contender(name="numpy", module="numpy_blas")


# --- rounds and figures -----------------------------------------------------------------------------------------------


class Scripted:
    """A contender whose samples are written down beforehand; it keeps a log of what was asked."""

    def __init__(self, name: str, log: list[str], samples: list[float], restless: bool = False) -> None:
        self.name, self.log, self.samples, self.restless = name, log, samples, restless

    def sample(self, kernel: str, sample_s: float) -> float:
        self.log.append(f"{self.name}.{kernel}")
        return self.samples.pop(0)

    def settle(self) -> bool:
        self.log.append(f"{self.name} idle")
        return not self.restless


def test_rounds_take_turns_and_wait_until_the_last_is_idle() -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def hold() -> Iterator[None]:
        log.append("held")
        yield
        log.append("let go")

    ours = Scripted("ours", log, [1.0, 2.0, 3.0, 4.0])
    theirs = Scripted("theirs", log, [5.0, 6.0], restless=True)
    seats = [
        Seat(label="tuned", child=ours, kernel="a"),
        Seat(label="theirs", child=theirs, kernel="b"),
        Seat(label="peak", child=ours, kernel="c"),
    ]
    samples, restless = take_rounds(seats, 2, 0.05, hold)
    one = ["held", "ours.a", "ours idle", "theirs.b", "theirs idle", "ours.c", "ours idle", "let go"]
    assert log == one * 2
    assert samples == {"tuned": (1.0, 3.0), "theirs": (5.0, 6.0), "peak": (2.0, 4.0)}
    assert restless == 2


def test_sessions_are_joined_round_by_round() -> None:
    assert joined([{"a": (1.0,), "b": (2.0,)}, {"a": (3.0,), "b": (4.0,)}]) == {"a": (1.0, 3.0), "b": (2.0, 4.0)}


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine became ten times slower half way: the ratio did not change.
    found = ratios((2.0, 2.0, 20.0, 20.0), (1.0, 1.0, 10.0, 10.0))
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="zip"):
        ratios((1.0,), (1.0, 2.0))


def test_rates_and_quartiles() -> None:
    found = rates((0.5, 0.25, 0.2, 0.1, 1.0), 1.0)
    assert (found.low, found.median, found.high, found.count) == (2.0, 4.0, 5.0, 5)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_the_median_lies_between_the_quartiles(values: list[float]) -> None:
    found = spread(values)
    slack = 1e-9 * max(values)
    assert min(values) - slack <= found.low <= found.median + slack
    assert found.median - slack <= found.high <= max(values) + slack


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row(name="a", figure=2.0, unit="x", bar=at_least(2.0)), True),
        (Row(name="a", figure=1.99, unit="x", bar=at_least(2.0)), False),
        (Row(name="a", figure=0.4, unit="s", bar=at_most(0.4)), True),
        (Row(name="a", figure=0.41, unit="s", bar=at_most(0.4)), False),
        (Row(name="a", figure=0.41, unit="s"), None),
        (Row(name="a", figure=None, unit="s", bar=at_most(0.4)), None),
        (yes_row("a", True), True),
        (yes_row("a", False), False),
    ],
)
def test_whether_a_bar_is_met(row: Row, met: bool | None) -> None:
    assert row.met is met


def sample_report() -> Report:
    rows = (
        spread_row("gemm: times torch", spread((1.9, 2.0, 2.1)), "x", at_least(2.0)),
        Row(name="gemm: search", figure=61.2, unit="s", bar=at_most(60)),
        yes_row("lookup: from the store", True),
        Row(name="absent", figure=None, unit="s", detail="why"),
    )
    machine = {"vendor": "AuthenticAMD", "family": 26, "model": 2}
    return Report(
        suite="spine", date="2026-11-23T08:17:00.0Z", machine=machine, versions={"numpy": "2.4"}, threads=2,
        quick=False, rows=rows, notes=("torch is not installed",),
    )  # fmt: skip


def test_a_report_for_people() -> None:
    lines = text_from_report(sample_report()).splitlines()
    cells = [line.split() for line in lines]
    assert cells[1] == ["gemm:", "times", "torch", "2", "x", "1.95", "..", "2.05", ">=", "2", "met"]
    assert cells[2] == ["gemm:", "search", "61.2", "s", "<=", "60", "MISSED"]
    assert cells[3] == ["lookup:", "from", "the", "store", "yes", "met"]
    assert cells[4] == ["absent", "-", "s", "why"]
    assert lines[-2:] == [
        "2026-11-23T08:17Z, 2 threads of AuthenticAMD family 26 model 2; numpy 2.4",
        "torch is not installed",
    ]


def test_a_report_for_programs() -> None:
    found = json.loads(json_from_report(sample_report()))
    assert {"suite", "date", "machine", "versions", "threads", "quick", "rows", "notes"} == found.keys()
    assert [row["met"] for row in found["rows"]] == [True, False, True, None]
    assert found["rows"][0]["bar"] == {"limit": 2.0, "sense": ">="}
    assert (found["rows"][0]["low"], found["rows"][0]["high"]) == (1.95, 2.05)


# --- contenders -------------------------------------------------------------------------------------------------------


def gemm_order(folder: Path, size: int = 64) -> tuple[Order, np.ndarray]:
    """An order for a product of small random matrices, and what comes out."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((size, size), dtype="float32") for _ in range(2)]
    inputs = []
    for number, array in enumerate(arrays):
        path = folder / f"{number}.npy"
        np.save(path, array.reshape(-1).view("uint8"))
        inputs.append(ArrayFile(path=str(path), shape=[size, size], dtype="float32"))
    order = Order(
        op="gemm", args={}, inputs=inputs, output=ArrayFile(path="", shape=[size, size], dtype="float32"),
        threads=1, cpus=[min(os.sched_getaffinity(0))], specs={}, store="", found="",
    )  # fmt: skip
    return order, arrays[0] @ arrays[1]


def test_a_contender_computes_in_a_process_of_its_own(tmp_path: Path) -> None:
    order, expected = gemm_order(tmp_path)
    with Child(NUMPY, 1, tmp_path) as child:
        opened = child.open(order, 0.1)
        assert opened == {"version": np.__version__, "threads": {"eager": 1}}
        assert 1e-7 < child.sample("eager", 0.002) < 1.0
        assert child.settle()
        child.ask({"do": "save", "kernel": "eager", "path": str(tmp_path / "found.npy")})
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, rtol=1e-4, atol=1e-4)


def test_a_contender_that_ends_is_an_error_of_ours(tmp_path: Path) -> None:
    with (
        Child(Contender(name="nobody", module="no_such_module"), 1, tmp_path) as child,
        pytest.raises(MeasureError, match="contender 'nobody' ended with status 1; what it complained of"),
    ):
        child.open(gemm_order(tmp_path)[0], 0.1)


def test_unknown_peers_are_refused_and_absent_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="unknown peer 'blas'; allowed: torch, numpy"):
        peers_named(["numpy", "blas"])
    monkeypatch.setattr("autosched.bench.contenders.is_installed", lambda peer: peer.name != "torch")
    peers, lines = available_peers(["torch", "numpy"])
    assert [peer.name for peer in peers] == ["numpy"]
    assert lines == ("torch is not installed, its rows are left out: pip install 'autosched[bench]'",)


def test_a_foreign_environment_needs_nothing_of_ours(tmp_path: Path) -> None:
    lent = lend_package(tmp_path)
    code = "import sys, autosched.bench.child, autosched.bench.opened; print('attrs' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(lent)}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "False\n", done.stderr


PINNED = """
import hashlib, os, sys, threading
from autosched.bench.threads import pin_working, working_threads

def compute(rounds=200_000):
    hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)  # without the interpreter's lock

def background():
    while True:
        compute()

for _ in range(int(sys.argv[1])):
    threading.Thread(target=background, daemon=True).start()
cpus = sorted(os.sched_getaffinity(0))[:1]
print(pin_working(compute, cpus, 0.4), sorted(os.sched_getaffinity(0)) == cpus, flush=True)
os._exit(0)
"""


@pytest.mark.system
@pytest.mark.parametrize(("others", "said"), [("0", "1 True"), ("1", "2 threads compute, 1 were asked for")])
def test_threads_that_compute_are_found_and_pinned(others: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PINNED, others], capture_output=True, text=True, check=False, timeout=60
    )
    assert said in done.stdout + done.stderr


def test_wrong_numbers_end_the_match(tmp_path: Path) -> None:
    product = work("gemm_8", "gemm", N=8, K=8, M=8)
    with open_ground(Options(threads=1, against=(), quick=True), print) as ground:
        task = product.task(1)
        order, reference = make_order(ground, product, {})
        with Child(NUMPY, 1, tmp_path) as child:
            child.open(order, 0.1)
            _check(ground, task, reference, child, "eager")
            expected = np.load(reference / "expected0.npy")
            expected[3, 4] += 1
            np.save(reference / "expected0.npy", expected)
            with pytest.raises(MeasureError, match=r"numpy gives wrong numbers: C\[3, 4\] is .*; 1 of 64 elements"):
                _check(ground, task, reference, child, "eager")


# --- commands and calls -----------------------------------------------------------------------------------------------


def test_imports_are_read_from_pythons_account() -> None:
    account = "noise\n" + "".join(
        f"import time:       186 |        186 |   {name}\n" for name in ("encodings", "numpy.linalg", "tvmish")
    )
    assert imported(account, ("tvm", "numpy")) == ("numpy",)
    with pytest.raises(MeasureError, match="said nothing"):
        imported("", ("tvm",))


@pytest.mark.system
def test_commands_are_run_as_users_do() -> None:
    assert "gemm" in run_command(("tasks",)).output
    assert heavy_imports(("tasks",)) == ()
    with pytest.raises(MeasureError, match=r"autosched show nothing\.json exited with 2: autosched: no file"):
        run_command(("show", "nothing.json"))


def test_a_renamed_schedule_is_as_good() -> None:
    other = renamed(peak_schedule(), "_7")
    assert other.stagings[0].as_ == "P.acc_7"
    check_schedule(other, peak_task(2).workload)


def test_lookups_are_of_texts_never_read(tmp_path: Path) -> None:
    from autosched.spec.claim import Protocol
    from autosched.store.leaders import read_best

    task = peak_task(1)
    save_spec(SpecFile(task=task, schedule=peak_schedule()), tmp_path / "spec.json")
    measured = Measurement(
        samples_s=(1.0,), verified=True, accuracy="exact", origin=MEASURED, date=utc_now()
    )  # fmt: skip
    with Store(tmp_path / "store") as store:
        store.put(
            Record(
                task=task, schedule=peak_schedule(), machine=this_machine(), protocol=Protocol(threads=1),
                measurements=(measured,),
            )
        )  # fmt: skip
    before = read_best.cache_info()
    found = lookup_times(str(tmp_path / "store"), str(tmp_path / "spec.json"), 6)
    after = read_best.cache_info()
    assert {kind: len(samples) for kind, samples in found.items()} == {
        "fresh_task": 3, "fresh_text": 3, "repeated": 6,
    }  # fmt: skip
    assert after.misses - before.misses == 1 + 6  # the record itself, then each of the others
    assert all(0 < s < 1 for samples in found.values() for s in samples)


def test_an_unknown_suite_is_bad_input() -> None:
    with pytest.raises(MeasureError, match="exited with 2: autosched: unknown suite 'spin'; allowed: spine, compiler"):
        run_command(("bench", "spin"))


def test_json_nodes_are_values_not_keys() -> None:
    assert count_nodes({"a": [1, {"b": None}], "c": "text"}) == 6


@given(workload=workloads(), data=st.data())
def test_a_spec_under_other_names_is_equal_and_shares_none(workload: Workload, data: st.DataObject) -> None:
    task = Task(workload=workload, threads=1)
    spec = SpecFile(task=task, schedule=data.draw(schedules(task)))
    other = spec_renamed(spec, "_7")
    assert other.task.identity == task.identity
    assert schedule_digest(other.schedule, other.task.names) == schedule_digest(spec.schedule, task.names)
    assert not {*workload.buffers} & {*other.task.workload.buffers}


@pytest.mark.slow
def test_the_compiler_suite_runs_on_small_shapes() -> None:
    found = run_command(("bench", "compiler", "--quick", "--threads", "1", "--json")).json()
    rows = {row["name"]: row for row in found["rows"]}
    assert all(row["bar"] is None for row in rows.values())
    for name in (
        "JSON to checked, 1 to 150 nodes, fresh", "JSON to checked, 1 to 150 nodes, read", "check and lower, one stage",
        "check and lower, four stages", "lookup hit, fresh_text", "lookup hit, repeated",
    ):  # fmt: skip
        assert rows[name]["figure"] > 0, name


@pytest.mark.slow
def test_the_spine_runs_on_small_shapes(tmp_path: Path) -> None:
    ran = run_command(("bench", "spine", "--quick", "--trials", "3", "--against", "numpy", "--json"))
    found = ran.json()
    rows = {row["name"]: row for row in found["rows"]}
    assert found["quick"]
    assert all(row["bar"] is None for row in rows.values())
    assert rows["gemm_128: trials"]["figure"] == 3
    for name in (
        "gemm_128: numpy", "gemm_128: peak", "gemm_128: tuned", "gemm_128: default, of tuned",
        "gemm_128: example, time", "conv2d_8_14_16: of the peak", "lookup: whole process",
        "run FILE: time of a call", "lowering", "lookup hit, repeated", "lookup hit, fresh_text",
    ):  # fmt: skip
        assert rows[name]["figure"] > 0, name
    for name in ("tune again: from the store", "lookup: without TVM and NumPy", "run FILE: right numbers"):
        assert rows[name]["figure"] == 1, name


@pytest.mark.slow
def test_the_measuring_suite_runs_on_small_shapes() -> None:
    ran = run_command(("bench", "measuring", "--quick", "--trials", "3", "--json"))
    rows = {row["name"]: row for row in ran.json()["rows"]}
    assert all(row["bar"] is None for row in rows.values())
    assert rows["gemm_128: trials a second"]["figure"] > 0
    assert 0 < rows["gemm_128: building and running"]["figure"] < 1
    assert rows["gemm_128: slowest of 2 winners"]["figure"] >= 1
