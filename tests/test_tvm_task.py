from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tvm import te

from autosched.spec.cores import available_cores
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.task import Target, TargetOption, Task, ValueRange, target_from_value
from autosched.spec.tvm_target import check_target


def product(M: int, N: int, K: int) -> list[te.Tensor]:
    A, B = te.placeholder((M, K), name="A"), te.placeholder((K, N), name="B")
    k = te.reduce_axis((0, K), name="k")
    return [A, B, te.compute((M, N), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")]


def rows() -> list[te.Tensor]:
    X, at = te.placeholder((5, 3), name="X"), te.placeholder((7,), name="at", dtype="int32")
    return [X, at, te.compute((7, 3), lambda i, j: X[at[i], j], name="Y")]


def test_a_task_from_a_function_of_te() -> None:
    task = Task.from_te(product, args=(4, 8, 16))
    assert task.target == Target(kind="llvm")
    assert task.threads == available_cores() == len(os.sched_getaffinity(0))
    assert task.workload.stage("C").shape == (4, 8)


def test_a_task_from_tensors_and_from_a_primfunc() -> None:
    tensors = product(4, 8, 16)
    target = {"kind": "llvm", "mcpu": "znver5", "num-cores": 2}
    task = Task.from_te(tensors, target=target, threads=2, constants=["B"])
    assert task.target.options == (TargetOption(name="mcpu", value="znver5"), TargetOption(name="num-cores", value=2))
    assert task == Task.from_primfunc(te.create_prim_func(tensors), target=target, threads=2, constants=("B",))


def test_ranges_let_a_gather_be_read() -> None:
    with pytest.raises(LoweringError, match="or give the task ranges"):
        Task.from_te(rows)
    task = Task.from_te(rows, ranges=[ValueRange(buffer="at", low=0, high=4)])
    assert task.ranges == (ValueRange(buffer="at", low=0, high=4),)


def test_what_is_said_of_inputs_is_checked() -> None:
    with pytest.raises(SpecError, match=r"constants\[0\]: constant 'D' is no input; inputs: A, B"):
        Task.from_te(product, args=(4, 8, 16), constants=["D"])
    with pytest.raises(SpecError, match="threads: 0 threads; allowed: 1 to 4096"):
        Task.from_te(product, args=(4, 8, 16), threads=0)


@pytest.mark.parametrize("value", ["llvm -mcpu=znver5", "", {}, {"mcpu": "znver5"}, {"kind": 3}, None])
def test_what_is_no_target(value: object) -> None:
    with pytest.raises(SpecError, match="is no target; write a kind"):
        target_from_value(value)


def test_options_are_scalars() -> None:
    with pytest.raises(SpecError, match=r"target: option 'mattr' is \['\+avx'\]; allowed: a text, a whole number"):
        target_from_value({"kind": "llvm", "mattr": ["+avx"]})


def test_targets_that_this_tvm_builds_for() -> None:
    check_target(Target())
    check_target(target_from_value({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}))
    check_target(target_from_value({"kind": "cuda", "arch": "sm_90"}))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"kind": "fpga"}, 'Target kind "fpga" is not defined'),
        ({"kind": "llvm", "cpu": "znver5"}, "Unknown config option 'cpu'"),
        ({"kind": "llvm", "mcpu": 5}, "Option 'mcpu': expected type 'str'"),
        ({"kind": "llvm", "mcpu": "no-such-cpu"}, "target.mcpu: LLVM knows no CPU 'no-such-cpu' here; it knows "),
        ({"kind": "vulkan"}, "generates no code for 'vulkan'; use 'llvm' or a kind it was built with"),
    ],
)
def test_targets_that_it_does_not_build_for(target: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_target(target_from_value(target))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_record_does_not_import_tvm() -> None:
    code = "import sys, autosched.spec.task, autosched.spec.cores; sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
