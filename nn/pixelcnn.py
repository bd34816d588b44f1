"""Convolutions that see only the pixels before their own, in reading order: PixelCNN and gated PixelCNN."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from ..spec.dtypes import INDEX
from .arguments import Bit, FloatDtype, Margin2d, Size, Step2d, Switch
from .conv_layouts import convolved_nhwc
from .epilogue import add_bias, finished
from .registry import register_operator
from .windows import image_axes, padded, window


@register_operator
def pixelcnn(
    *,
    N: Size,
    H: Size,
    W: Size,
    C: Size,
    K: Size,
    R: Size,
    S: Size,
    mask_b: Bit,
    stride: Step2d = 1,
    padding: Margin2d = 0,
    dilation: Step2d = 1,
    bias: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Masked convolution, channels last: ``conv[n, h, w, k] += pad[n, h * stride + …, w * …, c] * mask[k, c, r, s]``.

    ``mask`` is the weights W with 0 for the taps after the middle one, (R // 2, S // 2), in reading order, and for the
    middle one too unless `mask_b` is 1: the paper's masks A and B. It is computed here, in every call. X is
    (N, H, W, C), W is (K, C, R, S), bias is (K,), the result is (N, P, Q, K); P, Q and dtypes as in `conv2d`. The
    arguments are FlexTensor's, the masks those of van den Oord et al. (2016, Pixel Recurrent Neural Networks) for
    images of one group of channels.
    """
    sliding = window((R, S), stride, padding, dilation)
    places = sliding.places((H, W))
    X = te.placeholder((N, H, W, C), dtype, name="X")
    weight = te.placeholder((K, C, R, S), dtype, name="W")
    image = padded(X, sliding.padding, channels_last=True)
    conv = convolved_nhwc(image, masked(weight, with_middle=mask_b == 1), sliding, places)
    return X, weight, *finished(conv, bias, channel=3)


@register_operator
def gatedpixelcnn(
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
    bias: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """A layer of gated PixelCNN, channels last: ``tanh(a) * sigmoid(b)`` of a vertical and of a horizontal stack.

    The vertical stack is a convolution of X with mask B, ``conv_v``, of 2 K channels; its first K are a and its last K
    are b: ``gate_v``. The horizontal one, ``conv_h``, is along the row alone that is in the middle of the window, with
    mask B too, plus ``v_to_h``, all 2 K channels of the vertical one mixed by weights: ``gate_h``. The last result is
    ``mixed``, ``gate_h`` mixed by weights, plus X where that has the same shape: ``out``. X is (N, H, W, C); the
    weights are W_v (2 K, C, R, S), W_vh (2 K, 2 K, 1, 1), W_h (2 K, C, 1, S) and W_out (K, K, 1, 1), with `bias` each
    has a vector b_… after all of them; the results, ``gate_v`` and the last, are (N, P, Q, K), P and Q as in `conv2d`.

    The layer is that of van den Oord et al. (2016, Conditional Image Generation with PixelCNN Decoders), the arguments
    and the masks are FlexTensor's. Its own task has C = 3, K = 256 and no padding, where X cannot be added: read here
    as a first layer, which has no such connection. Its 1 by 1 convolutions neither stride nor pad here.
    """
    sliding = window((R, S), stride, padding, dilation)
    places = sliding.places((H, W))
    X = te.placeholder((N, H, W, C), dtype, name="X")
    shapes = {"v": (2 * K, C, R, S), "vh": (2 * K, 2 * K, 1, 1), "h": (2 * K, C, 1, S), "out": (K, K, 1, 1)}
    weights = {name: te.placeholder(shape, dtype, f"W_{name}") for name, shape in shapes.items()}
    biases = {name: te.placeholder(shape[:1], dtype, f"b_{name}") for name, shape in shapes.items()} if bias else {}
    image = padded(X, sliding.padding, channels_last=True)

    def finish(stage: Tensor, name: str) -> Tensor:
        return add_bias(stage, biases[name], 3, name=f"{stage.name}_bias") if bias else stage

    conv_v = finish(convolved_nhwc(image, masked(weights["v"], name="mask_v"), sliding, places, name="conv_v"), "v")
    v_to_h = finish(_mixed(conv_v, weights["vh"], "v_to_h"), "vh")
    row = masked(weights["h"], name="mask_h")
    c, s = te.reduce_axis(C, name="c"), te.reduce_axis(S, name="s")

    def along(n: Value, h: Value, w: Value, k: Value) -> Reduction:
        middle = te.constant(R // 2, INDEX)
        return te.sum(image[(n, *sliding.point((h, w), (middle, s)), c)] * row[k, c, 0, s], axis=[c, s])

    axes = image_axes(2, "k", channels_last=True)
    conv_h = finish(te.compute((N, *places, 2 * K), along, name="conv_h", axes=axes), "h")
    both = te.compute(conv_h.shape, lambda *at: conv_h[at] + v_to_h[at], name="both", axes=axes)
    gate_v, gate_h = _gated(conv_v, "gate_v"), _gated(both, "gate_h")
    out = finish(_mixed(gate_h, weights["out"], "mixed"), "out")
    if out.shape == X.shape:
        narrow = out
        out = te.compute(X.shape, lambda *at: narrow[at] + X[at], name="out", axes=axes)
    return X, *weights.values(), *biases.values(), gate_v, out


def masked(weight: Tensor, *, with_middle: bool = True, name: str = "mask") -> Tensor:
    """Weights of (K, C, R, S) with 0 for the taps after the middle one in reading order, and for it on request."""
    _, _, R, S = weight.shape

    def body(k: Value, c: Value, r: Value, s: Value) -> Value:
        seen = s <= S // 2 if with_middle else s < S // 2
        before = te.any(r < R // 2, te.all(r.equal(R // 2), seen))
        return te.if_then_else(before, weight[k, c, r, s], 0)

    return te.compute(weight.shape, body, name=name)


def _mixed(image: Tensor, weight: Tensor, name: str) -> Tensor:
    """The 1 by 1 convolution ``out[n, h, w, k] += image[n, h, w, j] * weight[k, j, 0, 0]``."""
    j = te.reduce_axis(weight.shape[1], name="j")
    return te.compute(
        (*image.shape[:3], weight.shape[0]),
        lambda n, h, w, k: te.sum(image[n, h, w, j] * weight[k, j, 0, 0], axis=j),
        name=name,
    )


def _gated(image: Tensor, name: str) -> Tensor:
    """``tanh`` of the first half of the channels times the ``sigmoid`` of the second."""
    K = image.shape[3] // 2
    return te.compute(
        (*image.shape[:3], K),
        lambda n, h, w, k: te.call("tanh", image[n, h, w, k]) * te.call("sigmoid", image[n, h, w, k + K]),
        name=name,
    )
