"""Schedules for GPUs, proven without one: by numbers of the same steps run in order, by TVM's verifier, by nvcc."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import tvm
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import autosched as at
from autosched.cli import main
from autosched.spec.check import check_schedule
from autosched.spec.diff import compare_specs
from autosched.spec.errors import SpecError
from autosched.spec.gpu import GPUS, limits_of
from autosched.spec.kernel import buffer_part, kernels, memory_bytes
from autosched.spec.schedule import Align, Schedule
from autosched.spec.spec_file import SpecFile, save_spec
from autosched.spec.task import Task, target_from_value
from autosched.spec.testing import assert_lowers_correctly, schedules, workloads
from autosched.spec.tvm_build import compile_module, device_source, tvm_target
from autosched.spec.tvm_lower import lower
from autosched.spec.versions import version_needed
from cuda_on_cpu import Emulated, Launch, emulate
from gpu_schedules import product, tiled_product

if TYPE_CHECKING:
    from pathlib import Path

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
CUDA = {"kind": "cuda", "arch": "sm_80"}
NVCC = shutil.which("nvcc")


def source_of(schedule: Schedule, task: Task) -> str:
    return device_source(compile_module(lower(schedule, task).mod, tvm_target(task.target, task.threads)))


# --- what passes the checks is right ----------------------------------------------------------------------------------


@SLOW
@given(st.data(), workloads(max_stages=3))
def test_schedules_for_a_gpu_compute_the_task(data, workload):
    task = Task(workload=workload, target=target_from_value(CUDA), threads=1)
    assert_lowers_correctly(data.draw(schedules(task)), task)


@SLOW
@given(st.data())
def test_tiled_products_compute_the_task(data):
    task, schedule = data.draw(tiled_product())
    try:
        check_schedule(schedule, task)
    except SpecError as error:
        assume("registers hold" not in str(error))
        raise
    assert_lowers_correctly(schedule, task)


def test_memory_is_counted_as_tvm_finds_it():
    """Two tiles of 8 x 64 floats for a block, 4 x 16 sums for a thread."""
    task, schedule = tiled_example()
    plan = check_schedule(schedule, task)
    (kernel,) = kernels(plan)
    assert {nest.stage.name: buffer_part(plan, nest) for nest in kernel.nests} == {
        "A.sh": (8, 64), "B.sh": (8, 64), "C.acc": (4, 4), "C": (4, 4),
    }  # fmt: skip
    assert (kernel.block_count, kernel.thread_count, kernel.vthreads) == (16, 64, 4)
    assert memory_bytes(plan, kernel, "shared") == 2 * 8 * 64 * 4
    assert memory_bytes(plan, kernel, "local") == 64 * 4
    source = source_of(schedule, task)
    assert "__launch_bounds__(64)" in source
    assert "float A_sh_shared_ptr[512];" in source
    assert "float C_acc_local_ptr[64];" in source
    assert "*(float4*)" in source


def test_buffers_of_stages_ahead_are_two_and_padded():
    task, schedule = tiled_example(ahead=1, align=Align(axis="k", factor=32, offset=4))
    plan = check_schedule(schedule, task)
    (kernel,) = kernels(plan)
    assert memory_bytes(plan, kernel, "shared") == 2 * (8 * 68 + 8 * 64) * 4
    source = source_of(schedule, task)
    assert "float A_sh_shared_ptr[1088];" in source
    assert "float B_sh_shared_ptr[1024];" in source


def tiled_example(ahead: int = 0, align: Align | None = None) -> tuple[Task, Schedule]:
    return product(size=256, depth=128, tile=4, threads=8, vthreads=2, step=8, lanes=4, ahead=ahead, align=align)


# --- kernels' sources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.skipif(NVCC is None, reason="no nvcc on the path; the wheel nvidia-cuda-nvcc has one")
def test_nvcc_takes_the_source(arch: str, tmp_path: Path) -> None:
    task, schedule = tiled_example(ahead=1)
    kernel = tmp_path / "kernel.cu"
    kernel.write_text(source_of(schedule, task), encoding="utf-8")
    command = [str(NVCC), f"-arch={arch}", "-cubin", "-o", str(tmp_path / "kernel.cubin"), str(kernel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize(
    "words",
    [
        {"vthreads": 2},
        {"vthreads": 2, "ahead": 1},
        {"vthreads": 2, "ahead": 2},
        {"vthreads": 2, "ahead": 1, "align": Align(axis="k", factor=32, offset=4)},
        {"vthreads": 1, "tile": 4, "through": "shared"},
        {"vthreads": 1, "tile": 4, "through": "shared.dyn", "scope": "shared.dyn"},
    ],
    ids=["plain", "one ahead", "two ahead", "padded", "shared sums", "shared sums in one memory"],
)
def test_threads_of_the_source_meet_at_its_barriers(words: dict[str, Any], tmp_path: Path) -> None:
    task, schedule = product(**{"size": 32, "depth": 64, "tile": 2, "threads": 4, "step": 16, "lanes": 2, **words})
    source = source_of(schedule, task)
    launch = Launch(rows=32, columns=32, depth=64, blocks=(4, 1), threads=(16, 1))
    assert emulate(source, tmp_path, launch) == Emulated(right=True, raced=False)
    assert emulate(source.replace("__syncthreads();", ""), tmp_path, launch).raced


@pytest.mark.device
@pytest.mark.skipif(not tvm.cuda(0).exist, reason="no CUDA device")
def test_a_kernel_runs_on_the_device() -> None:
    import numpy as np

    task, schedule = tiled_example(ahead=1)
    executable = compile_module(lower(schedule, task).mod, tvm_target(task.target, 1))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, dtype="float32") for shape in ((256, 128), (128, 256)))
    tensors = [tvm.runtime.tensor(array, tvm.cuda(0)) for array in (a, b, np.full((256, 256), np.nan, "float32"))]
    executable.jit()["main"](*tensors)
    np.testing.assert_allclose(tensors[2].numpy(), a @ b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["cuda", "opencl", "metal", "webgpu"])
def test_default_schedules_are_legal_on_every_gpu_there_is_code_for(kind: str, capfd: pytest.CaptureFixture) -> None:
    target = CUDA if kind == "cuda" else kind
    for task in (
        at.get_task("gemm", N=20, K=9, M=700, target=target),
        at.get_task("conv2d", N=1, C=4, H=6, W=6, K=4, R=3, S=3, stride=1, padding=1, target=target),
    ):
        for schedule in (at.default_schedule(task), Schedule()):
            assert_lowers_correctly(schedule, task)


def test_a_gpu_is_not_measured_yet() -> None:
    task = at.get_task("gemm", N=20, K=9, M=700, target=CUDA)
    with pytest.raises(SpecError, match="only 'llvm' can be measured so far"):
        at.lookup_or_tune(task, trials=1)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_are_those_of_kind_architecture_and_options() -> None:
    assert limits_of(target_from_value("llvm")) is None
    sizes = {"sm_80": 163, "sm_86": 99, "sm_90": 227, "sm_90a": 227, "sm_999": 48}
    for arch, kib in sizes.items():
        limits = limits_of(target_from_value({"kind": "cuda", "arch": arch}))
        assert limits is not None
        assert (limits.dynamic_shared_bytes, limits.shared_bytes) == (kib * 1024, 48 * 1024)
    own = limits_of(
        target_from_value({"kind": "cuda", "max_threads_per_block": 128, "max_shared_memory_per_block": 1000})
    )
    assert own is not None
    assert (own.threads, own.threads_by_axis, own.shared_bytes) == (128, (128, 128, 64), 1000)
    assert all(limits_of(target_from_value(kind)) == limits for kind, limits in GPUS.items())


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def tiled_file(tmp_path: Path) -> Path:
    task, schedule = tiled_example()
    spec = SpecFile(task=task, schedule=schedule)
    assert version_needed(spec) == 2
    path = tmp_path / "tiled.json"
    save_spec(spec, path)
    return path


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--cuda", 'extern "C" __global__ void __launch_bounds__(64) main_kernel'),
        ("--tir", 'thread="blockIdx.x"'),
        ("--explain", "=== launch_kernels"),
    ],
)
def test_lower(tiled_file: Path, option: str, text: str) -> None:
    done = CliRunner().invoke(main, ["lower", str(tiled_file), option], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert text in done.stdout


def test_costs_are_those_of_the_checks(tiled_file: Path) -> None:
    done = CliRunner().invoke(main, ["show", str(tiled_file), "--cost"], catch_exceptions=False)
    kernel = "kernel of C.acc: 16 blocks of 64 threads, 4 virtual threads in each, 4096 bytes shared, 256 bytes local"
    assert f"{kernel}, 64 registers, in a thread" in done.stdout
    assert "  A.sh: 131072 steps, tile xl 4, shared buffer 2 KiB" in done.stdout


def test_a_cpu_has_no_kernels(tmp_path: Path) -> None:
    save_spec(SpecFile(task=at.get_task("gemm", N=8, K=8, M=8), schedule=Schedule()), tmp_path / "cpu.json")
    done = CliRunner().invoke(main, ["lower", str(tmp_path / "cpu.json"), "--cuda"])
    assert done.exit_code == 2
    assert "--cuda is for GPUs, the target of the task is 'llvm'; use --asm" in done.stderr


def test_a_difference_of_memory_in_words() -> None:
    task, before = tiled_example()
    _, after = tiled_example(ahead=1, align=Align(axis="k", factor=32, offset=4))
    changes = compare_specs(SpecFile(task=task, schedule=before), SpecFile(task=task, schedule=after)).schedule
    assert [(change.place, change.before, change.after) for change in changes] == [
        ("nest of A.sh, align", None, "k: 4 more than a multiple of 32"),
        ("nest of A.sh, ahead", None, "1 step"),
        ("nest of B.sh, ahead", None, "1 step"),
    ]
