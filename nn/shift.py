"""Convolutions that only move: each channel of an image shifted by its own tap."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from .arguments import FloatDtype, Size, Step2d
from .registry import register_operator
from .windows import image_axes, window
from .zeros import zero_pad


@register_operator
def shift_conv2d(
    *,
    N: Size,
    H: Size,
    W: Size,
    C: Size,
    R: Size,
    S: Size,
    stride: Step2d = 1,
    dilation: Step2d = 1,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Each channel from its own tap: ``shift[n, h, w, c] = pad[n, h * stride + tap[c] // S * dilation, w * …, c]``.

    X and the result are (N, H, W, C); tap is (C,), int32, from 0 to R * S - 1: tap // S is the row of the kernel and
    tap % S its column. ``pad`` is X with zeros around it, so many that the result has X's size:
    ``(H - 1) * (stride - 1) + dilation * (R - 1)`` rows, half of them before (rounded down), and columns likewise.
    The arguments and the formula are FlexTensor's (ASPLOS'20, section 6.4).
    """
    sliding = window((R, S), stride, 0, dilation)
    X = te.placeholder((N, H, W, C), dtype, name="X")
    tap = te.placeholder((C,), "int32", name="tap", values=(0, R * S - 1))
    zeros = [
        (size - 1) * (apart - 1) + span - 1
        for size, apart, span in zip((H, W), sliding.stride, sliding.spans, strict=True)
    ]
    before = [0, *(rows // 2 for rows in zeros), 0]
    after = [0, *(rows - rows // 2 for rows in zeros), 0]
    image = zero_pad(X, before, after, axes=image_axes(2, channels_last=True))

    def body(n: Value, h: Value, w: Value, c: Value) -> Value:
        return image[(n, *sliding.point((h, w), (tap[c] // S, tap[c] % S)), c)]

    return X, tap, te.compute((N, H, W, C), body, name="shift")
