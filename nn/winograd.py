"""Winograd's convolution with kernels of 3 by 3.

A tile of m by m results takes (m + 2)**2 multiplications for each pair of channels instead of 9 * m**2: 2.25 times
fewer for m = 2, 4 times for m = 4. Its sums cancel, so that it is less exact. Source: Lavin and Gray (2016), Fast
Algorithms for Convolutional Neural Networks.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from ..spec import builder as te
from ..spec.builder import Reduction, Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Margin2d, Size, Step2d, Switch, Tile
from .registry import register_operator
from .windows import finished, image_axes, window
from .zeros import zero_pad

Matrix: TypeAlias = tuple[tuple[float, ...], ...]

KERNEL: Final[dict[int, Matrix]] = {
    2: ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    4: (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
}
"""G: m + 2 rows of 3."""
IMAGE: Final[dict[int, Matrix]] = {
    2: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    4: (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
}
"""B transposed: m + 2 rows of m + 2."""
RESULT: Final[dict[int, Matrix]] = {
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
}
"""A transposed: m rows of m + 2."""


@register_operator
def conv2d_winograd(
    *,
    N: Size,
    C: Size,
    H: Size,
    W: Size,
    K: Size,
    R: Size = 3,
    S: Size = 3,
    stride: Step2d = 1,
    padding: Margin2d = 0,
    dilation: Step2d = 1,
    groups: Size = 1,
    tile: Tile = 2,
    bias: Switch = False,
    relu: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Convolution by Winograd's F(m by m, 3 by 3): ``product[a, b, k, x] += kernel[a, b, k, c] * image[a, b, c, x]``.

    m is `tile`, x the number of a tile of m by m results, a and b run over m + 2. ``kernel`` is G W G', ``image`` is
    B' D B of each tile's window D of the image, and ``conv`` is A' product A, with G, B' and A' of this module.
    Arguments, shapes and result are `conv2d`'s, of which it takes kernels of 3 by 3, and 1 for stride, dilation and
    groups.
    """
    given = {"R": R, "S": S, "stride": stride, "dilation": dilation, "groups": groups}
    for name, value in given.items():
        allowed = 3 if name in ("R", "S") else 1
        if value != allowed:
            raise SpecError(f"found {value}; allowed: {allowed}; use conv2d for others", name)
    sliding = window((R, S), 1, padding, 1)
    P, Q = sliding.places((H, W))
    rows, columns, wide = -(-P // tile), -(-Q // tile), tile + 2
    X = te.placeholder((N, C, H, W), dtype, name="X")
    weight = te.placeholder((K, C, R, S), dtype, name="W")
    before = sliding.padding
    after = [
        count * tile + 2 - size - first for count, size, first in zip((rows, columns), (H, W), before, strict=True)
    ]
    padded = zero_pad(X, (0, 0, *before), (0, 0, *after), axes=image_axes(2))
    r, s = te.reduce_axis(R, name="r"), te.reduce_axis(S, name="s")

    def transformed_kernel(a: Value, b: Value, k: Value, c: Value) -> Reduction:
        g = KERNEL[tile]
        return te.sum(_entry(g, a, r, dtype) * _entry(g, b, s, dtype) * weight[k, c, r, s], axis=[r, s])

    kernel = te.compute((wide, wide, K, C), transformed_kernel, name="kernel")
    i, j = te.reduce_axis(wide, name="i"), te.reduce_axis(wide, name="j")

    def transformed_image(a: Value, b: Value, c: Value, x: Value) -> Reduction:
        top, left = x // columns % rows * tile, x % columns * tile
        point = padded[x // (rows * columns), c, top + i, left + j]
        return te.sum(_entry(IMAGE[tile], a, i, dtype) * _entry(IMAGE[tile], b, j, dtype) * point, axis=[i, j])

    image = te.compute((wide, wide, C, N * rows * columns), transformed_image, name="image")
    c = te.reduce_axis(C, name="c")
    product = te.compute(
        (wide, wide, K, N * rows * columns),
        lambda a, b, k, x: te.sum(kernel[a, b, k, c] * image[a, b, c, x], axis=c),
        name="product",
    )
    a, b = te.reduce_axis(wide, name="a"), te.reduce_axis(wide, name="b")

    def back(n: Value, k: Value, h: Value, w: Value) -> Reduction:
        x = (n * rows + h // tile) * columns + w // tile
        over, across = _entry(RESULT[tile], h % tile, a, dtype), _entry(RESULT[tile], w % tile, b, dtype)
        return te.sum(over * across * product[a, b, k, x], axis=[a, b])

    conv = te.compute((N, K, P, Q), back, name="conv")
    return X, weight, *finished(conv, bias, relu)


def _entry(matrix: Matrix, row: Value, column: Value, dtype: str) -> Value:
    """An element of a constant matrix: selected by its row and column, which are constants where loops are unrolled."""
    value = te.constant(0.0, dtype)
    for i, entries in enumerate(matrix):
        for j, entry in enumerate(entries):
            if entry:
                here = te.all(row.equal(i), column.equal(j))
                value = te.select(here, te.constant(entry, dtype), value)
    return value
