"""The sweeps of the benchmarks: which works they take, whom they compare, and what they say of many works at once."""

from __future__ import annotations

import importlib
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.bench.arrays import input_arrays
from autosched.bench.commands import run_command
from autosched.bench.figures import fastest, geometric_mean, mean_rows
from autosched.bench.match import PEAK, TUNED, Match
from autosched.bench.opened import ArrayFile, Order
from autosched.bench.report import at_least
from autosched.bench.suite import Options, open_ground
from autosched.bench.suites import gemm, yolo
from autosched.bench.sweep import DEFAULT, Entry, all_rows, entry_rows, wanted
from autosched.bench.tuned import Tuned
from autosched.bench.works import Work, work
from autosched.spec.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PRODUCT = work("gemm_8", "gemm", N=8, K=8, M=8)


def entry(tmp_path: Path, name: str, **seconds: float) -> Entry:
    """A work whose contenders took so long, the tuned kernel one second."""
    each = Work(name=name, op=PRODUCT.op, args=PRODUCT.args)
    times = {TUNED: 1.0, DEFAULT: 1.25, PEAK: 0.5, **{label.replace("_", " "): s for label, s in seconds.items()}}
    samples = {label: (s, s, s) for label, s in times.items()}
    tuned = Tuned(work=each, spec=tmp_path, source="search", trials=8, wall_s=2.0)
    return Entry(tuned=tuned, match=Match(work=each, samples=samples, threads={}, peak_gflop=each.gflop()))


def test_the_layers_are_those_of_the_paper() -> None:
    shapes = {each.name: tuple(dict(each.args).values()) for each in yolo.LAYERS}
    assert list(shapes) == [f"C{number}" for number in range(1, 16)]
    assert shapes["C1"] == (1, 3, 448, 448, 64, 7, 7, 2, 3)
    assert shapes["C3"] == (1, 192, 56, 56, 128, 1, 1, 1, 0)
    assert shapes["C14"] == (1, 1024, 14, 14, 1024, 3, 3, 2, 1)
    assert round(sum(each.gflop() for each in yolo.LAYERS), 1) == 31.0
    assert yolo.PEAK_BARS.keys() <= shapes.keys()


def test_the_products_double() -> None:
    sizes = [dict(each.args)["K"] for each in gemm.PRODUCTS]
    assert sizes == [2**power for power in range(5, 12)]
    assert set(gemm.LARGE) == {each.name for each in gemm.PRODUCTS if dict(each.args)["K"] >= 512}


def test_some_works_of_a_sweep_are_asked_for() -> None:
    def chosen(*names: str) -> list[str]:
        with open_ground(Options(threads=1, against=(), works=names), print) as ground:
            return [each.name for each in wanted(ground, yolo.LAYERS)]

    assert chosen("C13", "C2") == ["C2", "C13"], "in the sweep's order"
    assert chosen() == [each.name for each in yolo.LAYERS]
    with pytest.raises(SpecError, match="unknown work 'C16'; allowed: C1, C2"):
        chosen("C16")


def test_the_fastest_layout_is_the_column(tmp_path: Path) -> None:
    found = entry(tmp_path, "a", torch=3.0, torch_channels_last=2.0, torch_packed=4.0, numpy=2.5)
    rows = {row.name: row for row in entry_rows(found, 0.4)}
    assert rows["a: torch best"].detail == "channels last"
    assert rows["a: torch best"].figure == pytest.approx(PRODUCT.gflop() / 2.0)
    assert rows["a: times torch"].figure == 3.0
    assert rows["a: times torch best"].figure == 2.0
    assert rows["a: times the best of torch and numpy"].figure == 2.5
    assert rows["a: of the peak"].met
    assert rows["a: default, of tuned"].figure == 0.8
    assert rows["a: search"].figure == 2.0
    assert "a: torch packed" not in rows


def test_who_is_absent_has_no_rows(tmp_path: Path) -> None:
    found = entry(tmp_path, "a")
    assert fastest(found.match, ["torch", "numpy"]) is None
    names = [row.name for row in entry_rows(found, None)]
    assert names == ["a: search", "a: tuned", "a: default", "a: peak", "a: of the peak", "a: default, of tuned"]
    assert list(all_rows("times torch", [found], lambda e: e.times_torch)) == []


