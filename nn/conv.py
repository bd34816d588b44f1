"""Convolutions: channels first, weights with the output channel outermost as in PyTorch, one stage per step.

The stages are ``pad`` (left out where padding is 0), ``conv``, and on request ``bias_add`` and ``relu``.
"""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from .arguments import FloatDtype, Margin1d, Margin2d, Margin3d, Size, Step1d, Step2d, Step3d, Switch
from .epilogue import finished
from .registry import register_operator
from .windows import Window, check_groups, image_axes, padded, window


@register_operator
def conv1d(
    *,
    N: Size,
    C: Size,
    L: Size,
    K: Size,
    R: Size,
    stride: Step1d = 1,
    padding: Margin1d = 0,
    dilation: Step1d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Convolution of lines: ``conv[n, k, l] += pad[n, c, l * stride + r * dilation] * W[k, c, r]``.

    X is (N, C, L), the weights W are (K, C / groups, R), bias is (K,), the result is (N, K, P) with
    ``P = (L + 2 * padding - dilation * (R - 1) - 1) // stride + 1``; groups and dtypes as in `conv2d`. The letters are
    FlexTensor's (ASPLOS'20), the arithmetic is torch.nn.functional.conv1d's.
    """
    sliding = window((R,), stride, padding, dilation)
    return _convolved(sliding, (N, C, L), K, groups=groups, dtype=dtype, bias=bias, relu=relu)


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
    sliding = window((R, S), stride, padding, dilation)
    return _convolved(sliding, (N, C, H, W), K, groups=groups, dtype=dtype, bias=bias, relu=relu)


@register_operator
def conv3d(
    *,
    N: Size,
    C: Size,
    D: Size,
    H: Size,
    W: Size,
    K: Size,
    T: Size,
    R: Size,
    S: Size,
    stride: Step3d = 1,
    padding: Margin3d = 0,
    dilation: Step3d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Convolution of volumes: ``conv[n, k, d, h, w] += pad[n, c, d * stride + t * dilation, …] * W[k, c, t, r, s]``.

    X is (N, C, D, H, W), the weights W are (K, C / groups, T, R, S), bias is (K,), the result is (N, K, O, P, Q) with
    ``O = (D + 2 * padding - dilation * (T - 1) - 1) // stride + 1``, and P and Q likewise; groups and dtypes as in
    `conv2d`. The letters are FlexTensor's (ASPLOS'20), the arithmetic is torch.nn.functional.conv3d's.
    """
    sliding = window((T, R, S), stride, padding, dilation)
    return _convolved(sliding, (N, C, D, H, W), K, groups=groups, dtype=dtype, bias=bias, relu=relu)


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
    sliding = window((R, S), stride, padding, dilation)
    P, Q = sliding.places((H, W))
    X = te.placeholder((N, C, H, W), dtype, name="X")
    weight = te.placeholder((C * factor, 1, R, S), dtype, name="W")
    image = padded(X, sliding.padding)
    taps = sliding.taps()

    def body(n: Value, k: Value, h: Value, w: Value) -> Reduction:
        return te.sum(image[(n, k // factor, *sliding.point((h, w), taps))] * weight[(k, 0, *taps)], axis=taps)

    conv = te.compute((N, C * factor, P, Q), body, name="conv")
    return X, weight, *finished(conv, bias, relu)


def _convolved(
    sliding: Window, shape: tuple[int, ...], K: int, *, groups: int, dtype: str, bias: bool, relu: bool
) -> Sequence[Tensor]:
    """The buffers of a convolution of images of (N, C, …)."""
    N, C, *image_size = shape
    check_groups(groups, C, K)
    places = sliding.places(image_size)
    X = te.placeholder(shape, dtype, name="X")
    weight = te.placeholder((K, C // groups, *sliding.kernel), dtype, name="W")
    image = padded(X, sliding.padding)
    c, taps = te.reduce_axis(C // groups, name="c"), sliding.taps()

    def body(n: Value, k: Value, *place: Value) -> Reduction:
        channel = c if groups == 1 else k // (K // groups) * (C // groups) + c
        return te.sum(image[(n, channel, *sliding.point(place, taps))] * weight[(k, c, *taps)], axis=[c, *taps])

    conv = te.compute((N, K, *places), body, name="conv", axes=image_axes(sliding.rank, "k"))
    return X, weight, *finished(conv, bias, relu)
