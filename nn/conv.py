"""Convolutions of images: NCHW, weights with the output channel outermost as in PyTorch, one stage per step.

The stages are ``pad`` (left out where padding is 0), ``conv``, and on request ``bias_add`` and ``relu``.
"""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Margin2d, Size, Step2d, Switch
from .registry import register_operator
from .windows import Window2d, add_bias, padded2d, pair, rectified


@register_operator
def conv2d(
    *,
    N: Size,
    C: Size,
    H: Size,
    W: Size,
    K: Size,
    R: Size,
    S: Size,
    stride: Step2d = 1,
    padding: Margin2d = 0,
    dilation: Step2d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Convolution: ``conv[n, k, h, w] += pad[n, c, h * stride + r * dilation, w * …] * W[k, c, r, s]``.

    X is (N, C, H, W), the weights W are (K, C / groups, R, S), bias is (K,), the result is (N, K, P, Q) with
    ``P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1``, and Q likewise of W and S. `groups` divides
    C and K; an output channel reads the C / groups input channels of its own group. Buffers and sums are of `dtype`.
    The letters are FlexTensor's (ASPLOS'20), the arithmetic is torch.nn.functional.conv2d's.
    """
    for letter, channels in (("C", C), ("K", K)):
        if channels % groups:
            raise SpecError(f"{groups} does not divide {letter}={channels}; use a divisor of C and of K", "groups")
    window = Window2d(kernel=(R, S), stride=pair(stride), padding=pair(padding), dilation=pair(dilation))
    P, Q = window.places((H, W))
    X = te.placeholder((N, C, H, W), dtype, name="X")
    weight = te.placeholder((K, C // groups, R, S), dtype, name="W")
    image = padded2d(X, window.padding)
    c, r, s = te.reduce_axis(C // groups, name="c"), te.reduce_axis(R, name="r"), te.reduce_axis(S, name="s")

    def body(n: Value, k: Value, h: Value, w: Value) -> Reduction:
        channel = c if groups == 1 else k // (K // groups) * (C // groups) + c
        return te.sum(image[(n, channel, *window.point(h, w, r, s))] * weight[k, c, r, s], axis=[c, r, s])

    conv = te.compute((N, K, P, Q), body, name="conv")
    return X, weight, *_finished(conv, bias, relu)


@register_operator
def depthwise_conv2d(
    *,
    N: Size,
    C: Size,
    H: Size,
    W: Size,
    factor: Size = 1,
    R: Size,
    S: Size,
    stride: Step2d = 1,
    padding: Margin2d = 0,
    dilation: Step2d = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Each channel alone: ``conv[n, k, h, w] += pad[n, k // factor, h * stride + r * dilation, …] * W[k, 0, r, s]``.

    X is (N, C, H, W), the weights W are (C * factor, 1, R, S), bias is (C * factor,), the result is
    (N, C * factor, P, Q) with P and Q as in `conv2d`. Buffers and sums are of `dtype`. The letters are FlexTensor's
    (ASPLOS'20), the arithmetic is torch.nn.functional.conv2d's with groups = C.
    """
    window = Window2d(kernel=(R, S), stride=pair(stride), padding=pair(padding), dilation=pair(dilation))
    P, Q = window.places((H, W))
    X = te.placeholder((N, C, H, W), dtype, name="X")
    weight = te.placeholder((C * factor, 1, R, S), dtype, name="W")
    image = padded2d(X, window.padding)
    r, s = te.reduce_axis(R, name="r"), te.reduce_axis(S, name="s")

    def body(n: Value, k: Value, h: Value, w: Value) -> Reduction:
        return te.sum(image[(n, k // factor, *window.point(h, w, r, s))] * weight[k, 0, r, s], axis=[r, s])

    conv = te.compute((N, C * factor, P, Q), body, name="conv")
    return X, weight, *_finished(conv, bias, relu)


def _finished(conv: Tensor, bias: bool, relu: bool) -> Sequence[Tensor]:
    """The last parameters, after the stages asked for: the bias, if there is one, and the output."""
    if not bias:
        return (rectified(conv) if relu else conv,)
    vector = te.placeholder((conv.shape[1],), conv.dtype, name="bias")
    biased = add_bias(conv, vector)
    return vector, rectified(biased) if relu else biased
