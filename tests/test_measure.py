"""Measuring real candidates: lowered, compiled, verified, timed on the threads that were asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from autosched.search.bandwidth import fma_peak_gflops
from autosched.search.buffers import GuardedBuffer
from autosched.search.measure import Measurement, Measurer
from autosched.search.peak import ACCUMULATORS, CHAIN, peak_flops, peak_schedule, peak_task
from autosched.spec.builder import Tensor, build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import MeasureError
from autosched.spec.schedule import BindLoop, Nest, Schedule, Split
from autosched.spec.task import Target, TargetOption, Task
from autosched.spec.tvm_build import compile_module, tvm_target
from autosched.spec.tvm_lower import lower
from autosched.spec.tvm_run import tensor_over
from autosched.spec.workload import Buffer

if TYPE_CHECKING:
    from pathlib import Path

THREADS = min(2, len(os.sched_getaffinity(0)))


def gemm(size: int, dtype: str = "float32") -> Task:
    A, B = placeholder((size, size), dtype, name="A"), placeholder((size, size), dtype, name="B")
    k = reduce_axis(size, name="k")
    C = compute((size, size), lambda i, j: sum_over(A[i, k] * B[k, j], axis=k), name="C")
    return Task(workload=build([A, B, C]), threads=THREADS)


def tiled(columns: int, size: int = 64) -> Schedule:
    nest = Nest(
        stage="C",
        splits=(Split(axis="j", into=("jo", "ji"), factors=(size // columns, columns)),),
        order=("i", "jo", "k", "ji"),
        bind=(BindLoop(loop="i", to="parallel"), BindLoop(loop="ji", to="vectorize")),
        start="k",
    )
    return Schedule(nests=(nest,))


def protocol(**fields: object) -> Protocol:
    return Protocol(**{"threads": THREADS, "repeats": 3, "min_sample_s": 0.001, **fields})


@pytest.mark.system
def test_candidates_of_a_matrix_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right ones are measured, one that breaks a rule is a failure; no C compiler is needed."""
    wrong = Schedule(nests=(Nest(stage="C", splits=(Split(axis="j", into=("jo", "ji"), factors=(3, 3)),)),))
    asked = [Schedule(), wrong, tiled(16), tiled(32)]
    peak = peak_task(THREADS)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Measurer(gemm(64), protocol(), builders=2, lock_path=tmp_path / "lock") as measurer:
        results = list(measurer.measure(asked))
        assert measurer._runner.beats.quiet_s is not None, "the machine's pulse was taken"
        in_turn = measurer.retime([asked[0], wrong, asked[2]], 3, beside=(peak, peak_schedule()))
        compared = [(made, failure and failure.kind) for made, failure in measurer.compare([tiled(8), wrong])]
    assert compared == [(tiled(8), None), (wrong, "constraint")]
    assert [schedule for schedule, _ in results] == asked
    plain, refused, sixteen, thirty_two = (result for _, result in results)
    assert isinstance(refused, Failure)
    assert refused.kind == "constraint"
    for result in (plain, sixteen, thirty_two):
        assert isinstance(result, Measurement), result
        assert result.build_s > 0.001
        assert result.run_s > sum(result.samples_s)
    assert [len(found) if isinstance(found, tuple) else found.kind for found in in_turn] == [3, "constraint", 3, 3]


@pytest.mark.system
def test_every_kind_of_number_is_verified(tmp_path: Path) -> None:
    """One workload with an input and an output of each dtype that a CPU can add."""
    dtypes = ("bfloat16", "float16", "float32", "float64", "int8", "uint8", "int32", "int64")
    inputs = [placeholder((37,), dtype, name=f"X.{dtype}") for dtype in dtypes]

    def mirrored(X: Tensor) -> Tensor:
        return compute((37,), lambda i: X[i] + X[36 - i], name=X.name.replace("X", "Y"))

    task = Task(workload=build([*inputs, *map(mirrored, inputs)]), threads=1)
    with Measurer(task, protocol(threads=1, repeats=2), builders=1, lock_path=tmp_path / "lock") as measurer:
        ((_, result),) = measurer.measure([Schedule()])
    assert isinstance(result, Measurement), result


@pytest.mark.slow
def test_a_target_that_llvm_does_not_know_is_a_failure(tmp_path: Path) -> None:
    target = Target(options=(TargetOption(name="mcpu", value=3),))
    task = Task(workload=gemm(16).workload, target=target, threads=1)
    with Measurer(task, protocol(threads=1), builders=1, lock_path=tmp_path / "lock") as measurer:
        ((_, result),) = measurer.measure([Schedule()])
    assert isinstance(result, Failure)
    assert result.kind == "build_error"
    assert "Traceback" not in result.detail
    assert "\n" not in result.detail


