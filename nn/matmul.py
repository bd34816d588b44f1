"""Products of matrices and vectors, in FlexTensor's letters: N rows, M columns, K in between."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor
from .arguments import FloatDtype, Size
from .registry import register_operator


@register_operator
def gemm(*, N: Size, K: Size, M: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Matrix times matrix: ``C[i, j] += A[i, k] * B[k, j]``.

    A is (N, K), B is (K, M), C is (N, M). The letters are FlexTensor's (ASPLOS'20): N rows and M columns, where
    BLAS has M rows and N columns. Buffers and sums are of `dtype`.
    """
    A = te.placeholder((N, K), dtype, name="A")
    B = te.placeholder((K, M), dtype, name="B")
    k = te.reduce_axis(K, name="k")
    C = te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")
    return A, B, C


@register_operator
def batch_gemm(*, B: Size, N: Size, K: Size, M: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """A matrix product for each of a batch: ``Z[b, i, j] += X[b, i, k] * Y[b, k, j]``.

    X is (B, N, K), Y is (B, K, M), Z is (B, N, M). The letters are FlexTensor's (ASPLOS'20), as in `gemm`. Buffers
    and sums are of `dtype`.
    """
    X = te.placeholder((B, N, K), dtype, name="X")
    Y = te.placeholder((B, K, M), dtype, name="Y")
    k = te.reduce_axis(K, name="k")
    Z = te.compute((B, N, M), lambda b, i, j: te.sum(X[b, i, k] * Y[b, k, j], axis=k), name="Z")
    return X, Y, Z


@register_operator
def gemv(*, N: Size, K: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Matrix times vector: ``y[i] += A[i, k] * x[k]``.

    A is (N, K), x is (K,), y is (N,). The letters are FlexTensor's (ASPLOS'20). Buffers and sums are of
    `dtype`.
    """
    A = te.placeholder((N, K), dtype, name="A")
    x = te.placeholder((K,), dtype, name="x")
    k = te.reduce_axis(K, name="k")
    y = te.compute((N,), lambda i: te.sum(A[i, k] * x[k], axis=k), name="y")
    return A, x, y
