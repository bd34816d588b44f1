"""Averages, norms, element-wise operators and the LSTM cell of `autosched.nn` against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs

sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def results(op: str, seed: int, **args: Any) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Inputs of float64, and what comes out of them."""
    workload = get_task(op, **args, dtype="float64").workload
    inputs = random_inputs(workload, seed)
    return inputs, list(evaluate(workload, inputs).values())


def close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@given(N=sizes, K=sizes, M=sizes, seed=seeds)
def test_mean(N: int, K: int, M: int, seed: int) -> None:
    inputs, (got,) = results("mean", seed, N=N, K=K, M=M)
    close(got, inputs["X"].mean(axis=1))


@given(N=sizes, K=st.integers(2, 7), M=sizes, unbiased=st.booleans(), seed=seeds)
def test_variance(*, N: int, K: int, M: int, unbiased: bool, seed: int) -> None:
    inputs, (got,) = results("variance", seed, N=N, K=K, M=M, unbiased=unbiased)
    close(got, inputs["X"].var(axis=1, ddof=int(unbiased)))


def test_one_element_varies_not() -> None:
    with pytest.raises(SpecError) as caught:
        get_task("variance", N=1, K=1)
    assert str(caught.value) == "variance.K: 1 element has no unbiased variance; use 2 or more, or unbiased=False"
    assert get_task("variance", N=1, K=1, unbiased=False).workload.outputs == ("variance",)


@given(N=sizes, K=sizes, eps=st.sampled_from([1e-5, 0.5]), affine=st.booleans(), seed=seeds)
def test_layer_norm(*, N: int, K: int, eps: float, affine: bool, seed: int) -> None:
    inputs, (got,) = results("layer_norm", seed, N=N, K=K, eps=eps, affine=affine)
    X = inputs["X"]
    expected = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + eps)
    close(got, expected * inputs["weight"] + inputs["bias"] if affine else expected)


@given(
    N=sizes,
    C=sizes,
    image=st.tuples(sizes, sizes),
    eps=st.sampled_from([1e-5, 0.5]),
    affine=st.booleans(),
    training=st.booleans(),
    seed=seeds,
)
def test_batch_norm(
    *, N: int, C: int, image: tuple[int, int], eps: float, affine: bool, training: bool, seed: int
) -> None:
    H, W = image
    inputs, (got,) = results("batch_norm", seed, N=N, C=C, H=H, W=W, eps=eps, affine=affine, training=training)
    X = inputs["X"].transpose(0, 2, 3, 1)
    assert ("mean" in inputs) != training
    mean, variance = (X.mean((0, 1, 2)), X.var((0, 1, 2))) if training else (inputs["mean"], inputs["variance"])
    expected = (X - mean) / np.sqrt(variance + eps)
    expected = expected * inputs["weight"] + inputs["bias"] if affine else expected
    close(got, expected.transpose(0, 3, 1, 2))


@given(N=sizes, K=sizes, seed=seeds)
def test_softmax(N: int, K: int, seed: int) -> None:
    inputs, (got,) = results("softmax", seed, N=N, K=K)
    powers = np.exp(inputs["X"])
    close(got, powers / powers.sum(axis=1, keepdims=True))


def test_softmax_of_what_has_no_exponential() -> None:
    workload = get_task("softmax", N=1, K=2).workload
    (got,) = evaluate(workload, {"X": np.array([[2e4, 2e4]], np.float32)}).values()
    assert got.tolist() == [[0.5, 0.5]]


HOW = {
    "multiply": np.multiply, "add": np.add, "subtract": np.subtract, "divide": np.divide,
    "maximum": np.maximum, "minimum": np.minimum,
}  # fmt: skip


@given(N=sizes, how=st.sampled_from(sorted(HOW)), seed=seeds)
def test_pointwise(N: int, how: str, seed: int) -> None:
    inputs, (got,) = results("pointwise", seed, N=N, how=how)
    close(got, HOW[how](inputs["A"], inputs["B"]))


@given(N=sizes, C=sizes, K=sizes, bias=st.booleans(), seed=seeds)
def test_lstm_cell(*, N: int, C: int, K: int, bias: bool, seed: int) -> None:
    inputs, _ = results("lstm_cell", seed, N=N, C=C, K=K, bias=bias)
    workload = get_task("lstm_cell", N=N, C=C, K=K, bias=bias, dtype="float64").workload
    assert workload.outputs == ("next_hidden", "next_cell")
    joined = np.hstack([inputs["X"], inputs["hidden"]]) @ np.hstack([inputs["W_ih"], inputs["W_hh"]]).T
    opened, forgotten, proposed, shown = np.split(joined + sum(inputs[n] for n in ("b_ih", "b_hh") if bias), 4, axis=1)
    cell = inputs["cell"] / (1 + np.exp(-forgotten)) + np.tanh(proposed) / (1 + np.exp(-opened))
    got = evaluate(workload, inputs)
    close(got["next_cell"], cell)
    close(got["next_hidden"], np.tanh(cell) / (1 + np.exp(-shown)))


@pytest.mark.parametrize("eps", [0, -1.0, float("inf"), float("nan"), True, "1e-5"])
def test_an_eps_that_cannot_be(eps: object) -> None:
    with pytest.raises(SpecError) as caught:
        get_task("softmax" if eps is None else "layer_norm", N=1, K=2, eps=eps)
    assert str(caught.value) == f"layer_norm.eps: found {eps!r}; allowed: a number above 0"
