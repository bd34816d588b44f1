"""Operators of `autosched.nn` that move, mask and average: against loops over NumPy arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.task import ValueRange
from layer_references import SIZES, TAPS, convolved, each, each_way, images_and_windows
from whole_inputs import whole_inputs

seeds = st.integers(0, 2**32 - 1)


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=seeds, data=st.data())
def test_block_circulant_matrix(rows: int, columns: int, seed: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(rows, columns)))
    workload = get_task("block_circulant_matrix", ROW=rows, COL=columns, FFT=size, dtype="float64").workload
    inputs = random_inputs(workload, seed)
    expected = np.zeros((rows, columns))
    for a, b in itertools.product(range(rows // size), range(columns // size)):
        block = np.s_[a * size : (a + 1) * size, b * size : (b + 1) * size]
        for offset in range(size):
            diagonal = np.arange(size), (np.arange(size) + offset) % size
            expected[block][diagonal] = inputs["X"][block][diagonal].mean()
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


def test_a_block_that_does_not_fit() -> None:
    with pytest.raises(SpecError) as caught:
        get_task("block_circulant_matrix", ROW=16, COL=7, FFT=8)
    assert str(caught.value) == "block_circulant_matrix.FFT: a block of 8 does not fit COL=7; use a smaller one"


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 4), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=each_way(2, 1, 3), dilation=each_way(2, 1, 2), seed=seeds,
)  # fmt: skip
def test_shift_conv2d(
    *, shape: tuple[int, ...], kernel: tuple[int, int], stride: int, dilation: int, seed: int
) -> None:
    (N, H, W, C), (R, S) = shape, kernel
    task = get_task("shift_conv2d", N=N, H=H, W=W, C=C, R=R, S=S, stride=stride, dilation=dilation)
    assert task.ranges == (ValueRange(buffer="tap", low=0, high=R * S - 1),)
    inputs = random_inputs(task.workload, seed, task.ranges)
    zeros = [
        (size - 1) * (s - 1) + d * (taps - 1)
        for size, s, d, taps in zip((H, W), each(stride, 2), each(dilation, 2), kernel, strict=True)
    ]
    image = np.pad(inputs["X"], [(0, 0), *((z // 2, z - z // 2) for z in zeros), (0, 0)])
    expected = np.empty(shape, np.float32)
    (down, right), (rows, columns) = each(dilation, 2), each(stride, 2)
    for c, tap in enumerate(inputs["tap"]):
        r, s = divmod(int(tap), S)
        expected[..., c] = image[:, r * down :: rows, s * right :: columns, c][:, :H, :W]
    (result,) = evaluate(task.workload, inputs).values()
    np.testing.assert_array_equal(result, expected)


@st.composite
def unpoolings(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    """A max-unpooling of which padding leaves something."""
    args: dict[str, Any] = {"N": draw(st.integers(1, 2)), "C": draw(st.integers(1, 2))}
    stride, padding = [], []
    for size, taps in zip(SIZES[rank], TAPS[rank], strict=True):
        args |= {size: draw(st.integers(1, 4)), taps: draw(st.integers(1, 4))}
        stride.append(draw(st.integers(1, 3)))
        padding.append(draw(st.integers(0, (args[taps] - 1) // 2)))
    return {**args, "stride": tuple(stride), "padding": tuple(padding)}


@given(args=st.integers(1, 2).flatmap(unpoolings), seed=seeds)
def test_max_unpooling(args: dict[str, Any], seed: int) -> None:
    rank = len(args["stride"])
    task = get_task(f"maxunpooling{rank}d", **args)
    (result_name,) = task.workload.outputs
    places = task.workload.buffers[result_name].shape[2:]
    generator = np.random.default_rng(seed)
    X = generator.standard_normal(task.workload.buffers["X"].shape).astype(np.float32)
    index = np.zeros(X.shape, np.int32)
    expected = np.full((*X.shape[:2], *places), -np.inf, np.float32)
    for at in np.ndindex(X.shape):
        spans = zip(at[2:], args["stride"], args["padding"], [args[n] for n in TAPS[rank]], places, strict=True)
        # A place of its own window that is in the image, as max-pooling finds one.
        place = tuple(int(generator.integers(max(0, p * s - m), min(p * s - m + r, e))) for p, s, m, r, e in spans)
        index[at] = np.ravel_multi_index(place, places)
        expected[at[:2] + place] = max(expected[at[:2] + place], X[at])
    (result,) = evaluate(task.workload, {"X": X, "index": index}).values()
    np.testing.assert_array_equal(result, np.where(np.isinf(expected), 0, expected))


@pytest.mark.parametrize("window", [{"R": 2, "stride": 2}, {"R": 3, "stride": 2, "padding": 1}])
def test_random_indices_are_of_their_windows(window: dict[str, int]) -> None:
    task = get_task("maxunpooling1d", N=4, C=8, L=60, **window)
    inputs = random_inputs(task.workload, 0, task.ranges)
    (result,) = evaluate(task.workload, inputs).values()
    assert np.count_nonzero(result) > 4 * 8 * 60 / 2


def masks(R: int, S: int, with_middle: bool) -> np.ndarray:
    """1 for the taps before the middle one in reading order."""
    middle = R // 2 * S + S // 2
    number = np.arange(R * S).reshape(R, S)
    return ((number <= middle) if with_middle else (number < middle)).astype(np.float64)


def convolved_last(X: np.ndarray, weight: np.ndarray, **window: Any) -> np.ndarray:
    return convolved(X.transpose(0, 3, 1, 2), weight, **window).transpose(0, 2, 3, 1)


@given(
    where=images_and_windows(2, spare=2), C=st.integers(1, 3), K=st.integers(1, 3), mask_b=st.integers(0, 1),
    bias=st.booleans(), seed=seeds,
)  # fmt: skip
def test_pixelcnn(*, where: dict[str, Any], C: int, K: int, mask_b: int, bias: bool, seed: int) -> None:
    workload = get_task("pixelcnn", **where, C=C, K=K, mask_b=mask_b, bias=bias, dtype="float64").workload
    inputs = whole_inputs(workload, seed)
    window = {name: where[name] for name in ("stride", "padding", "dilation")}
    weight = inputs["W"] * masks(where["R"], where["S"], mask_b == 1)
    (result,) = evaluate(workload, inputs).values()
    np.testing.assert_array_equal(result, convolved_last(inputs["X"], weight, **window) + inputs.get("bias", 0))


@given(
    where=images_and_windows(2, spare=2), C=st.integers(1, 3), K=st.integers(1, 3), bias=st.booleans(), seed=seeds
)  # fmt: skip
def test_gatedpixelcnn(*, where: dict[str, Any], C: int, K: int, bias: bool, seed: int) -> None:
    workload = get_task("gatedpixelcnn", **where, C=C, K=K, bias=bias, dtype="float64").workload
    inputs = random_inputs(workload, seed)
    window = {name: where[name] for name in ("stride", "padding", "dilation")}
    R, S = where["R"], where["S"]

    def weighed(image: np.ndarray, weight: np.ndarray, name: str, **window: Any) -> np.ndarray:
        return convolved_last(image, weight, **window) + inputs.get(f"b_{name}", 0)

    def gated(image: np.ndarray) -> np.ndarray:
        return np.tanh(image[..., :K]) / (1 + np.exp(-image[..., K:]))

    vertical = weighed(inputs["X"], inputs["W_v"] * masks(R, S, True), "v", **window)
    middle_row = np.zeros((2 * K, C, R, S))
    middle_row[:, :, R // 2] = inputs["W_h"][:, :, 0] * masks(1, S, True)[0]
    horizontal = weighed(inputs["X"], middle_row, "h", **window)
    mixed = weighed(gated(horizontal + weighed(vertical, inputs["W_vh"], "vh")), inputs["W_out"], "out")
    gate, out = (evaluate(workload, inputs)[name] for name in workload.outputs)
    np.testing.assert_allclose(gate, gated(vertical), rtol=1e-10, atol=1e-10)
    same = mixed.shape == inputs["X"].shape
    np.testing.assert_allclose(out, mixed + inputs["X"] if same else mixed, rtol=1e-10, atol=1e-10)


def test_only_what_has_the_shape_of_the_image_is_added_to_it() -> None:
    layer = {"N": 1, "H": 5, "W": 5, "C": 3, "R": 3, "S": 3}
    assert get_task("gatedpixelcnn", **layer, K=3, padding=1).workload.outputs == ("gate_v", "out")
    assert get_task("gatedpixelcnn", **layer, K=4, padding=1).workload.outputs == ("gate_v", "mixed")


@pytest.mark.parametrize("mask_b", [True, 2, "0"])
def test_a_mask_that_is_none(mask_b: object) -> None:
    with pytest.raises(SpecError) as caught:
        get_task("pixelcnn", N=1, H=3, W=3, C=1, K=1, R=3, S=3, mask_b=mask_b)
    assert str(caught.value) == f"pixelcnn.mask_b: found {mask_b!r}; allowed: 0, 1"
