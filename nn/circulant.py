"""Matrices made circulant block by block."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Size
from .registry import register_operator


@register_operator
def block_circulant_matrix(*, ROW: Size, COL: Size, FFT: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """The nearest matrix of circulant blocks: ``Y[i, j]`` is the mean of the wrapped diagonal of X's block it lies on.

    X and Y are (ROW, COL), cut into blocks of FFT by FFT. With u = i % FFT and v = j % FFT, the diagonal of (i, j) is
    where v - u is the same modulo FFT: ``total[a, b * FFT + d] += X[a * FFT + k, b * FFT + (d + k) % FFT]`` and
    ``Y[i, j] = total[i // FFT, j - v + (v - u) % FFT] / FFT``. Rows and columns beyond the last whole block are 0.
    Buffers and sums are of `dtype`. The arguments and the formula are FlexTensor's (ASPLOS'20, section 6.4).
    """
    rows, columns = ROW // FFT, COL // FFT
    for name, blocks, extent in (("ROW", rows, ROW), ("COL", columns, COL)):
        if not blocks:
            raise SpecError(f"a block of {FFT} does not fit {name}={extent}; use a smaller one", "FFT")
    X = te.placeholder((ROW, COL), dtype, name="X")
    k = te.reduce_axis(FFT, name="k")
    total = te.compute(
        (rows, columns * FFT),
        lambda a, j: te.sum(X[a * FFT + k, j // FFT * FFT + (j % FFT + k) % FFT], axis=k),
        name="total",
    )

    def body(i: Value, j: Value) -> Value:
        diagonal = total[i // FFT, j // FFT * FFT + (j % FFT + FFT - i % FFT) % FFT] / float(FFT)
        inside = [*([i < rows * FFT] if ROW % FFT else []), *([j < columns * FFT] if COL % FFT else [])]
        return te.if_then_else(te.all(*inside), diagonal, 0) if inside else diagonal

    return X, te.compute((ROW, COL), body, name="Y")
