"""Convolutions of `autosched.nn` against plain loops over NumPy arrays."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.expr_text import text_from_expr
from whole_inputs import whole_inputs

LAYER = {"N": 1, "C": 4, "H": 6, "W": 5, "K": 6, "R": 3, "S": 3}
DEPTHWISE = {"N": 1, "C": 4, "H": 6, "W": 5, "factor": 2, "R": 3, "S": 3}


def each_way(least: int, most: int) -> st.SearchStrategy[int | tuple[int, int]]:
    """One number for both dimensions, or one for each."""
    number = st.integers(least, most)
    return number | st.tuples(number, number)


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def images_and_windows(draw: st.DrawFn) -> dict[str, Any]:
    """N, H, W, R, S, stride, padding and dilation whose kernel fits the padded image."""
    R, S = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, padding, dilation = draw(each_way(1, 3)), draw(each_way(0, 2)), draw(each_way(1, 2))
    spans = [d * (taps - 1) + 1 for d, taps in zip(both(dilation), (R, S), strict=True)]
    H, W = (max(1, s - 2 * p) + draw(st.integers(0, 4)) for s, p in zip(spans, both(padding), strict=True))
    N = draw(st.integers(1, 2))
    return {"N": N, "H": H, "W": W, "R": R, "S": S, "stride": stride, "padding": padding, "dilation": dilation}


def convolved(
    X: np.ndarray,
    weight: np.ndarray,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> np.ndarray:
    """The convolution, a patch of the padded image at a time."""
    (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w) = both(stride), both(padding), both(dilation)
    image = np.pad(X, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    K, per_group, R, S = weight.shape
    span_h, span_w = (R - 1) * dilation_h + 1, (S - 1) * dilation_w + 1
    rows = range(0, image.shape[2] - span_h + 1, stride_h)
    columns = range(0, image.shape[3] - span_w + 1, stride_w)
    result = np.zeros((len(X), K, len(rows), len(columns)), X.dtype)
    for n, k, (p, top), (q, left) in itertools.product(range(len(X)), range(K), enumerate(rows), enumerate(columns)):
        first = k * groups // K * per_group
        patch = image[n, first : first + per_group, top : top + span_h : dilation_h, left : left + span_w : dilation_w]
        result[n, k, p, q] = (patch * weight[k]).sum()
    return result


def with_epilogue(image: np.ndarray, inputs: dict[str, np.ndarray], relu: bool) -> np.ndarray:
    if "bias" in inputs:
        image = image + inputs["bias"][None, :, None, None]
    return np.where(image > 0, image, 0).astype(image.dtype) if relu else image


@given(
    where=images_and_windows(),
    groups=st.integers(1, 3),
    per_group=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(),
    relu=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_conv2d(
    *, where: dict[str, Any], groups: int, per_group: tuple[int, int], bias: bool, relu: bool, dtype: str, seed: int
) -> None:
    C, K = groups * per_group[0], groups * per_group[1]
    task = get_task("conv2d", **where, C=C, K=K, groups=groups, bias=bias, relu=relu, dtype=dtype)
    inputs = whole_inputs(task.workload, seed)
    assert ("bias" in inputs) == bias
    window = {name: where[name] for name in ("stride", "padding", "dilation")}
    expected = with_epilogue(convolved(inputs["X"], inputs["W"], groups=groups, **window), inputs, relu)
    (result,) = evaluate(task.workload, inputs).values()
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@given(
    where=images_and_windows(),
    C=st.integers(1, 3),
    factor=st.integers(1, 3),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_depthwise_conv2d(*, where: dict[str, Any], C: int, factor: int, bias: bool, relu: bool, seed: int) -> None:
    task = get_task("depthwise_conv2d", **where, C=C, factor=factor, bias=bias, relu=relu)
    inputs = whole_inputs(task.workload, seed)
    window = {name: where[name] for name in ("stride", "padding", "dilation")}
    expected = with_epilogue(convolved(inputs["X"], inputs["W"], groups=C, **window), inputs, relu)
    (result,) = evaluate(task.workload, inputs).values()
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("extra", "stages", "params"),
    [
        ({}, ["conv"], ("X", "W", "conv")),
        ({"padding": 1}, ["pad", "conv"], ("X", "W", "conv")),
        ({"relu": True}, ["conv", "relu"], ("X", "W", "relu")),
        ({"bias": True}, ["conv", "bias_add"], ("X", "W", "bias", "bias_add")),
        ({"padding": 1, "bias": True, "relu": True}, ["pad", "conv", "bias_add", "relu"], ("X", "W", "bias", "relu")),
    ],
)
@pytest.mark.parametrize(("op", "layer"), [("conv2d", LAYER), ("depthwise_conv2d", DEPTHWISE)])
def test_a_stage_per_step(
    op: str, layer: dict[str, int], extra: dict[str, Any], stages: list[str], params: tuple[str, ...]
) -> None:
    workload = get_task(op, **layer, **extra).workload
    assert [stage.name for stage in workload.stages] == stages
    assert workload.params == params


def test_what_the_stages_say() -> None:
    workload = get_task("conv2d", **LAYER, stride=2, padding=1, groups=2, bias=True, relu=True).workload
    assert {stage.name: text_from_expr(stage.body[0]) for stage in workload.stages} == {
        "pad": "X[n, c, h - 1, w - 1] if h >= 1 and h < 7 and w >= 1 and w < 6 else float32(0.0)",
        "conv": "pad[n, k // 3 * 2 + c, h * 2 + r, w * 2 + s] * W[k, c, r, s]",
        "bias_add": "conv[n, k, h, w] + bias[k]",
        "relu": "max(bias_add[n, k, h, w], float32(0.0))",
    }
    assert workload.stage("conv").extents == {"n": 1, "k": 6, "h": 3, "w": 3, "c": 2, "r": 3, "s": 3}


def test_columns_alone_are_padded_and_compared() -> None:
    pad = get_task("conv2d", **LAYER, padding=(0, 2)).workload.stage("pad")
    assert pad.shape == (1, 4, 6, 9)
    assert text_from_expr(pad.body[0]) == "X[n, c, h, w - 2] if w >= 2 and w < 7 else float32(0.0)"


def test_what_depthwise_says() -> None:
    stage = get_task("depthwise_conv2d", **DEPTHWISE, dilation=2).workload.stage("conv")
    assert text_from_expr(stage.body[0]) == "X[n, k // 2, h + r * 2, w + s * 2] * W[k, 0, r, s]"
    assert stage.extents == {"n": 1, "k": 8, "h": 2, "w": 1, "r": 3, "s": 3}


USE = "use a smaller kernel or dilation, or more padding"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"R": 7},
            "conv2d.R: 7 taps at dilation 1 span 7 points, H=6 with padding 0 has 6; " + USE,
        ),
        (
            {"dilation": (1, 4), "padding": (0, 1)},
            "conv2d.S: 3 taps at dilation 4 span 9 points, W=5 with padding 1 has 7; " + USE,
        ),
        ({"groups": 3}, "conv2d.groups: 3 does not divide C=4; use a divisor of C and of K"),
        ({"groups": 4}, "conv2d.groups: 4 does not divide K=6; use a divisor of C and of K"),
        ({"C": 2**16, "H": 2**16}, "conv2d: buffer 'X' has 21474836480 elements; at most 2147483647 fit int32"),
    ],
)
def test_shapes_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_task("conv2d", **{**LAYER, **changed})
    assert str(caught.value) == message


def test_a_kernel_that_just_fits() -> None:
    workload = get_task("conv2d", **{**LAYER, "R": 8}, padding=1).workload
    assert workload.buffers["conv"].shape == (1, 6, 1, 5)
