"""Convolutions of `autosched.nn` against taps added up one after another."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.expr_text import text_from_expr
from layer_references import convolved, images_and_windows, with_epilogue
from whole_inputs import whole_inputs

LAYER = {"N": 1, "C": 4, "H": 6, "W": 5, "K": 6, "R": 3, "S": 3}
DEPTHWISE = {"N": 1, "C": 4, "H": 6, "W": 5, "factor": 2, "R": 3, "S": 3}


@given(
    where=st.integers(1, 3).flatmap(images_and_windows),
    groups=st.integers(1, 3),
    per_group=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(),
    relu=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolutions(
    *, where: dict[str, Any], groups: int, per_group: tuple[int, int], bias: bool, relu: bool, dtype: str, seed: int
) -> None:
    C, K = groups * per_group[0], groups * per_group[1]
    op = "conv1d" if "L" in where else "conv3d" if "D" in where else "conv2d"
    task = get_task(op, **where, C=C, K=K, groups=groups, bias=bias, relu=relu, dtype=dtype)
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
