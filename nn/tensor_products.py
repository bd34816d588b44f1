"""Products of three tensors over two axes, each written as one sum; two products in turn are an algorithm of theirs."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor
from .arguments import FloatDtype, Size, Switch
from .epilogue import finished
from .registry import register_operator


@register_operator
def bilinear(
    *, N: Size, K1: Size, K2: Size, M: Size, bias: Switch = False, dtype: FloatDtype = "float32"
) -> Sequence[Tensor]:
    """Bilinear layer: ``Y[i, j] += X1[i, k] * W[j, k, l] * X2[i, l]``.

    X1 is (N, K1) and X2 is (N, K2), a row for each of a batch; the weights W are (M, K1, K2), bias is (M,), Y is
    (N, M). Buffers and sums are of `dtype`. The letters are FlexTensor's (ASPLOS'20), the arithmetic is
    torch.nn.functional.bilinear's. A point of the sum counts 2 operations, as any multiply-add.
    """
    X1 = te.placeholder((N, K1), dtype, name="X1")
    X2 = te.placeholder((N, K2), dtype, name="X2")
    weight = te.placeholder((M, K1, K2), dtype, name="W")
    k1, k2 = te.reduce_axis(K1, name="k"), te.reduce_axis(K2, name="l")
    Y = te.compute((N, M), lambda i, j: te.sum(X1[i, k1] * weight[j, k1, k2] * X2[i, k2], axis=[k1, k2]), name="Y")
    return X1, X2, weight, *finished(Y, bias)


@register_operator
def mttkrp(*, N: Size, K1: Size, K2: Size, M: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Matricized tensor times Khatri-Rao product, of 3 dimensions: ``D[i, j] += A[i, k, l] * B[k, j] * C[l, j]``.

    A is (N, K1, K2), B is (K1, M), C is (K2, M), D is (N, M). Buffers and sums are of `dtype`. The letters and the
    formula are FlexTensor's (ASPLOS'20). A point of the sum counts 2 operations, as any multiply-add.
    """
    A = te.placeholder((N, K1, K2), dtype, name="A")
    B = te.placeholder((K1, M), dtype, name="B")
    C = te.placeholder((K2, M), dtype, name="C")
    k1, k2 = te.reduce_axis(K1, name="k"), te.reduce_axis(K2, name="l")
    D = te.compute((N, M), lambda i, j: te.sum(A[i, k1, k2] * B[k1, j] * C[k2, j], axis=[k1, k2]), name="D")
    return A, B, C, D
