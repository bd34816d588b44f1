"""Matrix products of `autosched.nn` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.evaluate import evaluate
from whole_inputs import whole_inputs

sizes = st.integers(1, 9)
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)


@given(N=sizes, K=sizes, M=sizes, dtype=dtypes, seed=seeds)
def test_gemm(N: int, K: int, M: int, dtype: str, seed: int) -> None:
    workload = get_task("gemm", N=N, K=K, M=M, dtype=dtype).workload
    inputs = whole_inputs(workload, seed)
    assert (inputs["A"].shape, inputs["B"].shape) == ((N, K), (K, M))
    result = evaluate(workload, inputs)["C"]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, inputs["A"] @ inputs["B"])


@given(B=sizes, N=sizes, K=sizes, M=sizes, seed=seeds)
def test_batch_gemm(B: int, N: int, K: int, M: int, seed: int) -> None:
    workload = get_task("batch_gemm", B=B, N=N, K=K, M=M).workload
    inputs = whole_inputs(workload, seed)
    expected = np.stack([x @ y for x, y in zip(inputs["X"], inputs["Y"], strict=True)])
    np.testing.assert_array_equal(evaluate(workload, inputs)["Z"], expected)


@given(N=sizes, K=sizes, seed=seeds)
def test_gemv(N: int, K: int, seed: int) -> None:
    workload = get_task("gemv", N=N, K=K).workload
    inputs = whole_inputs(workload, seed)
    np.testing.assert_array_equal(evaluate(workload, inputs)["y"], inputs["A"] @ inputs["x"])


@pytest.mark.parametrize(
    ("op", "args", "params", "out_shape"),
    [
        ("gemm", {"N": 3, "K": 4, "M": 5}, ("A", "B", "C"), (3, 5)),
        ("batch_gemm", {"B": 2, "N": 3, "K": 4, "M": 5}, ("X", "Y", "Z"), (2, 3, 5)),
        ("gemv", {"N": 3, "K": 4}, ("A", "x", "y"), (3,)),
    ],
)
def test_parameters_and_shapes(
    op: str, args: dict[str, int], params: tuple[str, ...], out_shape: tuple[int, ...]
) -> None:
    workload = get_task(op, **args).workload
    assert workload.params == params
    assert len(workload.stages) == 1
    assert workload.buffers[params[-1]].shape == out_shape


def test_a_unit_axis_stays_an_axis() -> None:
    stage = get_task("batch_gemm", B=1, N=1, K=1, M=1).workload.stage("Z")
    assert stage.extents == {"b": 1, "i": 1, "j": 1, "k": 1}
