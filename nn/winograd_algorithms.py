"""Winograd's convolution as an algorithm of conv2d: for who allows that results round more."""

from collections.abc import Sequence
from typing import Any

from ..spec.builder import Tensor
from .algorithms import register_algorithm
from .windows import each
from .winograd import conv2d_winograd


@register_algorithm("conv2d", name="winograd2", accuracy="winograd")
def winograd2(**values: Any) -> Sequence[Tensor] | None:
    """By tiles of 2 by 2 results; for kernels of 3 by 3 that step by 1, undilated and in one group."""
    return _by_tiles(2, values)


@register_algorithm("conv2d", name="winograd4", accuracy="winograd")
def winograd4(**values: Any) -> Sequence[Tensor] | None:
    """By tiles of 4 by 4 results, for the same."""
    return _by_tiles(4, values)


def _by_tiles(tile: int, values: dict[str, Any]) -> Sequence[Tensor] | None:
    if (values["R"], values["S"], values["groups"]) != (3, 3, 1):
        return None
    if any(step != 1 for name in ("stride", "dilation") for step in each(values[name], 2)):
        return None
    return conv2d_winograd(**values, tile=tile)
