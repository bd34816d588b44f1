"""What layers compute, in NumPy and written another way than in `autosched.nn`: taps are added up one after another."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

Each: TypeAlias = "int | tuple[int, ...]"

SIZES = {1: "L", 2: "HW", 3: "DHW"}
TAPS = {1: "R", 2: "RS", 3: "TRS"}


def each(value: Each, rank: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * rank


def each_way(rank: int, least: int, most: int) -> st.SearchStrategy[Each]:
    """One number for all dimensions, or one for each."""
    number = st.integers(least, most)
    return number | st.tuples(*[number] * rank)


@st.composite
def images_and_windows(draw: st.DrawFn, rank: int = 2, spare: int = 4) -> dict[str, Any]:
    """N, sizes, kernel, stride, padding and dilation of a layer whose kernel fits the padded image."""
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    stride, padding, dilation = (draw(each_way(rank, *bounds)) for bounds in ((1, 3), (0, 2), (1, 2)))
    spans = [d * (taps - 1) + 1 for d, taps in zip(each(dilation, rank), kernel, strict=True)]
    margins = each(padding, rank)
    sizes = [max(1, s - 2 * p) + draw(st.integers(0, spare)) for s, p in zip(spans, margins, strict=True)]
    names = {**dict(zip(SIZES[rank], sizes, strict=True)), **dict(zip(TAPS[rank], kernel, strict=True))}
    return {"N": draw(st.integers(1, 2)), **names, "stride": stride, "padding": padding, "dilation": dilation}


def convolved(
    X: np.ndarray, weight: np.ndarray, *, stride: Each = 1, padding: Each = 0, dilation: Each = 1, groups: int = 1
) -> np.ndarray:
    """The convolution of images of (N, C, …) with weights of (K, C / groups, …)."""
    rank = X.ndim - 2
    strides, margins, dilations = (each(value, rank) for value in (stride, padding, dilation))
    image = np.pad(X, [(0, 0), (0, 0), *((margin, margin) for margin in margins)])
    kernel = weight.shape[2:]
    places = [
        (size - (taps - 1) * d - 1) // s + 1
        for size, taps, d, s in zip(image.shape[2:], kernel, dilations, strides, strict=True)
    ]
    result = np.zeros((len(X), len(weight), *places), X.dtype)
    K, C = len(weight) // groups, weight.shape[1]
    for group, *tap in itertools.product(range(groups), *map(range, kernel)):
        under = [
            slice(at * d, at * d + (count - 1) * s + 1, s)
            for at, d, count, s in zip(tap, dilations, places, strides, strict=True)
        ]
        seen = image[(slice(None), slice(group * C, (group + 1) * C), *under)]
        ours = slice(group * K, (group + 1) * K)
        result[:, ours] += np.einsum("nc...,kc->nk...", seen, weight[(ours, slice(None), *tap)])
    return result


def transposed(
    X: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Each = 1,
    padding: Each = 0,
    output_padding: Each = 0,
    dilation: Each = 1,
    groups: int = 1,
) -> np.ndarray:
    """The transposed convolution of images of (N, C, …) with weights of (C, K / groups, …).

    Every element is scattered: what its products with the kernel add to lies `stride` apart from its neighbours'.
    """
    rank = X.ndim - 2
    strides, dilations = each(stride, rank), each(dilation, rank)
    kernel = weight.shape[2:]
    whole = [
        (size - 1) * s + d * (taps - 1) + 1 + more
        for size, s, d, taps, more in zip(
            X.shape[2:], strides, dilations, kernel, each(output_padding, rank), strict=True
        )
    ]
    C, K = len(weight) // groups, weight.shape[1]
    result = np.zeros((len(X), K * groups, *whole), X.dtype)
    for group, *tap in itertools.product(range(groups), *map(range, kernel)):
        read = slice(group * C, (group + 1) * C)
        added = np.einsum("nc...,ck->nk...", X[:, read], weight[(read, slice(None), *tap)])
        onto = [
            slice(at * d, at * d + (size - 1) * s + 1, s)
            for at, d, size, s in zip(tap, dilations, X.shape[2:], strides, strict=True)
        ]
        result[(slice(None), slice(group * K, (group + 1) * K), *onto)] += added
    kept = [slice(margin, size - margin) for margin, size in zip(each(padding, rank), whole, strict=True)]
    return result[(slice(None), slice(None), *kept)]


def with_epilogue(image: np.ndarray, inputs: dict[str, np.ndarray], relu: bool, channel: int = 1) -> np.ndarray:
    """`image` with the bias among `inputs`, if there is one, and negative elements set to 0 on request."""
    if "bias" in inputs:
        shape = [-1 if dimension == channel else 1 for dimension in range(image.ndim)]
        image = image + inputs["bias"].reshape(shape)
    return np.where(image > 0, image, 0).astype(image.dtype) if relu else image
