"""Averages and what is normalised by them: mean, variance, batch norm, layer norm, softmax."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from ..spec.errors import SpecError
from .arguments import FloatDtype, Positive, Size, Switch
from .registry import register_operator


@register_operator
def mean(*, N: Size, K: Size, M: Size = 1, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """The mean over the middle dimension: ``mean[n, m] = (sum over k of X[n, k, m]) / K``.

    X is (N, K, M), the result is (N, M); every dimension of every tensor is the middle one of such a view. Buffers and
    sums are of `dtype`. The formula is FlexTensor's (ASPLOS'20), torch.mean's too.
    """
    X = te.placeholder((N, K, M), dtype, name="X")
    return X, _mean(X)


@register_operator
def variance(
    *, N: Size, K: Size, M: Size = 1, unbiased: Switch = True, dtype: FloatDtype = "float32"
) -> Sequence[Tensor]:
    """The variance over the middle dimension: ``(sum over k of (X[n, k, m] - mean[n, m])**2) / (K - 1)``.

    X is (N, K, M), the result is (N, M), as for `mean`. K is divided by in place of K - 1 where it is not `unbiased`.
    Buffers and sums are of `dtype`. The formula is FlexTensor's (ASPLOS'20), torch.var's too.
    """
    if unbiased and K == 1:
        raise SpecError("1 element has no unbiased variance; use 2 or more, or unbiased=False", "K")
    X = te.placeholder((N, K, M), dtype, name="X")
    squares = _squares(X, _mean(X))
    count = float(K - 1 if unbiased else K)
    return X, te.compute((N, M), lambda n, m: squares[n, m] / count, name="variance")


@register_operator
def layer_norm(
    *, N: Size, K: Size, eps: Positive = 1e-5, affine: Switch = True, dtype: FloatDtype = "float32"
) -> Sequence[Tensor]:
    """Each row normalised: ``norm[n, k] = (X[n, k] - mean[n]) / sqrt(variance[n] + eps) * weight[k] + bias[k]``.

    X and the result are (N, K); mean and variance (of the row itself: divided by K) are over k. weight and bias are
    (K,), and left out where the layer is not `affine`. Buffers and sums are of `dtype`. The arithmetic is
    torch.nn.functional.layer_norm's over the last dimension.
    """
    X = te.placeholder((N, K), dtype, name="X")
    k = te.reduce_axis(K, name="k")
    total = te.compute((N,), lambda n: te.sum(X[n, k], axis=k), name="total")
    average = te.compute((N,), lambda n: total[n] / float(K), name="mean")
    k = te.reduce_axis(K, name="k")
    squares = te.compute(
        (N,), lambda n: te.sum((X[n, k] - average[n]) * (X[n, k] - average[n]), axis=k), name="squares"
    )
    scale = te.compute((N,), lambda n: te.call("rsqrt", squares[n] / float(K) + eps), name="scale")
    vectors = _affine((K,), dtype, affine)

    def body(n: Value, k: Value) -> Value:
        value = (X[n, k] - average[n]) * scale[n]
        return value * vectors[0][k] + vectors[1][k] if vectors else value

    return X, *vectors, te.compute((N, K), body, name="norm")


@register_operator
def batch_norm(
    *,
    N: Size,
    C: Size,
    H: Size = 1,
    W: Size = 1,
    eps: Positive = 1e-5,
    affine: Switch = True,
    training: Switch = False,
    dtype: FloatDtype = "float32",
) -> Sequence[Tensor]:
    """Each channel normalised: ``norm[n, c, h, w] = (X[n, c, h, w] - mean[c]) / sqrt(variance[c] + eps) * …``.

    X and the result are (N, C, H, W). mean and variance are inputs, (C,), as in inference; in `training` they are
    those of X over n, h and w (divided by N * H * W), and no inputs. weight and bias, ``* weight[c] + bias[c]``, are
    (C,), and left out where the layer is not `affine`. Buffers and sums are of `dtype`. The arithmetic is
    torch.nn.functional.batch_norm's; FlexTensor's is its training with H = W = 1, but divides by N - 1.
    """
    X = te.placeholder((N, C, H, W), dtype, name="X")
    given: Sequence[Tensor] = ()
    if training:
        average, spread = _channel_statistics(X)
    else:
        given = average, spread = te.placeholder((C,), dtype, "mean"), te.placeholder((C,), dtype, "variance")
    vectors = _affine((C,), dtype, affine)

    def factor(c: Value) -> Value:
        value = te.call("rsqrt", spread[c] + eps)
        return value * vectors[0][c] if vectors else value

    scale = te.compute((C,), factor, name="scale")

    def body(n: Value, c: Value, h: Value, w: Value) -> Value:
        value = (X[n, c, h, w] - average[c]) * scale[c]
        return value + vectors[1][c] if vectors else value

    norm = te.compute((N, C, H, W), body, name="norm")
    return X, *given, *vectors, norm


@register_operator
def softmax(*, N: Size, K: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Each row to shares of 1: ``exp(X[n, k] - greatest[n]) / (sum over j of exp(X[n, j] - greatest[n]))``.

    X and the result are (N, K); the greatest element of a row, taken off first, keeps the exponentials finite. Buffers
    and sums are of `dtype`. The arithmetic is torch.softmax's over the last dimension.
    """
    X = te.placeholder((N, K), dtype, name="X")
    k = te.reduce_axis(K, name="k")
    greatest = te.compute((N,), lambda n: te.max(X[n, k], axis=k), name="greatest")
    power = te.compute((N, K), lambda n, k: te.call("exp", X[n, k] - greatest[n]), name="power")
    k = te.reduce_axis(K, name="k")
    total = te.compute((N,), lambda n: te.sum(power[n, k], axis=k), name="total")
    return X, te.compute((N, K), lambda n, k: power[n, k] / total[n], name="softmax")


def _mean(X: Tensor) -> Tensor:
    """The mean of (N, K, M) over its middle dimension."""
    N, K, M = X.shape
    k = te.reduce_axis(K, name="k")
    total = te.compute((N, M), lambda n, m: te.sum(X[n, k, m], axis=k), name="total")
    return te.compute((N, M), lambda n, m: total[n, m] / float(K), name="mean")


def _squares(X: Tensor, average: Tensor) -> Tensor:
    """The sum over the middle dimension of (N, K, M) of squared distances from the mean."""
    N, K, M = X.shape
    k = te.reduce_axis(K, name="k")
    return te.compute(
        (N, M),
        lambda n, m: te.sum((X[n, k, m] - average[n, m]) * (X[n, k, m] - average[n, m]), axis=k),
        name="squares",
    )


def _channel_statistics(X: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of (N, C, H, W)."""
    N, C, H, W = X.shape
    count = float(N * H * W)
    rest = [te.reduce_axis(extent, name) for extent, name in ((N, "n"), (H, "h"), (W, "w"))]
    n, h, w = rest
    total = te.compute((C,), lambda c: te.sum(X[n, c, h, w], axis=rest), name="total")
    average = te.compute((C,), lambda c: total[c] / count, name="mean")
    squares = te.compute(
        (C,),
        lambda c: te.sum((X[n, c, h, w] - average[c]) * (X[n, c, h, w] - average[c]), axis=rest),
        name="squares",
    )
    return average, te.compute((C,), lambda c: squares[c] / count, name="variance")


def _affine(shape: tuple[int, ...], dtype: str, affine: bool) -> tuple[Tensor, ...]:
    """Weight and bias; nothing where there are none."""
    return tuple(te.placeholder(shape, dtype, name) for name in ("weight", "bias")) if affine else ()
