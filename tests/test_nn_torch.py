"""Operators of `autosched.nn` against PyTorch's own, over generated arguments."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.evaluate import evaluate, random_inputs
from layer_references import images_and_windows
from test_nn_transposed import layers

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.slow,  # importing torch takes 3 s
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)


def agrees(op: str, args: dict[str, Any], theirs: Callable[..., Any], seed: int) -> None:
    """`theirs` is given the inputs by name, as tensors of float64."""
    import torch

    task = get_task(op, **args, dtype="float64")
    inputs = random_inputs(task.workload, seed, task.ranges)
    (got,) = evaluate(task.workload, inputs).values()
    expected = theirs(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-9, atol=1e-9)


@given(
    where=st.integers(1, 3).flatmap(images_and_windows), groups=sizes, bias=st.booleans(), seed=seeds
)  # fmt: skip
def test_convolutions(*, where: dict[str, Any], groups: int, bias: bool, seed: int) -> None:
    import torch

    rank = 1 if "L" in where else 3 if "D" in where else 2
    window = {name: where[name] for name in ("stride", "padding", "dilation")}
    convolve = getattr(torch.nn.functional, f"conv{rank}d")
    agrees(
        f"conv{rank}d",
        {**where, "C": 2 * groups, "K": 3 * groups, "groups": groups, "bias": bias},
        lambda X, W, bias=None: convolve(X, W, bias, groups=groups, **window),
        seed,
    )


@given(args=st.integers(1, 3).flatmap(layers), bias=st.booleans(), seed=seeds)
def test_transposed_convolutions(args: dict[str, Any], *, bias: bool, seed: int) -> None:
    import torch

    rank = len(args["padding"])
    window = {name: args[name] for name in ("stride", "padding", "output_padding", "dilation", "groups")}
    convolve = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    agrees(
        f"conv_transpose{rank}d",
        {**args, "bias": bias},
        lambda X, W, bias=None: convolve(X, W, bias, **window),
        seed,
    )


@given(N=sizes, K1=sizes, K2=sizes, M=sizes, bias=st.booleans(), seed=seeds)
def test_bilinear(*, N: int, K1: int, K2: int, M: int, bias: bool, seed: int) -> None:
    import torch

    agrees(
        "bilinear",
        {"N": N, "K1": K1, "K2": K2, "M": M, "bias": bias},
        lambda X1, X2, W, bias=None: torch.nn.functional.bilinear(X1, X2, W, bias),
        seed,
    )


@given(N=sizes, K=sizes, M=sizes, bias=st.booleans(), seed=seeds)
def test_linear(*, N: int, K: int, M: int, bias: bool, seed: int) -> None:
    import torch

    args = {"N": N, "K": K, "M": M, "bias": bias}
    agrees("linear", args, lambda X, W, bias=None: torch.nn.functional.linear(X, W, bias), seed)


@given(N=sizes, K=st.integers(2, 6), M=sizes, unbiased=st.booleans(), seed=seeds)
def test_averages(*, N: int, K: int, M: int, unbiased: bool, seed: int) -> None:
    import torch

    args = {"N": N, "K": K, "M": M}
    agrees("mean", args, lambda X: torch.mean(X, 1), seed)
    agrees("variance", {**args, "unbiased": unbiased}, lambda X: torch.var(X, 1, correction=int(unbiased)), seed)


@given(N=sizes, K=sizes, affine=st.booleans(), seed=seeds)
def test_rows_normalised(*, N: int, K: int, affine: bool, seed: int) -> None:
    import torch

    args = {"N": N, "K": K}
    agrees("softmax", args, lambda X: torch.softmax(X, 1), seed)
    agrees(
        "layer_norm",
        {**args, "eps": 0.1, "affine": affine},
        lambda X, weight=None, bias=None: torch.nn.functional.layer_norm(X, (K,), weight, bias, 0.1),
        seed,
    )


@given(
    shape=st.tuples(st.integers(2, 4), sizes, sizes, sizes), affine=st.booleans(), training=st.booleans(), seed=seeds
)
def test_batch_norm(*, shape: tuple[int, ...], affine: bool, training: bool, seed: int) -> None:
    import torch

    args = {**dict(zip("NCHW", shape, strict=True)), "eps": 0.1, "affine": affine, "training": training}
    agrees(
        "batch_norm",
        args,
        lambda X, mean=None, variance=None, weight=None, bias=None: torch.nn.functional.batch_norm(
            X, mean, variance, weight, bias, training=training, eps=0.1
        ),
        seed,
    )


@given(N=sizes, C=sizes, K=sizes, bias=st.booleans(), seed=seeds)
def test_lstm_cell(*, N: int, C: int, K: int, bias: bool, seed: int) -> None:
    import torch

    workload = get_task("lstm_cell", N=N, C=C, K=K, bias=bias, dtype="float64").workload
    inputs = random_inputs(workload, seed)
    cell = torch.nn.LSTMCell(C, K, bias=bias, dtype=torch.float64)
    given_weights = {
        "weight_ih": "W_ih",
        "weight_hh": "W_hh",
        **({"bias_ih": "b_ih", "bias_hh": "b_hh"} if bias else {}),
    }
    cell.load_state_dict({theirs: torch.from_numpy(inputs[ours]) for theirs, ours in given_weights.items()})
    X, hidden, state = (torch.from_numpy(inputs[name]) for name in ("X", "hidden", "cell"))
    with torch.no_grad():
        expected = cell(X, (hidden, state))
    found = evaluate(workload, inputs)
    for name, wanted in zip(workload.outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], wanted.numpy(), rtol=1e-9, atol=1e-9)


@given(
    N=sizes, C=sizes, image=st.tuples(st.integers(3, 9), st.integers(3, 9)), kernel=st.integers(2, 3),
    stride=st.integers(1, 3), seed=seeds,
)  # fmt: skip
def test_max_unpooling(*, N: int, C: int, image: tuple[int, int], kernel: int, stride: int, seed: int) -> None:
    import torch

    whole = np.random.default_rng(seed).standard_normal((N, C, *image))
    X, index = torch.nn.functional.max_pool2d(torch.from_numpy(whole), kernel, stride, return_indices=True)
    H, W = X.shape[2:]
    task = get_task("maxunpooling2d", N=N, C=C, H=H, W=W, R=kernel, S=kernel, stride=stride, dtype="float64")
    (name,) = task.workload.outputs
    places = task.workload.buffers[name].shape[2:]
    if places[1] != image[1]:  # an index counts along whole rows of the image that was pooled
        row, column = np.divmod(index.numpy(), image[1])
        index = torch.from_numpy(row * places[1] + column)
    expected = torch.nn.functional.max_unpool2d(X, index, kernel, stride, output_size=places)
    arrays = {"X": X.numpy(), "index": index.numpy().astype(np.int32)}
    (got,) = evaluate(task.workload, arrays).values()
    np.testing.assert_array_equal(got, expected.numpy())
