"""Workloads whose numbers are known, for the tests of the evaluator."""

from __future__ import annotations

from autosched.spec import builder as b
from autosched.spec.workload import IterAxis, Output, Stage, Workload


def gemm(M, N, K, dtype="float32", acc=None):
    A, B = b.placeholder((M, K), dtype, "A"), b.placeholder((K, N), dtype, "B")
    k = b.reduce_axis(K, "k")
    acc = acc or dtype
    body = lambda i, j: b.sum(A[i, k].astype(acc) * B[k, j].astype(acc), k)  # noqa: E731
    return b.build([A, B, b.compute((M, N), body, "C")])


def conv(C, H, K, R, *, stride=1, pad=0):
    X, W = b.placeholder((1, C, H, H), name="X"), b.placeholder((K, C, R, R), name="W")
    rc, rh, rw = b.reduce_axis(C, "rc"), b.reduce_axis(R, "rh"), b.reduce_axis(R, "rw")
    inside = lambda h, w: b.all(h >= pad, h < H + pad, w >= pad, w < H + pad)  # noqa: E731
    P = b.compute(
        (1, C, H + 2 * pad, H + 2 * pad),
        lambda n, c, h, w: b.if_then_else(inside(h, w), X[n, c, h - pad, w - pad], 0.0),
        "P",
    )
    O = (H + 2 * pad - R) // stride + 1  # noqa: E741
    body = lambda n, k, h, w: b.sum(P[n, rc, h * stride + rh, w * stride + rw] * W[k, rc, rh, rw], (rc, rh, rw))  # noqa: E731
    return b.build([X, W, b.compute((1, K, O, O), body, "Y")])


def one_stage(body, dtype, extents, inputs=(), index_dtype="int32"):
    stage = Stage(
        name="Y", axes=tuple(IterAxis(name=n, extent=e) for n, e in extents.items()),
        outputs=(Output(name="Y", dtype=dtype),), body=(body,),
    )  # fmt: skip
    return Workload(inputs=inputs, stages=(stage,), params=(*(i.name for i in inputs), "Y"), index_dtype=index_dtype)
