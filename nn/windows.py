"""What convolutions of images share: the window that slides, padding before it, bias and ReLU after it."""

import attrs

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """An argument for (rows, columns), spelled out: 2 is (2, 2)."""
    return value if isinstance(value, tuple) else (value, value)


@attrs.frozen(kw_only=True)
class Window2d:
    """A kernel sliding over a padded image; each field is for (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def places(self, image: tuple[int, int]) -> tuple[int, int]:
        """Size of the output for an image of (H, W); SpecError where the kernel does not fit once."""
        return self._places(0, "H", image[0], "R"), self._places(1, "W", image[1], "S")

    def _places(self, dimension: int, size_name: str, size: int, kernel_name: str) -> int:
        taps, padding, dilation = self.kernel[dimension], self.padding[dimension], self.dilation[dimension]
        span, room = dilation * (taps - 1) + 1, size + 2 * padding
        if span > room:
            raise SpecError(
                f"{taps} taps at dilation {dilation} span {span} points, {size_name}={size} with padding {padding} "
                f"has {room}; use a smaller kernel or dilation, or more padding",
                kernel_name,
            )
        return (room - span) // self.stride[dimension] + 1

    def point(self, h: Value, w: Value, r: Value, s: Value) -> tuple[Value, Value]:
        """Row and column of the padded image under tap (r, s) of the window at place (h, w)."""
        return (
            h * self.stride[0] + r * self.dilation[0],
            w * self.stride[1] + s * self.dilation[1],
        )


def padded2d(X: Tensor, padding: tuple[int, int]) -> Tensor:
    """X with zeros around its images; X itself where `padding` is (0, 0).

    The stage is ``pad[n, c, h, w] = X[n, c, h - top, w - left] if inside else 0``; rows, or columns, that are not
    padded are not compared.
    """
    if padding == (0, 0):
        return X
    (N, C, H, W), (top, left) = X.shape, padding

    def pad(n: Value, c: Value, h: Value, w: Value) -> Value:
        rows = (h >= top, h < top + H) if top else ()
        columns = (w >= left, w < left + W) if left else ()
        return te.if_then_else(te.all(*rows, *columns), X[n, c, h - top, w - left], 0)

    return te.compute((N, C, H + 2 * top, W + 2 * left), pad, name="pad")


def add_bias(image: Tensor, bias: Tensor) -> Tensor:
    """The stage ``bias_add[n, k, h, w] = image[n, k, h, w] + bias[k]``."""
    return te.compute(image.shape, lambda n, k, h, w: image[n, k, h, w] + bias[k], name="bias_add")


def rectified(image: Tensor) -> Tensor:
    """The stage ``relu[n, k, h, w] = max(image[n, k, h, w], 0)``."""
    return te.compute(image.shape, lambda n, k, h, w: te.maximum(image[n, k, h, w], 0), name="relu")
