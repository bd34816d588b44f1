"""Max-unpooling: each element back to where max-pooling found it, gathered by the places of the result."""

import math
from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from .arguments import FloatDtype, Margin1d, Margin2d, Size, Step1d, Step2d
from .registry import register_operator
from .transposed import transposed_size
from .windows import Window, image_axes, window


@register_operator
def maxunpooling1d(
    *, N: Size, C: Size, L: Size, R: Size, stride: Step1d, padding: Margin1d = 0, dtype: FloatDtype = "float32"
) -> Sequence[Tensor]:
    """Max-unpooling of lines: ``unpool[n, c, l] = X[n, c, p] where index[n, c, p] == l, else 0``.

    X is (N, C, L), the result is (N, C, P) with ``P = (L - 1) * stride - 2 * padding + R``; the rest as in
    `maxunpooling2d`. The letters are FlexTensor's (ASPLOS'20), the arithmetic is torch.nn.functional.max_unpool1d's.
    """
    return _unpooled(window((R,), stride, padding, 1), (N, C, L), dtype)


@register_operator
def maxunpooling2d(
    *,
    N: Size,
    C: Size,
    H: Size,
    W: Size,
    R: Size,
    S: Size,
    stride: Step2d,
    padding: Margin2d = 0,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Max-unpooling: ``unpool[n, c, h, w] = X[n, c, p, q] where index[n, c, p, q] == h * Q + w, else 0``.

    X is (N, C, H, W), index is the same, int32, from 0 to P * Q - 1; the result is (N, C, P, Q) with
    ``P = (H - 1) * stride - 2 * padding + R``, and Q likewise of W and S. As max-pooling makes them, indices lie in
    their own windows: only windows that may cover a place are asked for it, ceil(R / stride) rows of them. Where
    windows overlap and several name one place, the greatest of their elements is taken (in torch, any); -inf counts as
    none. FlexTensor (ASPLOS'20) asks every element for every place. The arithmetic is
    torch.nn.functional.max_unpool2d's.
    """
    return _unpooled(window((R, S), stride, padding, 1), (N, C, H, W), dtype)


def _unpooled(sliding: Window, shape: tuple[int, ...], dtype: str) -> Sequence[Tensor]:
    """The buffers of an unpooling of images of (N, C, …)."""
    places = transposed_size(sliding, shape[2:], (0,) * sliding.rank)
    X = te.placeholder(shape, dtype, name="X")
    index = te.placeholder(shape, "int32", name="index", values=(0, math.prod(places) - 1))
    axes = image_axes(sliding.rank)
    result = (*shape[:2], *places)
    over = [-(-taps // apart) for taps, apart in zip(sliding.kernel, sliding.stride, strict=True)]

    def element(at: Sequence[Value], back: Sequence[Value | int], missing: float) -> Value:
        """What the window so many windows back from the last that begins before a place has for it."""
        last = [
            (place + pad) // apart for place, pad, apart in zip(at[2:], sliding.padding, sliding.stride, strict=True)
        ]
        source = (*at[:2], *(at_last - count for at_last, count in zip(last, back, strict=True)))
        here = index[source].equal(_flat(at[2:], places).astype("int32"))
        value = te.if_then_else(here, X[source], missing)
        inside: list[Value] = []
        for d, (at_last, count) in enumerate(zip(last, back, strict=True)):
            inside += [at_last >= count] if over[d] > 1 else []
            greatest = (places[d] - 1 + sliding.padding[d]) // sliding.stride[d]
            inside += [at_last < shape[2 + d] + count] if greatest >= shape[2 + d] else []
        return te.if_then_else(te.all(*inside), value, missing) if inside else value

    if all(count == 1 for count in over):
        return X, index, te.compute(result, lambda *at: element(at, [0] * sliding.rank, 0.0), "unpool", axes=axes)
    back = [te.reduce_axis(count, name) for count, name in zip(over, "rs", strict=False)]
    best = te.compute(result, lambda *at: te.max(element(at, back, -math.inf), axis=back), "greatest", axes=axes)
    unpool = te.compute(result, lambda *at: te.select(best[at] > -math.inf, best[at], 0), "unpool", axes=axes)
    return X, index, unpool


def _flat(place: Sequence[Value], sizes: Sequence[int]) -> Value:
    """The number of a place in row-major order."""
    first, *others = place
    for at, size in zip(others, sizes[1:], strict=True):
        first = first * size + at
    return first
