"""Winograd's convolution with kernels of 3 by 3.

A tile of m by m results takes (m + 2)**2 multiplications for each pair of channels instead of 9 * m**2: 2.25 times
fewer for m = 2, 4 times for m = 4. Its sums cancel, so that it is less exact. Source: Lavin and Gray (2016), Fast
Algorithms for Convolutional Neural Networks.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Margin2d, Size, Step2d, Switch, Tile
from .epilogue import finished
from .registry import register_operator
from .windows import image_axes, window
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
    B' D B of each tile's window D of the image, and ``conv`` is A' product A, rows first, then columns, with G, B' and
    A' of this module. Arguments, shapes and result are `conv2d`'s, of which it takes kernels of 3 by 3, and 1 for
    stride, dilation and groups.
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
    kernel = _kernel(_constant("G", KERNEL[tile], dtype), weight)
    image = _image(_constant("B", IMAGE[tile], dtype), padded, tile, (rows, columns))
    c = te.reduce_axis(C, name="c")
    product = te.compute(
        (wide, wide, K, N * rows * columns),
        lambda a, b, k, x: te.sum(kernel[a, b, k, c] * image[a, b, c, x], axis=c),
        name="product",
    )
    back = _constant("A", RESULT[tile], dtype)
    lines = te.compute(
        (tile, wide, K, N * rows * columns),
        lambda i, b, k, x: _dot(back, i, [product[a, b, k, x] for a in range(wide)]),
        name="lines",
    )

    def point(n: Value, k: Value, h: Value, w: Value) -> Value:
        x = (n * rows + h // tile) * columns + w // tile
        return _dot(back, w % tile, [lines[h % tile, b, k, x] for b in range(wide)])

    conv = te.compute((N, K, P, Q), point, name="conv")
    return X, weight, *finished(conv, bias, relu)


def _kernel(matrix: Tensor, weight: Tensor) -> Tensor:
    """``kernel[a, b, k, c]``, the sum over r and s of ``G[a, r] * G[b, s] * W[k, c, r, s]``."""
    K, C, R, S = weight.shape
    wide = matrix.shape[0]
    half = te.compute(
        (wide, S, K, C),
        lambda a, s, k, c: _dot(matrix, a, [weight[k, c, r, s] for r in range(R)]),
        name="kernel_rows",
    )
    return te.compute(
        (wide, wide, K, C), lambda a, b, k, c: _dot(matrix, b, [half[a, s, k, c] for s in range(S)]), name="kernel"
    )


def _image(matrix: Tensor, padded: Tensor, tile: int, grid: tuple[int, int]) -> Tensor:
    """``image[a, b, c, x]``, the sum over i and j of ``B'[a, i] * B'[b, j]`` and point (i, j) of tile x's window."""
    N, C, *_ = padded.shape
    (rows, columns), wide = grid, tile + 2
    count = N * rows * columns

    def half(a: Value, j: Value, c: Value, x: Value) -> Value:
        top, left = x // columns % rows * tile, x % columns * tile
        return _dot(matrix, a, [padded[x // (rows * columns), c, top + i, left + j] for i in range(wide)])

    over = te.compute((wide, wide, C, count), half, name="image_rows")
    return te.compute(
        (wide, wide, C, count), lambda a, b, c, x: _dot(matrix, b, [over[a, j, c, x] for j in range(wide)]), "image"
    )


def _dot(matrix: Tensor, row: Value, values: Sequence[Value]) -> Value:
    """A row of a matrix times a vector, written out: no reduction with a loop of its own."""
    first, *others = (matrix[row, column] * value for column, value in enumerate(values))
    for term in others:
        first += term
    return first


def _constant(name: str, matrix: Matrix, dtype: str) -> Tensor:
    """A stage that makes a constant matrix, each element selected by its row and column."""

    def entry(i: Value, j: Value) -> Value:
        value = te.constant(0.0, dtype)
        for row, entries in enumerate(matrix):
            for column, number in enumerate(entries):
                if number:
                    here = te.all(i.equal(row), j.equal(column))
                    value = te.select(here, te.constant(number, dtype), value)
        return value

    return te.compute((len(matrix), len(matrix[0])), entry, name=name)