def test_more_threads_than_cpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="4096 threads cannot be timed"):
        Measurer(gemm(16), protocol(threads=4096), lock_path=tmp_path / "lock")
    assert not list(tmp_path.iterdir()), "refused before anything was made"


@pytest.mark.system
def test_nothing_is_imported_from_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs a stranger's spec file stands in the stranger's folder."""
    for name in ("attrs.py", "numpy.py", "select.py"):
        (tmp_path / name).write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    with Measurer(gemm(16), protocol(), lock_path=tmp_path / "lock") as measurer:
        ((_, found),) = measurer.measure([Schedule()])
    assert isinstance(found, Measurement), found


IN_A_PROCESS = """
import os, sys
sys.modules["torch"] = None
from autosched.spec.tvm_build import pool_threads, set_pool_threads
"""


def in_a_process(code: str, **environment: str) -> str:
    """TVM's pool is one for each process, so these run in their own."""
    return subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS + code],
        capture_output=True, text=True, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
    ).stdout  # fmt: skip


@pytest.mark.system
@pytest.mark.skipif(THREADS < 2, reason="needs two CPUs")
def test_the_pool_has_the_threads_asked_for() -> None:
    """TVM alone takes half of the CPUs; the caller's own affinity stays."""
    code = """
before = os.sched_getaffinity(0)
set_pool_threads(2)
assert os.sched_getaffinity(0) == before
print(pool_threads(), len(os.listdir("/proc/self/task")))
from autosched.spec.errors import LoweringError
try:
    set_pool_threads(3)
except LoweringError as error:
    print(error)
set_pool_threads(1)
print(pool_threads())
"""
    first, refused, last = in_a_process(code).splitlines()
    assert first == "2 2"
    assert "has 2 threads, 3 were asked for; it was started before" in refused
    assert last == "1"


def test_the_ceiling_is_one_loop_of_multiply_adds_in_registers() -> None:
    """The assembly of its loop: one multiply-add for each vector and link, and of 16 registers one load a vector."""
    task = peak_task(2)
    module = compile_module(lower(peak_schedule(), task).mod, tvm_target(task.target, 2)).mod
    asm = module.inspect_source("asm")
    if "vfmadd" not in asm:
        pytest.skip("a CPU without x86's multiply-add")
    blocks = re.split(r"^\.L\w+:", asm, flags=re.MULTILINE)
    loop = max(blocks, key=lambda block: block.count("vfmadd")).splitlines()
    loop = loop[: next(i for i, line in enumerate(loop) if re.match(r"\s*j\w+\s", line)) + 1]
    fused = [line for line in loop if "vfmadd" in line]
    assert len(fused) == ACCUMULATORS * CHAIN
    loads = 0 if "zmm" in asm else ACCUMULATORS
    assert len([line for line in loop if "(" in line]) <= loads, "more loads, a store or a spill"


@pytest.mark.slow
def test_the_ceiling_computes_what_it_says(tmp_path: Path) -> None:
    task = peak_task(THREADS, lanes=4, steps=3)
    with Measurer(task, protocol(), builders=1, lock_path=tmp_path / "lock") as measurer:
        ((_, result),) = measurer.measure([peak_schedule()])
    assert isinstance(result, Measurement), result
    assert peak_flops(task) == 2 * THREADS * ACCUMULATORS * 4 * 3 * CHAIN


@pytest.mark.slow
def test_the_ceiling_is_plausible(tmp_path: Path) -> None:
    """Between 4 GFLOP/s (no vectors) and 600 (two 512-bit units at 9 GHz)."""
    assert 4 < fma_peak_gflops(1, lock_path=tmp_path / "lock") < 600


@pytest.mark.slow
def test_most_of_the_time_is_spent_building_and_running(tmp_path: Path) -> None:
    with Measurer(gemm(512), Protocol(threads=THREADS), lock_path=tmp_path / "lock") as measurer:
        list(measurer.measure([]))  # workers import TVM
        begin = time.monotonic()
        count = sum(
            isinstance(result, Measurement) for _, result in measurer.measure([tiled(16, 512), tiled(32, 512)] * 8)
        )
        wall_s = time.monotonic() - begin
    assert count == 16
    assert measurer.busy_s >= 0.9 * wall_s


def test_guarded_memory_reaches_tvm_as_it_is() -> None:
    """No copy between NumPy and TVM: a kernel that wrote elsewhere would be verified against old memory."""
    buffer = GuardedBuffer(Buffer(name="X", shape=(4, 8), dtype="bfloat16"))
    tensor = tensor_over(buffer.data, (4, 8), "bfloat16")
    assert (tuple(tensor.shape), str(tensor.dtype)) == ((4, 8), "bfloat16")
    assert tensor.data_ptr() == buffer.data.ctypes.data == buffer.array().ctypes.data
