"""Proves one schedule of one task: rewrites it, lowers it, builds it, runs it and compares every step with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .check import check_schedule
from .dtypes import is_float
from .evaluate import evaluate
from .gpu import limits_of
from .inputs import random_inputs
from .numerics import array_dtype
from .task import CPU, Task
from .testing_overflow import overflows
from .tolerance import accuracy_of, tolerance
from .tvm_build import compile_module, device_source, tvm_target
from .tvm_lower import lower_plan, module_from_plan
from .tvm_run import CompiledKernel, Executable, tensor_over
from .tvm_serial import serial_module
from .tvm_verify import is_within_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .nest import Plan
    from .schedule import Schedule
    from .workload import Workload


def assert_rewrites_correctly(schedule: Schedule, task: Task | Workload, seed: int = 0) -> None:
    """Raises AssertionError unless the rewritten workload computes what `task` asks for; needs no TVM."""
    workload, ranges = (task.workload, task.ranges) if isinstance(task, Task) else (task, ())
    inputs = random_inputs(workload, seed, ranges)
    rewritten = check_schedule(schedule, task).workload
    assert_close(evaluate(rewritten, inputs, precise=True), workload, inputs, accuracy_of(workload, schedule.algorithm))


def assert_lowers_correctly(schedule: Schedule, task: Task, seed: int = 0) -> None:
    """Raises AssertionError unless `schedule` lowers, builds and computes what `task` asks for, on random inputs.

    The reference is the NumPy evaluator, in float64. Arrays lie 16 bytes past a 64-byte boundary, as NumPy's may;
    outputs start as NaN, or as the dtype's pattern 0x7f, so that a point never written is found.
    """
    plan = check_schedule(schedule, task)
    accuracy = accuracy_of(task.workload, schedule.algorithm)
    assert_computes(_executable(plan, task), plan, task, seed, accuracy=accuracy)


def assert_computes(
    executable: Executable,
    plan: Plan,
    task: Task,
    seed: int = 0,
    name: str = "main",
    *,
    accuracy: str = "reassociated",
) -> None:
    """Raises AssertionError unless the function `name` of a compiled module computes what `task` asks for.

    As exactly as `accuracy` says; nothing is asked where a signed integer overflows on the way.
    """
    workload = task.workload
    inputs = random_inputs(workload, seed, task.ranges)
    past = 16 if limits_of(task.target) is None else 0  # device memory is aligned
    memory = {n: _memory(workload, n, inputs, past) for n in workload.params}
    tensors = {n: tensor_over(memory[n], workload.buffers[n].shape, workload.buffers[n].dtype) for n in workload.params}
    CompiledKernel(executable, plan, tensors, name).call()
    found = {
        name: memory[name].view(array_dtype(workload.buffers[name].dtype)).reshape(workload.buffers[name].shape)
        for name in workload.outputs
    }
    try:
        assert_close(found, workload, inputs, accuracy)
    except AssertionError:
        if not overflows(workload, inputs):
            raise
    for given, array in inputs.items():
        if not np.array_equal(memory[given], np.ascontiguousarray(array).reshape(-1).view(np.uint8)):
            raise AssertionError(f"the kernel wrote into its input {given!r}")


def _executable(plan: Plan, task: Task) -> Any:
    """What runs here: for a GPU, code for the CPU that does the same, step by step, once its own code was made."""
    target = task.target if limits_of(task.target) is None else CPU
    return compile_module(runnable_module(plan, task), tvm_target(target, task.threads))


def runnable_module(plan: Plan, task: Task) -> Any:
    """The lowered module; for a GPU, one for the CPU that does the same, once its kernels were made and held to limits.

    AssertionError where TVM finds more in a kernel than the checks allowed, or makes none.
    """
    limits = limits_of(task.target)
    if limits is None:
        return module_from_plan(plan)
    sch = lower_plan(plan)
    if not is_within_limits(sch, plan, limits):
        raise AssertionError("TVM finds more threads or memory in a kernel than the checks allowed")
    if not device_source(compile_module(sch.mod, tvm_target(task.target, task.threads))):
        raise AssertionError("TVM made no kernels")
    return serial_module(plan)


def _memory(workload: Workload, name: str, inputs: Mapping[str, NDArray[Any]], past: int) -> NDArray[np.uint8]:
    buffer = workload.buffers[name]
    size = buffer.bytes_in_all
    room = np.empty(size + 128, np.uint8)
    start = -room.ctypes.data % 64 + past
    place = room[start : start + size]
    if name in inputs:
        place[:] = np.ascontiguousarray(inputs[name]).reshape(-1).view(np.uint8)
    else:
        place[:] = 0xFF if is_float(buffer.dtype) else 0x01 if buffer.dtype == "bool" else 0x7F
    return place


def assert_close(
    found: Mapping[str, NDArray[Any]],
    workload: Workload,
    inputs: Mapping[str, NDArray[Any]],
    accuracy: str = "reassociated",
) -> None:
    """Raises AssertionError unless `found` are the outputs of `workload` for `inputs`, as exact as `accuracy` says."""
    wanted = evaluate(workload, inputs, precise=True)
    for name in workload.outputs:
        relative, absolute = tolerance(workload, name, accuracy)
        np.testing.assert_allclose(
            found[name].astype(wanted[name].dtype), wanted[name], rtol=relative, atol=absolute, err_msg=name
        )
