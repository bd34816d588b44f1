"""Products of three tensors as two products of two: the shorter of the two sums is taken last."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor
from .algorithms import register_algorithm
from .epilogue import finished


@register_algorithm("mttkrp", name="factored")
def mttkrp_factored(*, N: int, K1: int, K2: int, M: int, dtype: str) -> Sequence[Tensor]:
    """``T[i, k, j] += A[i, k, l] * C[l, j]``, ``D[i, j] += T[i, k, j] * B[k, j]``; turned round where K1 > K2."""
    A = te.placeholder((N, K1, K2), dtype, name="A")
    B = te.placeholder((K1, M), dtype, name="B")
    C = te.placeholder((K2, M), dtype, name="C")
    k, m = te.reduce_axis(K1, name="k"), te.reduce_axis(K2, name="l")
    if K1 <= K2:
        T = te.compute((N, K1, M), lambda i, k, j: te.sum(A[i, k, m] * C[m, j], axis=m), name="T")
        D = te.compute((N, M), lambda i, j: te.sum(T[i, k, j] * B[k, j], axis=k), name="D")
    else:
        T = te.compute((N, K2, M), lambda i, m, j: te.sum(A[i, k, m] * B[k, j], axis=k), name="T")
        D = te.compute((N, M), lambda i, j: te.sum(T[i, m, j] * C[m, j], axis=m), name="D")
    return A, B, C, D


@register_algorithm("bilinear", name="factored")
def bilinear_factored(*, N: int, K1: int, K2: int, M: int, bias: bool, dtype: str) -> Sequence[Tensor]:
    """``T[j, k, i] += W[j, k, l] * X2[i, l]``, ``Y[i, j] += X1[i, k] * T[j, k, i]``."""
    X1 = te.placeholder((N, K1), dtype, name="X1")
    X2 = te.placeholder((N, K2), dtype, name="X2")
    weight = te.placeholder((M, K1, K2), dtype, name="W")
    k, m = te.reduce_axis(K1, name="k"), te.reduce_axis(K2, name="l")
    T = te.compute((M, K1, N), lambda j, k, i: te.sum(weight[j, k, m] * X2[i, m], axis=m), name="T")
    Y = te.compute((N, M), lambda i, j: te.sum(X1[i, k] * T[j, k, i], axis=k), name="Y")
    return X1, X2, weight, *finished(Y, bias)
