"""The public names: what they are, what they cost, and what a result can do."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

import autosched as at
from autosched.spec.claim import Failure
from autosched.store.records import CLAIMED, SearchState
from store_cases import MACHINE, record, timed

if TYPE_CHECKING:
    from pathlib import Path

    from pretended_bench import PretendedBench

TASK = at.get_task("gemm", N=24, K=20, M=40)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> at.Store:
    return at.Store(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def tuned(store: at.Store) -> at.Result:
    """Really measured, the only one in this file."""
    return at.lookup_or_tune(TASK, store=store, trials=3)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", at.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(at, name).__name__ == name
    assert name in dir(at)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'autosched' has no attribute 'tune_all'"):
        at.tune_all  # noqa: B018 # the access is the test


def test_version() -> None:
    assert at.__version__


def in_process_of_its_own(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.system
def test_importing_costs_nothing_and_a_lookup_neither_numpy_nor_tvm(store: at.Store, tuned: at.Result) -> None:
    code = f"""
import sys, autosched as at
light = len(sys.modules)
assert not [m for m in sys.modules if m.startswith("autosched.")], "nothing but the names"
task = at.get_task("gemm", N=24, K=20, M=40)
found = at.lookup(task, store={str(store.path)!r})
same = at.lookup_or_tune(task, store={str(store.path)!r}, trials=3)
print(found.latency_s == same.latency_s, *sorted({{"numpy", "tvm", "rich", "torch"}} & set(sys.modules)))
"""
    assert tuned.record is not None
    assert in_process_of_its_own(code) == "True"


@pytest.mark.system
def test_a_lookup_takes_microseconds(store: at.Store, tuned: at.Result) -> None:
    taken = []
    for _ in range(300):
        begin = time.perf_counter()
        assert at.lookup(TASK, store=store) is not None
        taken.append(time.perf_counter() - begin)
    assert statistics.median(taken) < 1e-3, "150 us is the goal; a loaded machine may need more"
    assert tuned.latency_s > 0


# --- lookup and tuning ------------------------------------------------------------------------------------------------


def test_a_miss_is_none_and_makes_nothing(tmp_path: Path) -> None:
    assert at.lookup(TASK, store=tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_tuned_then_found(store: at.Store, tuned: at.Result) -> None:
    assert tuned.source in ("search", "default")
    assert len(list(store.records(TASK))) == 3
    found = at.lookup_or_tune(TASK, store=store, trials=3)
    assert found.source == "store"
    assert attrs.evolve(found, source=tuned.source) == tuned
    assert at.lookup(TASK, store=store) == found
    assert at.lookup_or_tune(TASK, store=str(store.path), trials=2).schedule == found.schedule


@pytest.mark.system
def test_what_a_result_says(tuned: at.Result) -> None:
    assert tuned.latency_s == statistics.median(tuned.samples)
    assert tuned.default_latency_s is not None
    assert tuned.speedup is not None
    assert tuned.speedup_interval is None or tuned.speedup_interval.low <= tuned.speedup <= tuned.speedup_interval.high
    assert tuned.gflops == 2 * 24 * 20 * 40 / tuned.latency_s / 1e9
    assert tuned.origin == "measured here"
    assert tuned.task == TASK
    assert tuned.protocol == at.Protocol(threads=TASK.threads)
    assert tuned.spec.schedule == tuned.schedule
    assert tuned.spec.claims[-1].verified


def test_a_larger_total_goes_on(tmp_path: Path, bench: PretendedBench) -> None:
    at.lookup_or_tune(TASK, store=tmp_path, trials=4)
    assert len(bench.measured) == 4
    at.lookup_or_tune(TASK, store=tmp_path, trials=4)
    assert len(bench.measured) == 4, "a hit"
    at.lookup_or_tune(TASK, store=tmp_path, trials=6)
    assert len(set(bench.measured)) == 6
    at.lookup_or_tune(TASK, store=tmp_path, trials=5, method="random", seed=3)
    assert len(set(bench.measured)) == 6, "method and seed are not part of the question"


def test_threads_are_part_of_the_question(tmp_path: Path, bench: PretendedBench) -> None:
    result = at.lookup_or_tune(TASK, store=tmp_path, trials=2, threads=1)
    assert result.task.threads == result.protocol.threads == 1
    assert at.lookup(attrs.evolve(TASK, threads=1), store=tmp_path) is not None
    assert at.lookup(attrs.evolve(TASK, threads=2), store=tmp_path) is None
    assert bench.measured


def test_an_exhausted_space_is_a_hit_for_any_total(tmp_path: Path, bench: PretendedBench) -> None:
    task = at.get_task("gemv", N=8, K=8, threads=1)
    at.lookup_or_tune(task, store=tmp_path, trials=10**6)
    count = len(bench.measured)
    assert at.lookup_or_tune(task, store=tmp_path, trials=10**7).source == "store"
    assert len(bench.measured) == count


def test_a_search_that_did_not_finish_is_no_hit(tmp_path: Path, bench: PretendedBench) -> None:
    store = at.Store(tmp_path)
    at.lookup_or_tune(TASK, store=store, trials=3)
    state = store.search_state(TASK)
    assert state is not None
    other = at.Store(tmp_path / "other")
    other.put(next(iter(store.records(TASK))))
    other.finish_search(TASK, SearchState(strategy="auto", trials=3, finished=0, seconds=1.0, date=state.date))
    assert at.lookup(TASK, store=other) is not None
    assert at.lookup_or_tune(TASK, store=other, trials=3).source != "store"
    assert len(bench.measured) > 3


def test_nothing_beats_the_default(tmp_path: Path, bench: PretendedBench) -> None:
    first: list[at.Schedule] = []

    def timing(schedule: at.Schedule) -> float:
        first.append(schedule)
        return 0.001 if schedule == first[0] else 0.002

    bench.first = bench.final = timing
    result = at.lookup_or_tune(TASK, store=tmp_path, trials=4)
    assert result.source == "default"
    assert result.schedule == at.default_schedule(TASK)
    assert result.speedup == 1.0


def test_nothing_measured_is_an_error_with_its_causes(tmp_path: Path, bench: PretendedBench) -> None:
    bench.first = lambda _: Failure(kind="run_timeout", detail="")
    with pytest.raises(at.NothingMeasuredError, match="nothing was measured: 3 run_timeout; ") as caught:
        at.lookup_or_tune(TASK, store=tmp_path, trials=3)
    assert caught.value.failures == {"run_timeout": 3}
    assert at.lookup(TASK, store=tmp_path) is None


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials: found 0; allowed: a whole number from 1"),
        ({"seconds": -1}, "seconds: found -1; allowed: a time greater than 0"),
        ({"method": "luck"}, "method: unknown method 'luck'; allowed: auto, evolutionary, annealing, q, random, grid"),
    ],
)
def test_a_bad_request_is_an_error_even_where_the_answer_is_known(
    store: at.Store, tuned: at.Result, options: dict[str, object], message: str
) -> None:
    assert tuned.samples
    with pytest.raises(at.SpecError, match=message):
        at.lookup_or_tune(TASK, store=store, **{"trials": 3, **options})  # type: ignore[arg-type]


def test_times_of_a_result_are_those_of_one_session() -> None:
    sessions = (
        timed(0.004, date="2026-11-01T00:00:00.000000Z"),
        timed(0.002, baseline_s=(0.006,), date="2026-11-02T00:00:00.000000Z"),
        timed(0.003, date="2026-11-03T00:00:00.000000Z"),
    )
    result = at.Result(record=record(*sessions), source="store")
    assert (result.latency_s, result.default_latency_s, result.speedup) == (0.002, 0.006, 3.0)
    drifting = at.Result(record=record(timed(1.0, 2.0, 9.0, baseline_s=(2.0, 6.0, 12.0))), source="store")
    assert drifting.speedup == 2.0, "the median of 2, 3 and 4/3, and not 6 / 2"
    bare = at.Result(record=record(sessions[0], sessions[2]), source="store")
    assert (bare.latency_s, bare.default_latency_s, bare.speedup) == (0.003, None, None)


def test_a_claim_is_served_as_a_claim(tmp_path: Path) -> None:
    store = at.Store(tmp_path)
    claimed = record(timed(0.001, baseline_s=(0.002,), origin=CLAIMED))
    store.put(claimed)
    found = store.best(claimed.task, MACHINE, claimed.protocol)
    assert found is not None
    assert at.Result(record=found, source="store").origin == "claimed"


# --- build and share --------------------------------------------------------------------------------------------------


def arguments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, dtype="float32") for shape in ((24, 20), (20, 40)))
    return a, b, np.full((24, 40), np.nan, dtype="float32")


@pytest.mark.system
def test_spec_files_of_results_and_records(tmp_path: Path, tuned: at.Result) -> None:
    for number, what in enumerate((tuned, tuned.record, tuned.spec)):
        path = tmp_path / f"{number}.json"
        at.save_spec(what, path)
        assert at.load_spec(path) == tuned.spec


@pytest.mark.system
def test_rewrite_and_lower(tuned: at.Result) -> None:
    work = at.rewrite(tuned.schedule, TASK)
    assert work.params == TASK.workload.params
    assert len(work.stages) > len(TASK.workload.stages)
    func = at.lower(tuned.schedule, TASK).mod["main"]
    assert [p.name for p in func.params] == ["A", "B", "C"]


@pytest.mark.system
def test_a_built_function_fills_numpy_arrays(tuned: at.Result) -> None:
    a, b, c = arguments()
    tuned.build()(a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.system
def test_an_exported_library_holds_main(tmp_path: Path, tuned: at.Result) -> None:
    import tvm

    path = tmp_path / "gemm.so"
    tuned.export_library(path)
    a, b, c = arguments()
    tensors = [tvm.runtime.tensor(x) for x in (a, b, c)]
    tvm.runtime.load_module(str(path))["main"](*tensors)
    np.testing.assert_allclose(tensors[2].numpy(), a @ b, rtol=1e-4, atol=1e-5)
