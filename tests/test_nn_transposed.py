"""Transposed convolutions of `autosched.nn` against elements scattered one tap after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.expr_text import text_from_expr
from layer_references import SIZES, TAPS, each, each_way, transposed, with_epilogue
from whole_inputs import whole_inputs

LAYER = {"N": 1, "C": 4, "H": 6, "W": 5, "K": 6, "R": 3, "S": 3}


@st.composite
def layers(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    """A transposed convolution of which padding leaves something."""
    stride, dilation = draw(each_way(rank, 1, 3)), draw(each_way(rank, 1, 2))
    groups = draw(st.integers(1, 3))
    args: dict[str, Any] = {"N": draw(st.integers(1, 2)), "groups": groups, "stride": stride, "dilation": dilation}
    args |= {letter: groups * draw(st.integers(1, 2)) for letter in "CK"}
    padding, more = [], []
    for size, taps, apart, d in zip(SIZES[rank], TAPS[rank], each(stride, rank), each(dilation, rank), strict=True):
        args |= {size: draw(st.integers(1, 4)), taps: draw(st.integers(1, 3))}
        more.append(draw(st.integers(0, max(apart, d) - 1)))
        whole = (args[size] - 1) * apart + d * (args[taps] - 1) + 1 + more[-1]
        padding.append(draw(st.integers(0, min(3, (whole - 1) // 2))))
    return {**args, "padding": tuple(padding), "output_padding": tuple(more)}


@given(
    args=st.integers(1, 3).flatmap(layers),
    bias=st.booleans(),
    relu=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_transposed_convolutions(args: dict[str, Any], *, bias: bool, relu: bool, dtype: str, seed: int) -> None:
    rank = len(args["padding"])
    task = get_task(f"conv_transpose{rank}d", **args, bias=bias, relu=relu, dtype=dtype)
    inputs = whole_inputs(task.workload, seed)
    window = {name: args[name] for name in ("stride", "padding", "output_padding", "dilation", "groups")}
    expected = with_epilogue(transposed(inputs["X"], inputs["W"], **window), inputs, relu)
    (result,) = evaluate(task.workload, inputs).values()
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


def test_what_the_stages_say() -> None:
    workload = get_task("conv_transpose2d", **LAYER, stride=2, padding=1, output_padding=(1, 0), groups=2).workload
    assert workload.params == ("X", "W", "conv")
    assert {stage.name: text_from_expr(stage.body[0]) for stage in workload.stages} == {
        "expand": (
            "X[n, c, (h - 1) // 2, (w - 1) // 2] if h >= 1 and h < 12 and (h - 1) % 2 == 0 and w >= 1 and w < 10 and "
            "(w - 1) % 2 == 0 else float32(0.0)"
        ),
        "conv": "expand[n, k // 3 * 2 + c, h + r, w + s] * W[k // 3 * 2 + c, k % 3, 2 - r, 2 - s]",
    }
    assert workload.stage("conv").extents == {"n": 1, "k": 6, "h": 12, "w": 9, "c": 2, "r": 3, "s": 3}


def test_nothing_is_inserted_where_nothing_is_wanted() -> None:
    workload = get_task("conv_transpose2d", **{**LAYER, "R": 1, "S": 1}).workload
    assert [stage.name for stage in workload.stages] == ["conv"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"output_padding": 1},
            "conv_transpose2d.output_padding: found 1, with stride 1 and dilation 1; allowed: less than one of them",
        ),
        (
            {"padding": (0, 4)},
            "conv_transpose2d.padding: 4 on both sides cuts all 7 points off that W=5 gives; use less padding",
        ),
        ({"groups": 3}, "conv_transpose2d.groups: 3 does not divide C=4; use a divisor of C and of K"),
    ],
)
def test_shapes_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_task("conv_transpose2d", **{**LAYER, **changed})
    assert str(caught.value) == message
