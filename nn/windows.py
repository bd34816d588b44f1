"""What convolutions share, in one, two and three dimensions: the sliding window."""

from collections.abc import Sequence
from typing import Final

import attrs

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError
from .zeros import zero_pad

SIZES: Final = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""FlexTensor's letters for the extents of an image of each rank; in lower case they name its axes."""
TAPS: Final = {1: ("R",), 2: ("R", "S"), 3: ("T", "R", "S")}
"""Those of a kernel."""


def each(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    """An argument for `rank` dimensions, spelled out: 2 is (2, 2)."""
    return value if isinstance(value, tuple) else (value,) * rank


def image_axes(rank: int, channel: str = "c", *, channels_last: bool = False) -> tuple[str, ...]:
    """The names of the axes of images: n, c, h, w, or n, h, w, c."""
    points = tuple(size.lower() for size in SIZES[rank])
    return ("n", *points, channel) if channels_last else ("n", channel, *points)


@attrs.frozen(kw_only=True)
class Window:
    """A kernel sliding over a padded image; each field has a number for each dimension of the image."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Dimensions of the image, without batch and channels."""
        return len(self.kernel)

    @property
    def spans(self) -> tuple[int, ...]:
        """Points from the first to the last tap, both included."""
        return tuple(apart * (taps - 1) + 1 for taps, apart in zip(self.kernel, self.dilation, strict=True))

    def places(self, image: Sequence[int]) -> tuple[int, ...]:
        """Size of the output for an image of this size; SpecError where the kernel does not fit once."""
        return tuple(self._places(dimension, size) for dimension, size in enumerate(image))

    def _places(self, dimension: int, size: int) -> int:
        taps, padding, dilation = self.kernel[dimension], self.padding[dimension], self.dilation[dimension]
        span, room = self.spans[dimension], size + 2 * padding
        if span > room:
            raise SpecError(
                f"{taps} taps at dilation {dilation} span {span} points, {SIZES[self.rank][dimension]}={size} with "
                f"padding {padding} has {room}; use a smaller kernel or dilation, or more padding",
                TAPS[self.rank][dimension],
            )
        return (room - span) // self.stride[dimension] + 1

    def point(self, place: Sequence[Value], taps: Sequence[Value]) -> tuple[Value, ...]:
        """The point of the padded image that is under a tap of the window at a place."""
        steps = zip(place, self.stride, taps, self.dilation, strict=True)
        return tuple(at * stride + tap * dilation for at, stride, tap, dilation in steps)

    def taps(self) -> tuple[te.ReduceAxis, ...]:
        """A reduce axis for each dimension of the kernel."""
        return tuple(te.reduce_axis(extent, n.lower()) for extent, n in zip(self.kernel, TAPS[self.rank], strict=True))


def window(
    kernel: tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
) -> Window:
    """The window of an operator's arguments."""
    rank = len(kernel)
    return Window(kernel=kernel, stride=each(stride, rank), padding=each(padding, rank), dilation=each(dilation, rank))


def padded(X: Tensor, padding: tuple[int, ...], *, channels_last: bool = False) -> Tensor:
    """X with zeros on both sides of its images' dimensions; X itself where there are none.

    The stage is ``pad[n, c, h, w] = X[n, c, h - top, w - left] if inside else 0``.
    """
    around = (0, *padding, 0) if channels_last else (0, 0, *padding)
    return zero_pad(X, around, around, axes=image_axes(len(padding), channels_last=channels_last))


def check_groups(groups: int, C: int, K: int) -> None:
    """Raises SpecError unless channels fall into groups of the same size."""
    for letter, channels in (("C", C), ("K", K)):
        if channels % groups:
            raise SpecError(f"{groups} does not divide {letter}={channels}; use a divisor of C and of K", "groups")
