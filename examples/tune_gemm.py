"""Tune a matrix product written in TE and call the kernel on NumPy arrays. The second run finds it in the store."""

import numpy as np
from tvm import te

import autosched as at


def gemm(M, N, K):
    A = te.placeholder((M, K), name="A")
    B = te.placeholder((K, N), name="B")
    k = te.reduce_axis((0, K), name="k")
    C = te.compute((M, N), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")
    return [A, B, C]  # inputs first


def main():
    task = at.Task.from_te(gemm, args=(512, 512, 512), target="llvm")
    result = at.lookup_or_tune(task, trials=16)
    print(f"{result.gflops:.0f} GFLOP/s, {result.speedup:.1f} times the default, from the {result.source}")

    rng = np.random.default_rng(0)
    a = rng.standard_normal((512, 512), dtype="float32")
    b = rng.standard_normal((512, 512), dtype="float32")
    c = np.empty((512, 512), dtype="float32")
    result.build()(a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    main()
