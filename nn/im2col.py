"""Convolution as one product of matrices: the windows of the image are copied out first, a column each."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from .arguments import FloatDtype, Margin2d, Size, Step2d, Switch
from .epilogue import finished
from .registry import register_operator
from .windows import check_groups, padded, window


@register_operator
def conv2d_im2col(
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
    """Convolution by matrices: ``product[k, x] += W[k, c, r, s] * columns[c, r, s, x]``, x the window's number.

    ``columns[c, r, s, (n * P + h) * Q + w] = pad[n, c, h * stride + r * dilation, …]`` is a matrix of C * R * S rows,
    and ``conv[n, k, h, w] = product[k, (n * P + h) * Q + w]``. Arguments, shapes and result are `conv2d`'s; FlexTensor
    (ASPLOS'20) has it as gemm_conv2d.
    """
    check_groups(groups, C, K)
    sliding = window((R, S), stride, padding, dilation)
    P, Q = sliding.places((H, W))
    X = te.placeholder((N, C, H, W), dtype, name="X")
    weight = te.placeholder((K, C // groups, R, S), dtype, name="W")
    image = padded(X, sliding.padding)

    def under(c: Value, r: Value, s: Value, x: Value) -> Value:
        return image[(x // (P * Q), c, *sliding.point((x // Q % P, x % Q), (r, s)))]

    columns = te.compute((C, R, S, N * P * Q), under, name="columns")
    c, taps = te.reduce_axis(C // groups, name="c"), sliding.taps()

    def dot(k: Value, x: Value) -> Reduction:
        channel = c if groups == 1 else k // (K // groups) * (C // groups) + c
        return te.sum(weight[(k, c, *taps)] * columns[(channel, *taps, x)], axis=[c, *taps])

    product = te.compute((K, N * P * Q), dot, name="product")
    conv = te.compute((N, K, P, Q), lambda n, k, h, w: product[k, (n * P + h) * Q + w], name="conv")
    return X, weight, *finished(conv, bias, relu)
