"""Convolutions of `autosched.nn` in other layouts and by other ways against the same one in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from layer_references import convolved, images_and_windows, with_epilogue
from whole_inputs import whole_inputs

seeds = st.integers(0, 2**32 - 1)
channels = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
"""Groups, and the channels in and out of each."""


def window_of(args: dict[str, Any]) -> dict[str, Any]:
    return {name: args[name] for name in ("stride", "padding", "dilation")}


@given(where=images_and_windows(2), layer=channels, bias=st.booleans(), relu=st.booleans(), seed=seeds)
def test_channels_last(
    *, where: dict[str, Any], layer: tuple[int, int, int], bias: bool, relu: bool, seed: int
) -> None:
    groups, C, K = layer
    workload = get_task(
        "conv2d_nhwc", **where, C=C * groups, K=K * groups, groups=groups, bias=bias, relu=relu
    ).workload
    inputs = whole_inputs(workload, seed)
    expected = convolved(inputs["X"].transpose(0, 3, 1, 2), inputs["W"], groups=groups, **window_of(where))
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_array_equal(result, with_epilogue(expected.transpose(0, 2, 3, 1), inputs, relu, channel=3))


@given(
    where=images_and_windows(2), layer=channels, blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(), relu=st.booleans(), seed=seeds,
)  # fmt: skip
def test_channels_in_blocks(
    *,
    where: dict[str, Any],
    layer: tuple[int, int, int],
    blocks: tuple[int, int],
    bias: bool,
    relu: bool,
    seed: int,
) -> None:
    (groups, outer_c, outer_k), (c, k) = layer, blocks
    workload = get_task(
        "conv2d_nchwc", **where, C=groups * outer_c * c, K=groups * outer_k * k, c_block=c, k_block=k, groups=groups,
        bias=bias, relu=relu,
    ).workload  # fmt: skip
    inputs = whole_inputs(workload, seed)
    X = np.concatenate([inputs["X"][..., i] for i in range(c)], axis=1)  # all first elements of blocks, all second, …
    order = np.arange(groups * outer_c * c).reshape(c, -1).T.ravel()
    W = inputs["W"].transpose(0, 5, 1, 4, 2, 3).reshape(groups * outer_k * k, outer_c * c, where["R"], where["S"])
    expected = convolved(X[:, order], W, groups=groups, **window_of(where))
    flat = {"bias": inputs["bias"].ravel()} if bias else {}
    expected = with_epilogue(expected, flat, relu)
    (result,) = evaluate(workload, inputs).values()
    N, K, P, Q = expected.shape
    np.testing.assert_array_equal(result, expected.reshape(N, K // k, k, P, Q).transpose(0, 1, 3, 4, 2))


@given(where=images_and_windows(2), layer=channels, bias=st.booleans(), relu=st.booleans(), seed=seeds)
def test_by_im2col(*, where: dict[str, Any], layer: tuple[int, int, int], bias: bool, relu: bool, seed: int) -> None:
    groups, C, K = layer
    args = {**where, "C": C * groups, "K": K * groups, "groups": groups, "bias": bias, "relu": relu}
    workload = get_task("conv2d_im2col", **args).workload
    inputs = whole_inputs(workload, seed)
    expected = with_epilogue(convolved(inputs["X"], inputs["W"], groups=groups, **window_of(where)), inputs, relu)
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_array_equal(result, expected)
    plain = get_task("conv2d", **args).workload
    assert [plain.buffers[name].shape for name in plain.params] == [
        workload.buffers[name].shape for name in workload.params
    ]


@given(
    N=st.integers(1, 2), C=st.integers(1, 3), K=st.integers(1, 3),
    image=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    padding=st.integers(0, 2), tile=st.sampled_from([2, 4]), seed=seeds,
)  # fmt: skip
def test_by_winograd(*, N: int, C: int, K: int, image: tuple[int, int], padding: int, tile: int, seed: int) -> None:
    H, W = image
    workload = get_task(
        "conv2d_winograd", N=N, C=C, H=H, W=W, K=K, padding=padding, tile=tile, dtype="float64"
    ).workload
    inputs = random_inputs(workload, seed)
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_allclose(result, convolved(inputs["X"], inputs["W"], padding=padding), rtol=1e-9, atol=1e-9)


LAYER = {"N": 1, "C": 4, "H": 6, "W": 5, "K": 6, "R": 3, "S": 3}


@pytest.mark.parametrize(
    ("op", "changed", "message"),
    [
        (
            "conv2d_nchwc",
            {"c_block": 2, "k_block": 2, "groups": 2},
            "k_block: 2 does not divide the 3 K of a group; use a divisor",
        ),
        ("conv2d_winograd", {"R": 5}, "R: found 5; allowed: 3; use conv2d for others"),
        ("conv2d_winograd", {"stride": (1, 2)}, "stride: found (1, 2); allowed: 1; use conv2d for others"),
        ("conv2d_winograd", {"tile": 3}, "tile: found 3; allowed: 2, 4"),
        ("conv2d_im2col", {"groups": 3}, "groups: 3 does not divide C=4; use a divisor of C and of K"),
    ],
)
def test_shapes_that_cannot_be(op: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_task(op, **{**LAYER, **changed})
    assert str(caught.value) == f"{op}.{message}"
