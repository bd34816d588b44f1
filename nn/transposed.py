"""Transposed convolutions: channels first, weights with the input channel outermost as in PyTorch.

The stages are ``expand`` (zeros between the elements of X and around them; left out where there are none), ``conv``
over it with the kernel turned around, and on request ``bias_add`` and ``relu``. A multiplication by an inserted zero
counts as one: an algorithm of its own leaves them out.
"""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Margin1d, Margin2d, Margin3d, Size, Step1d, Step2d, Step3d, Switch
from .epilogue import finished
from .registry import register_operator
from .windows import SIZES, Window, check_groups, each, image_axes, window
from .zeros import zero_expand


@register_operator
def conv_transpose1d(
    *,
    N: Size,
    C: Size,
    L: Size,
    K: Size,
    R: Size,
    stride: Step1d = 1,
    padding: Margin1d = 0,
    output_padding: Margin1d = 0,
    dilation: Step1d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Transposed convolution of lines: ``conv[n, k, l] += expand[n, c, l + r * dilation] * W[c, k, R - 1 - r]``.

    X is (N, C, L), the weights W are (C, K / groups, R), bias is (K,), the result is (N, K, P); P, groups and dtypes
    as in `conv_transpose2d`. The letters are FlexTensor's (ASPLOS'20), the arithmetic is
    torch.nn.functional.conv_transpose1d's.
    """
    sliding = window((R,), stride, padding, dilation)
    return _transposed(
        sliding, (N, C, L), K, output_padding=output_padding, groups=groups, dtype=dtype, bias=bias, relu=relu
    )


@register_operator
def conv_transpose2d(
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
    output_padding: Margin2d = 0,
    dilation: Step2d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Transposed convolution: ``conv[n, k, h, w] += expand[n, c, h + r * dilation, w + …] * W[c, k, R - 1 - r, …]``.

    X is (N, C, H, W), the weights W are (C, K / groups, R, S), bias is (K,), the result is (N, K, P, Q) with
    ``P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + 1 + output_padding``, and Q likewise of W and S.
    ``expand`` is X with stride - 1 zeros between neighbours, ``dilation * (R - 1) - padding`` before them and
    `output_padding` more after them; negative numbers cut elements off. `groups` divides C and K; an output channel
    reads the C / groups input channels of its own group. `output_padding` is less than stride or dilation. Buffers and
    sums are of `dtype`. The letters are FlexTensor's (ASPLOS'20), the arithmetic is
    torch.nn.functional.conv_transpose2d's.
    """
    sliding = window((R, S), stride, padding, dilation)
    return _transposed(
        sliding, (N, C, H, W), K, output_padding=output_padding, groups=groups, dtype=dtype, bias=bias, relu=relu
    )


@register_operator
def conv_transpose3d(
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
    output_padding: Margin3d = 0,
    dilation: Step3d = 1,
    groups: Size = 1,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Transposed convolution of volumes: ``conv[n, k, d, h, w] += expand[n, c, d + t, …] * W[c, k, T - 1 - t, …]``.

    X is (N, C, D, H, W), the weights W are (C, K / groups, T, R, S), bias is (K,), the result is (N, K, O, P, Q) with
    O of D and T, P of H and R, Q of W and S as in `conv_transpose2d`; groups and dtypes too. The letters are
    FlexTensor's (ASPLOS'20), the arithmetic is torch.nn.functional.conv_transpose3d's.
    """
    sliding = window((T, R, S), stride, padding, dilation)
    return _transposed(
        sliding, (N, C, D, H, W), K, output_padding=output_padding, groups=groups, dtype=dtype, bias=bias, relu=relu
    )


def transposed_size(sliding: Window, image: Sequence[int], output_padding: tuple[int, ...]) -> tuple[int, ...]:
    """Size of the output for an image of this size; SpecError where nothing is left of it."""
    sizes = tuple(
        (size - 1) * stride - 2 * padding + span + more
        for size, stride, padding, span, more in zip(
            image, sliding.stride, sliding.padding, sliding.spans, output_padding, strict=True
        )
    )
    for dimension, size in enumerate(sizes):
        stride, dilation = sliding.stride[dimension], sliding.dilation[dimension]
        if output_padding[dimension] >= max(stride, dilation):
            raise SpecError(
                f"found {output_padding[dimension]}, with stride {stride} and dilation {dilation}; allowed: less than "
                "one of them",
                "output_padding",
            )
        if size < 1:
            padding, letter = sliding.padding[dimension], SIZES[sliding.rank][dimension]
            raise SpecError(
                f"{padding} on both sides cuts all {size + 2 * padding} points off that {letter}={image[dimension]} "
                "gives; use less padding",
                "padding",
            )
    return sizes


def _transposed(
    sliding: Window,
    shape: tuple[int, ...],
    K: int,
    *,
    output_padding: int | tuple[int, ...],
    groups: int,
    dtype: str,
    bias: bool,
    relu: bool,
) -> Sequence[Tensor]:
    """The buffers of a transposed convolution of images of (N, C, …)."""
    N, C, *image_size = shape
    check_groups(groups, C, K)
    more = each(output_padding, sliding.rank)
    places = transposed_size(sliding, image_size, more)
    X = te.placeholder(shape, dtype, name="X")
    weight = te.placeholder((C, K // groups, *sliding.kernel), dtype, name="W")
    before = [span - 1 - padding for span, padding in zip(sliding.spans, sliding.padding, strict=True)]
    after = [first + extra for first, extra in zip(before, more, strict=True)]
    stride = (1, 1, *sliding.stride)
    image = zero_expand(X, stride, (0, 0, *before), (0, 0, *after), axes=image_axes(sliding.rank))
    c, taps = te.reduce_axis(C // groups, name="c"), sliding.taps()

    def body(n: Value, k: Value, *place: Value) -> Reduction:
        channel = c if groups == 1 else k // (K // groups) * (C // groups) + c
        point = [at + tap * dilation for at, tap, dilation in zip(place, taps, sliding.dilation, strict=True)]
        turned = [extent - 1 - tap for extent, tap in zip(sliding.kernel, taps, strict=True)]
        column = k if groups == 1 else k % (K // groups)
        return te.sum(image[(n, channel, *point)] * weight[(channel, column, *turned)], axis=[c, *taps])

    conv = te.compute((N, K, *places), body, name="conv", axes=image_axes(sliding.rank, "k"))
    return X, weight, *finished(conv, bias, relu)