def test_what_is_said_of_all_works(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "a", torch=4.0), entry(tmp_path, "b", torch=1.0), entry(tmp_path, "c")]
    mean, least = all_rows("times torch", entries, lambda e: e.times_torch, mean=at_least(2.1), least=at_least(1.0))
    assert (mean.figure, mean.met, mean.detail) == (pytest.approx(2.0), False, "of 2 works")
    assert (least.figure, least.met, least.detail) == (1.0, True, "b")


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_a_geometric_mean_lies_between_and_scales(values: list[float], factor: float) -> None:
    found = geometric_mean(values)
    assert min(values) * (1 - 1e-9) <= found <= max(values) * (1 + 1e-9)
    assert math.isclose(geometric_mean([factor * value for value in values]), factor * found, rel_tol=1e-9)
    (mean, least) = mean_rows("x", {str(number): value for number, value in enumerate(values)})
    assert least.figure <= mean.figure * (1 + 1e-9)


# --- PyTorch in other layouts -----------------------------------------------------------------------------------------


def order_of(folder: Path, each: Work) -> tuple[Order, list[np.ndarray]]:
    """An order with random inputs, and these."""
    task = each.task(1)
    rng = np.random.default_rng(0)
    files = []
    for number, buffer in enumerate(task.workload.inputs):
        path = folder / f"{number}.npy"
        np.save(path, rng.standard_normal(buffer.shape, dtype="float32").reshape(-1).view("uint8"))
        files.append(ArrayFile(path=str(path), shape=list(buffer.shape), dtype="float32"))
    result = task.workload.buffers[task.workload.outputs[0]]
    order = Order(
        op=each.op, args=each.all_args(), inputs=files,
        output=ArrayFile(path="", shape=list(result.shape), dtype="float32"),
        threads=1, cpus=[min(os.sched_getaffinity(0))], specs={}, store="", found="",
    )  # fmt: skip
    return order, input_arrays(order)


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "each",
    [
        work("product", "gemm", N=20, K=30, M=40),
        work("layer", "conv2d", N=1, C=8, H=9, W=9, K=16, R=3, S=3, stride=2, padding=1),
        work("finished", "conv2d", N=1, C=8, H=9, W=9, K=16, R=1, S=1, bias=True, relu=True),
        work("groups", "conv2d", N=1, C=8, H=9, W=9, K=16, R=3, S=3, groups=2),
    ],
    ids=lambda each: each.name,
)
def test_every_layout_computes_the_same(tmp_path: Path, each: Work, torch: ModuleType) -> None:
    layouts: Any = importlib.import_module("autosched.bench.peers.torch_layouts")
    order, _ = order_of(tmp_path, each)
    opened = layouts.open_contender(order)
    assert next(iter(opened.kernels)) == "eager"
    assert len(opened.kernels) >= 3
    expected = opened.output("eager")
    for kernel in opened.kernels:
        np.testing.assert_allclose(opened.output(kernel), expected, rtol=1e-4, atol=1e-4, err_msg=kernel)


# --- whole suites -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_products_run_on_small_shapes() -> None:
    found = run_command(("bench", "gemm", "--quick", "--trials", "3", "--against", "numpy", "--json")).json()
    rows = {row["name"]: row for row in found["rows"]}
    assert all(row["bar"] is None for row in rows.values())
    for name in (
        "gemm_16: search", "gemm_16: tuned", "gemm_16: default", "gemm_16: numpy", "gemm_32: peak",
        "gemm_32: times the best of torch and numpy", "gemm_32: of the peak", "gemm_32: default, of tuned",
        "all: times the best of torch and numpy, mean", "all: default, of tuned, least", "all: search",
    ):  # fmt: skip
        assert rows[name]["figure"] > 0, name


@pytest.mark.slow
def test_the_layers_run_on_small_shapes(torch: ModuleType) -> None:
    found = run_command(("bench", "yolo", "--quick", "--trials", "3", "--against", "torch", "--json")).json()
    rows = {row["name"]: row for row in found["rows"]}
    assert found["suite"] == "yolo"
    for name in (
        "c1: tuned", "c1: torch", "c1: torch best", "c1: times torch", "c2: times torch best", "c2: of the peak",
        "all: times torch, least", "all: times torch best, mean", "all: of the peak, mean", "all: search",
    ):  # fmt: skip
        assert rows[name]["figure"] > 0, name
