"""FlexTensor's doors: tasks under keys, its arguments, and that what comes out can be built, saved and given back."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import te

from autosched.nn import tasks
from autosched.nn.registry import get_task
from autosched.nn.tasks import Task, register_task, schedule, schedule_with_config
from autosched.search import measure
from autosched.search.default import default_schedule
from autosched.spec import builder
from autosched.spec.claim import Failure
from autosched.spec.errors import AutoschedError, SpecError
from autosched.spec.spec_file import SpecFile, save_spec
from autosched.store.store import Store
from pretended_bench import PretendedBench

if TYPE_CHECKING:
    from pathlib import Path


def wrap_gemm(N: int, K: int, M: int) -> tuple[list[Any], list[Any]]:
    A, B = te.placeholder((N, K)), te.placeholder((K, M))
    k = te.reduce_axis((0, K))
    output = te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k))
    return [output.op], [A, B, output]


def twice(N: int) -> list[builder.Tensor]:
    x = builder.placeholder((N,), name="x")
    return [x, builder.compute((N,), lambda i: x[i] * 2.0, name="y")]


GEMM = Task("gemm", "small", wrap_gemm, (16, 8, 24), "llvm")


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASK_TABLE", {})
    register_task(GEMM)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> PretendedBench:
    """What measures in place of this machine, told the limits and builders as the real one is."""
    bench = PretendedBench()
    asked: list[dict[str, Any]] = []

    def measurer(task: Any, protocol: Any, **options: Any) -> PretendedBench:
        asked.append(options)
        return bench(task, protocol)

    monkeypatch.setattr(measure, "Measurer", measurer)
    monkeypatch.setattr(bench, "asked", asked, raising=False)
    return bench


def test_the_key_is_the_seeds() -> None:
    assert GEMM.key == "gemm_small_(16, 8, 24)_llvm(0)"
    assert Task("a", "b", twice, (3,), "llvm", 2).key == "a_b_(3,)_llvm(2)"
    assert str(GEMM.target.kind) == "llvm"
    assert GEMM.target.attrs["mcpu"]


@pytest.mark.system
def test_a_kernel_is_found_built_saved_and_given_back(bench: PretendedBench, tmp_path: Path) -> None:
    s, bufs, configs = schedule(GEMM.key, op_trial=4, graph_trial=0, parallel=1, store=str(tmp_path), threads=1)
    assert [tuple(map(int, buf.shape)) for buf in bufs] == [(16, 8), (8, 24), (16, 24)]
    assert len(bench.measured) == 4
    assert configs.claims
    a, b = (np.random.default_rng(n).random(shape, dtype="float32") for n, shape in enumerate([(16, 8), (8, 24)]))
    for sch in (s, schedule_with_config(GEMM.key, configs)[0]):
        c = tvm.runtime.tensor(np.zeros((16, 24), "float32"))
        tvm.compile(sch.mod, target=GEMM.target).jit()["main"](tvm.runtime.tensor(a), tvm.runtime.tensor(b), c)
        np.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-5)
    save_spec(configs, tmp_path / "gemm.json")
    for given in (configs, configs.schedule, tmp_path / "gemm.json", str(tmp_path / "gemm.json")):
        again, _ = schedule_with_config(GEMM.key, given, threads=1)
        assert tvm_ffi.structural_equal(again.mod, s.mod)


def test_what_the_seed_found_is_taken_too() -> None:
    """As a line of a log says it, or as the seed's tuple of two; for tasks of one's own and for named ones."""
    configs = [[{"spatial": [[4, 4], [3, 8]], "reduce": [[2, 4]], "unroll": [[512, 0]]}], {"inline": [[0]]}]
    s, bufs = schedule_with_config(GEMM.key, configs, threads=1)
    assert [tuple(map(int, buf.shape)) for buf in bufs] == [(16, 8), (8, 24), (16, 24)]
    text = s.mod["main"].script()
    assert "T.parallel(12)" in text
    assert "T.vectorized(8)" in text
    assert tvm_ffi.structural_equal(schedule_with_config(GEMM.key, tuple(configs), threads=1)[0].mod, s.mod)
    sizes = {"n": 1, "c": 3, "k": 64, "h": 224, "w": 224, "r": 7, "s": 7}
    pad = [[1], [3], [454], [454]]
    conv = {"spatial": [[sizes[a]] for a in "nkhw"], "reduce": [[sizes[a]] for a in "crs"]}
    named, _ = schedule_with_config("yolo/yolo0", [[{"spatial": pad}, conv], {"inline": [[0, 0]]}], threads=1)
    assert "main" in {var.name_hint for var in named.mod.functions}
    with pytest.raises(SpecError, match=r"config\[0\]\[0\]\.spatial: found 1; need factors for 2 axes: i, j"):
        schedule_with_config(GEMM.key, [[{"spatial": [[16]]}], {}])


def test_a_second_call_finds_it_in_the_store(bench: PretendedBench, tmp_path: Path) -> None:
    options: dict[str, Any] = {"op_trial": 4, "graph_trial": 2, "store": Store(tmp_path), "threads": 1}
    first = schedule(GEMM.key, **options)[2]
    count = len(bench.measured)
    assert count == 6
    assert schedule(GEMM.key, **options)[2].schedule == first.schedule
    assert len(bench.measured) == count
    schedule(GEMM.key, **options, trials=[3, 5])
    assert len(bench.measured) == count + 3, "the default again, and two more"


@pytest.mark.parametrize("method", ["searching", "q", "random", "evolutionary"])
def test_the_seeds_methods(bench: PretendedBench, tmp_path: Path, method: str) -> None:
    _, _, configs = schedule(GEMM.key, op_trial=3, graph_trial=0, method=method, store=str(tmp_path), threads=1)
    state = Store(tmp_path).search_state(configs.task)
    assert state is not None
    assert state.strategy == tasks.METHODS.get(method, method)


def test_the_limits_are_the_callers(bench: PretendedBench, tmp_path: Path) -> None:
    schedule(GEMM.key, op_trial=1, graph_trial=0, timeout=7, parallel=1, store=str(tmp_path), threads=1)
    (options,) = bench.asked  # type: ignore[attr-defined] # put there by the fixture
    assert options["builders"] == 1
    assert (options["limits"].build_s, options["limits"].first_run_s) == (7, 7)


@pytest.mark.system
def test_a_computation_in_our_own_words_and_one_with_a_name(bench: PretendedBench, tmp_path: Path) -> None:
    task = Task("own", "twice", twice, (8,), "llvm")
    register_task(task)
    short = functools.partial(schedule, op_trial=1, graph_trial=0, store=str(tmp_path), threads=1)
    s, bufs, _ = short(task.key)
    assert [buf.name for buf in bufs] == ["x", "y"]
    assert len(s.mod["main"].params) == 2
    _, named, configs = short("gemm/gemm_sq32")
    assert [buf.name for buf in named] == ["A", "B", "C"]
    assert configs.task == get_task("gemm/gemm_sq32", threads=1)


@pytest.mark.system
def test_a_named_task_is_searched_in_all_ways(bench: PretendedBench, tmp_path: Path) -> None:
    key = "flextensor110/T1D/conv_transpose1d6"
    call = functools.partial(schedule, key, op_trial=12, graph_trial=0, store=str(tmp_path), threads=1)
    s, bufs, configs = call()
    assert len(s.mod["main"].params) == len(bufs) == 3
    tried = {None if made.algorithm is None else made.algorithm.name for made in bench.measured}
    assert {None, "columns"} <= tried
    count = len(bench.measured)
    assert call()[2].schedule == configs.schedule
    assert len(bench.measured) == count, "the store has what was searched, algorithms and all"


@pytest.mark.system
def test_a_spec_with_other_names_fits(bench: PretendedBench, tmp_path: Path) -> None:
    _, _, configs = schedule("gemm/gemm_sq32", op_trial=2, graph_trial=0, store=str(tmp_path), threads=1)
    register_task(square := Task("gemm", "sq32", wrap_gemm, (32, 32, 32), "llvm"))
    s, _ = schedule_with_config(square.key, configs)
    assert len(s.mod["main"].params) == 3


def test_what_is_refused(tmp_path: Path) -> None:
    def message(call: Any, *words: Any, **options: Any) -> str:
        with pytest.raises(SpecError) as caught:
            call(*words, **options)
        return str(caught.value)

    assert message(schedule, "gemm_smal_(16, 8, 24)_llvm(0)") == (
        "no task 'gemm_smal_(16, 8, 24)_llvm(0)' (did you mean 'gemm_small_(16, 8, 24)_llvm(0)'?); "
        "register_task(Task(...)) first, or name a suite's: yolo/yolo3"
    )
    assert message(schedule, "gemm/none").startswith("gemm: no task 'none'")
    assert message(schedule, GEMM.key, slevel=0) == "slevel: found 0; allowed: a whole number from 1"
    assert message(schedule, GEMM.key, op_stop=-1) == "op_stop: found -1; allowed: a whole number from 0"
    assert message(schedule, GEMM.key, force_inline=1) == "force_inline: found 1; allowed: True or False"
    assert message(schedule, GEMM.key, timeout=0) == "timeout: found 0; allowed: seconds greater than 0"
    assert message(schedule, GEMM.key, method="luck", store=str(tmp_path)).startswith("method: unknown method 'luck'")
    register_task(other := Task("own", "twice", twice, (8,), "llvm"))
    task, _ = GEMM.computation(1)
    assert message(schedule_with_config, other.key, SpecFile(task=task, schedule=default_schedule(task))) == (
        "configs: found another computation's than 'own_twice_(8,)_llvm(0)'; give what schedule found for it"
    )


def test_where_nothing_can_be_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = PretendedBench(first=lambda _: Failure(kind="build_error", detail="no"))
    monkeypatch.setattr(measure, "Measurer", lambda task, protocol, **_: failing(task, protocol))
    with pytest.raises(AutoschedError, match="nothing was measured: 2 build_error; see the records of the store"):
        schedule(GEMM.key, op_trial=2, graph_trial=0, store=str(tmp_path), threads=1)
