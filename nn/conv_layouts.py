"""Convolutions of images in other layouts: channels last, and channels in blocks."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Margin2d, Size, Step2d, Switch
from .epilogue import add_bias, finished, rectified
from .registry import register_operator
from .windows import Window, check_groups, image_axes, padded, window
from .zeros import zero_pad


@register_operator
def conv2d_nhwc(
    *,
    N: Size,
    H: Size,
    W: Size,
    C: Size,
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
    """Convolution, channels last: ``conv[n, h, w, k] += pad[n, h * stride + r * dilation, w * …, c] * W[k, c, r, s]``.

    X is (N, H, W, C), the weights W are (K, C / groups, R, S), bias is (K,), the result is (N, P, Q, K); P, Q, groups
    and dtypes as in `conv2d`. Rows and columns are padded, never channels. The order of the weights is FlexTensor's.
    """
    check_groups(groups, C, K)
    sliding = window((R, S), stride, padding, dilation)
    X = te.placeholder((N, H, W, C), dtype, name="X")
    weight = te.placeholder((K, C // groups, R, S), dtype, name="W")
    image = padded(X, sliding.padding, channels_last=True)
    conv = convolved_nhwc(image, weight, sliding, sliding.places((H, W)), groups=groups)
    return X, weight, *finished(conv, bias, relu, channel=3)


def convolved_nhwc(
    image: Tensor, weight: Tensor, sliding: Window, places: tuple[int, ...], *, groups: int = 1, name: str = "conv"
) -> Tensor:
    """The stage ``conv[n, h, w, k] += image[n, h * stride + r * dilation, …, c] * weight[k, c, r, s]``."""
    K, C, *_ = weight.shape
    c, taps = te.reduce_axis(C, name="c"), sliding.taps()

    def body(n: Value, h: Value, w: Value, k: Value) -> Reduction:
        channel = c if groups == 1 else k // (K // groups) * C + c
        return te.sum(image[(n, *sliding.point((h, w), taps), channel)] * weight[(k, c, *taps)], axis=[c, *taps])

    return te.compute((image.shape[0], *places, K), body, name=name, axes=image_axes(2, "k", channels_last=True))


@register_operator
def conv2d_nchwc(
    *,
    N: Size,
    C: Size,
    H: Size,
    W: Size,
    K: Size,
    R: Size,
    S: Size,
    c_block: Size,
    k_block: Size,
    stride: Step2d = 1,
    padding: Margin2d = 0,
    dilation: Step2d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Convolution, channels in blocks: ``conv[n, k, h, w, i] += pad[n, c, …, j] * W[k, c, r, s, j, i]``.

    X is (N, C / c_block, H, W, c_block), the weights W are
    (K / k_block, C / groups / c_block, R, S, c_block, k_block), bias is (K / k_block, k_block), the result is
    (N, K / k_block, P, Q, k_block); P, Q, groups and dtypes as in `conv2d`. Blocks divide the channels of a group. The
    order of the weights is FlexTensor's.
    """
    check_groups(groups, C, K)
    for name, letter, channels, block in (("c_block", "C", C, c_block), ("k_block", "K", K, k_block)):
        if channels // groups % block:
            raise SpecError(
                f"{block} does not divide the {channels // groups} {letter} of a group; use a divisor", name
            )
    sliding = window((R, S), stride, padding, dilation)
    P, Q = sliding.places((H, W))
    X = te.placeholder((N, C // c_block, H, W, c_block), dtype, name="X")
    outer, inner = K // k_block, C // groups // c_block
    weight = te.placeholder((outer, inner, R, S, c_block, k_block), dtype, name="W")
    around = (0, 0, *sliding.padding, 0)
    image = zero_pad(X, around, around, axes=("n", "c", "h", "w", "j"))
    c, j, taps = te.reduce_axis(inner, name="c"), te.reduce_axis(c_block, name="j"), sliding.taps()

    def body(n: Value, k: Value, h: Value, w: Value, i: Value) -> Reduction:
        chunk = c if groups == 1 else k // (outer // groups) * inner + c
        point = image[(n, chunk, *sliding.point((h, w), taps), j)]
        return te.sum(point * weight[(k, c, *taps, j, i)], axis=[c, *taps, j])

    result = te.compute((N, outer, P, Q, k_block), body, name="conv")
    vectors = (te.placeholder((outer, k_block), dtype, name="bias"),) if bias else ()
    for vector in vectors:
        result = add_bias(result, vector, 1, 4)
    return X, weight, *vectors, rectified(result) if relu else result
