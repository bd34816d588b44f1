"""An operator of one's own, known by name wherever one of autosched's is: here the Gram matrix of a table's columns.

A package of yours makes the command line know it too, by an entry point in the group ``autosched.operators``.
"""

import autosched as at
from autosched.nn.arguments import FloatDtype, Size
from autosched.nn.registry import register_operator
from autosched.spec import builder as te


@register_operator
def gram(*, N: Size, M: Size, dtype: FloatDtype = "float32"):
    """The Gram matrix: ``G[i, j] += X[n, i] * X[n, j]``; X is (N, M), G is (M, M)."""
    X = te.placeholder((N, M), dtype, name="X")
    n = te.reduce_axis(N, name="n")
    G = te.compute((M, M), lambda i, j: te.sum(X[n, i] * X[n, j], axis=n), name="G")
    return X, G


if __name__ == "__main__":
    task = at.get_task("gram", N=512, M=256)
    result = at.lookup_or_tune(task, trials=8)
    print(f"{task.op.text}: {result.latency_s * 1e6:.0f} µs, {result.speedup:.2f} times the default")
