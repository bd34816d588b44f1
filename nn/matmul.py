"""Products of matrices and vectors, in FlexTensor's letters: N rows, M columns, K in between."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor
from .arguments import FloatDtype, Size, Switch
from .epilogue import finished
from .registry import register_operator


@register_operator
def gemm(
    *,
    N: Size,
    K: Size,
    M: Size,
    transposeA: Switch = False,
    transposeB: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Matrix times matrix: ``C[i, j] += A[i, k] * B[k, j]``.

    A is (N, K), or (K, N) and read as ``A[k, i]`` with `transposeA`; B is (K, M), or (M, K) and read as ``B[j, k]``
    with `transposeB`; C is (N, M). The letters are FlexTensor's (ASPLOS'20): N rows and M columns, where BLAS has M
    rows and N columns. Buffers and sums are of `dtype`.
    """
    A = te.placeholder((K, N) if transposeA else (N, K), dtype, name="A")
    B = te.placeholder((M, K) if transposeB else (K, M), dtype, name="B")
    k = te.reduce_axis(K, name="k")
    C = te.compute(
        (N, M),
        lambda i, j: te.sum(A[(k, i) if transposeA else (i, k)] * B[(j, k) if transposeB else (k, j)], axis=k),
        name="C",
    )
    return A, B, C


@register_operator
def batch_gemm(
    *,
    B: Size,
    N: Size,
    K: Size,
    M: Size,
    transposeA: Switch = False,
    transposeB: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """A matrix product for each of a batch: ``Z[b, i, j] += X[b, i, k] * Y[b, k, j]``.

    X is (B, N, K), or (B, K, N) with `transposeA`; Y is (B, K, M), or (B, M, K) with `transposeB`; Z is (B, N, M). The
    letters are FlexTensor's (ASPLOS'20), as in `gemm`. Buffers and sums are of `dtype`.
    """
    X = te.placeholder((B, K, N) if transposeA else (B, N, K), dtype, name="X")
    Y = te.placeholder((B, M, K) if transposeB else (B, K, M), dtype, name="Y")
    k = te.reduce_axis(K, name="k")
    Z = te.compute(
        (B, N, M),
        lambda b, i, j: te.sum(
            X[(b, k, i) if transposeA else (b, i, k)] * Y[(b, j, k) if transposeB else (b, k, j)], axis=k
        ),
        name="Z",
    )
    return X, Y, Z


@register_operator
def gemv(*, N: Size, K: Size, transposeA: Switch = False, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Matrix times vector: ``y[i] += A[i, k] * x[k]``.

    A is (N, K), or (K, N) and read as ``A[k, i]`` with `transposeA`; x is (K,), y is (N,). The letters are
    FlexTensor's (ASPLOS'20). Buffers and sums are of `dtype`.
    """
    A = te.placeholder((K, N) if transposeA else (N, K), dtype, name="A")
    x = te.placeholder((K,), dtype, name="x")
    k = te.reduce_axis(K, name="k")
    y = te.compute((N,), lambda i: te.sum(A[(k, i) if transposeA else (i, k)] * x[k], axis=k), name="y")
    return A, x, y


@register_operator
def linear(
    *, N: Size, K: Size, M: Size, bias: Switch = False, relu: Switch = False, dtype: FloatDtype = "float32"
) -> Sequence[Tensor]:
    """A fully connected layer: ``Y[i, j] += X[i, k] * W[j, k]``.

    X is (N, K), a row for each of a batch; the weights W are (M, K), bias is (M,), Y is (N, M). Buffers and sums are
    of `dtype`. The letters are those of `gemm`, the arithmetic is torch.nn.functional.linear's.
    """
    X = te.placeholder((N, K), dtype, name="X")
    weight = te.placeholder((M, K), dtype, name="W")
    k = te.reduce_axis(K, name="k")
    Y = te.compute((N, M), lambda i, j: te.sum(X[i, k] * weight[j, k], axis=k), name="Y")
    return X, weight, *finished(Y, bias, relu)
