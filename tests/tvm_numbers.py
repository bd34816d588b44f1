"""Builds a TensorIR function as it is and runs it on NumPy arrays, for tests that compare numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from numpy.typing import NDArray

from autosched.spec.canonical import identity
from autosched.spec.dtypes import is_float, size_bytes
from autosched.spec.evaluate import evaluate
from autosched.spec.inputs import random_inputs
from autosched.spec.numerics import array_dtype
from autosched.spec.tvm_read import workload_from_primfunc
from autosched.spec.tvm_run import tensor_over
from autosched.spec.tvm_write import primfunc_from_workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autosched.spec.workload import Workload

Arrays = dict[str, NDArray[Any]]

RTOL = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-12}


def misaligned(array: NDArray[Any], offset_bytes: int) -> NDArray[np.uint8]:
    """The bytes of `array`, copied to `offset_bytes` past a 64-byte boundary."""
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    room = np.zeros(raw.size + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset_bytes
    room[start : start + raw.size] = raw
    return room[start : start + raw.size]


def run_function(func: Any, workload: Workload, inputs: Mapping[str, NDArray[Any]], offset_bytes: int = 0) -> Arrays:
    """The outputs of `func`, whose parameters are those of `workload`, each array `offset_bytes` off."""
    named = func.with_attr("global_symbol", "main")  # Relax's functions are private
    main = tvm.compile(tvm.IRModule({"main": named}), target="llvm").jit()["main"]
    memory = {}
    for name in workload.params:
        buffer = workload.buffers[name]
        array = inputs[name] if name in inputs else np.zeros(buffer.shape, array_dtype(buffer.dtype))
        assert array.dtype.itemsize == size_bytes(buffer.dtype)
        memory[name] = misaligned(array.reshape(-1), offset_bytes)
    buffers = workload.buffers
    main(*[tensor_over(memory[n], buffers[n].shape, buffers[n].dtype) for n in workload.params])
    return {
        name: memory[name].view(array_dtype(buffers[name].dtype)).reshape(buffers[name].shape)
        for name in workload.outputs
    }


def assert_same_numbers(got: Arrays, want: Arrays, workload: Workload) -> None:
    for name in workload.outputs:
        dtype = workload.buffers[name].dtype
        if is_float(dtype):
            rtol = RTOL[dtype]
            np.testing.assert_allclose(
                got[name].astype(np.float64), want[name].astype(np.float64), rtol=rtol, atol=rtol / 10, err_msg=name
            )
        else:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def assert_writes(workload: Workload, inputs: Arrays | None = None, offset_bytes: int = 0) -> None:
    """The function of `workload` computes what the NumPy evaluator says, and reads back to the same identity."""
    func = primfunc_from_workload(workload)
    assert identity(workload_from_primfunc(func)) == identity(workload)
    arrays = inputs if inputs is not None else random_inputs(workload, seed=1)
    assert_same_numbers(run_function(func, workload, arrays, offset_bytes), evaluate(workload, arrays), workload)
