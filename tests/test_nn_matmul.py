"""Products of matrices and tensors of `autosched.nn` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.evaluate import evaluate
from layer_references import with_epilogue
from whole_inputs import whole_inputs

sizes = st.integers(1, 9)
turns = st.booleans()
dtypes = st.sampled_from(["float32", "float64"])
seeds = st.integers(0, 2**32 - 1)


def turned(matrix: np.ndarray, turn: bool) -> np.ndarray:
    return matrix.swapaxes(-1, -2) if turn else matrix


@given(N=sizes, K=sizes, M=sizes, a=turns, b=turns, dtype=dtypes, seed=seeds)
def test_gemm(*, N: int, K: int, M: int, a: bool, b: bool, dtype: str, seed: int) -> None:
    workload = get_task("gemm", N=N, K=K, M=M, transposeA=a, transposeB=b, dtype=dtype).workload
    inputs = whole_inputs(workload, seed)
    assert (inputs["A"].shape, inputs["B"].shape) == ((K, N) if a else (N, K), (M, K) if b else (K, M))
    result = evaluate(workload, inputs)["C"]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, turned(inputs["A"], a) @ turned(inputs["B"], b))


@given(B=sizes, N=sizes, K=sizes, M=sizes, a=turns, b=turns, seed=seeds)
def test_batch_gemm(*, B: int, N: int, K: int, M: int, a: bool, b: bool, seed: int) -> None:
    workload = get_task("batch_gemm", B=B, N=N, K=K, M=M, transposeA=a, transposeB=b).workload
    inputs = whole_inputs(workload, seed)
    matrices = zip(turned(inputs["X"], a), turned(inputs["Y"], b), strict=True)
    np.testing.assert_array_equal(evaluate(workload, inputs)["Z"], np.stack([x @ y for x, y in matrices]))


@given(N=sizes, K=sizes, a=turns, seed=seeds)
def test_gemv(*, N: int, K: int, a: bool, seed: int) -> None:
    workload = get_task("gemv", N=N, K=K, transposeA=a).workload
    inputs = whole_inputs(workload, seed)
    np.testing.assert_array_equal(evaluate(workload, inputs)["y"], turned(inputs["A"], a) @ inputs["x"])


@given(N=sizes, K=sizes, M=sizes, bias=st.booleans(), relu=st.booleans(), seed=seeds)
def test_linear(*, N: int, K: int, M: int, bias: bool, relu: bool, seed: int) -> None:
    workload = get_task("linear", N=N, K=K, M=M, bias=bias, relu=relu).workload
    inputs = whole_inputs(workload, seed)
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_array_equal(result, with_epilogue(inputs["X"] @ inputs["W"].T, inputs, relu))


@given(N=sizes, K1=sizes, K2=sizes, M=sizes, bias=st.booleans(), seed=seeds)
def test_bilinear(*, N: int, K1: int, K2: int, M: int, bias: bool, seed: int) -> None:
    workload = get_task("bilinear", N=N, K1=K1, K2=K2, M=M, bias=bias).workload
    inputs = whole_inputs(workload, seed)
    rows = zip(inputs["X1"], inputs["X2"], strict=True)
    expected = np.stack([[x @ matrix @ y for matrix in inputs["W"]] for x, y in rows])
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_array_equal(result, with_epilogue(expected, inputs, relu=False))


@given(N=sizes, K1=sizes, K2=sizes, M=sizes, seed=seeds)
def test_mttkrp(*, N: int, K1: int, K2: int, M: int, seed: int) -> None:
    workload = get_task("mttkrp", N=N, K1=K1, K2=K2, M=M).workload
    inputs = whole_inputs(workload, seed)
    khatri_rao = (inputs["B"][:, None] * inputs["C"][None]).reshape(K1 * K2, M)
    np.testing.assert_array_equal(evaluate(workload, inputs)["D"], inputs["A"].reshape(N, K1 * K2) @ khatri_rao)


@pytest.mark.parametrize(
    ("op", "args", "params", "out_shape"),
    [
        ("gemm", {"N": 3, "K": 4, "M": 5}, ("A", "B", "C"), (3, 5)),
        ("batch_gemm", {"B": 2, "N": 3, "K": 4, "M": 5}, ("X", "Y", "Z"), (2, 3, 5)),
        ("gemv", {"N": 3, "K": 4}, ("A", "x", "y"), (3,)),
        ("linear", {"N": 3, "K": 4, "M": 5, "bias": True}, ("X", "W", "bias", "bias_add"), (3, 5)),
        ("bilinear", {"N": 3, "K1": 4, "K2": 2, "M": 5}, ("X1", "X2", "W", "Y"), (3, 5)),
        ("mttkrp", {"N": 3, "K1": 4, "K2": 2, "M": 5}, ("A", "B", "C", "D"), (3, 5)),
    ],
)
def test_parameters_and_shapes(
    op: str, args: dict[str, int], params: tuple[str, ...], out_shape: tuple[int, ...]
) -> None:
    workload = get_task(op, **args).workload
    assert workload.params == params
    assert workload.buffers[params[-1]].shape == out_shape


def test_a_unit_axis_stays_an_axis() -> None:
    stage = get_task("batch_gemm", B=1, N=1, K=1, M=1).workload.stage("Z")
    assert stage.extents == {"b": 1, "i": 1, "j": 1, "k": 1}
