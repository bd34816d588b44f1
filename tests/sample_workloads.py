"""Small workloads that several tests use."""

from __future__ import annotations

from autosched.spec.builder import build, call, compute, placeholder, reduce_axis
from autosched.spec.builder import max as max_over
from autosched.spec.builder import sum as sum_over
from autosched.spec.expr import Acc, Axis, Compare, Const, Load, Select
from autosched.spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload


def gemm(M: int, N: int, K: int, dtype: str = "float32", index_dtype: str = "int32") -> Workload:
    A, B, k = placeholder((M, K), dtype, name="A"), placeholder((K, N), dtype, name="B"), reduce_axis(K, name="k")
    C = compute((M, N), lambda i, j: sum_over(A[i, k] * B[k, j], axis=k), name="C")
    return build([A, B, C], index_dtype)


def argmax(rows: int, columns: int) -> Workload:
    """The first greatest element of each row, and where it is: a reducer over two outputs at once."""
    here = Load("X", (Axis("i"), Axis("k")))
    keep = Compare("ge", Acc(1), here)
    stage = Stage(
        name="best",
        axes=(IterAxis(name="i", extent=rows),),
        reduce=(IterAxis(name="k", extent=columns),),
        outputs=(Output(name="best.at", dtype="int32"), Output(name="best.value", dtype="float32")),
        body=(Select(keep, Acc(0), Axis("k")), Select(keep, Acc(1), here)),
        reducer=Reducer(op="custom", init=(Const("int32", "-1"), Const("float32", "-inf"))),
    )
    return Workload(
        inputs=(Buffer(name="X", shape=(rows, columns), dtype="float32"),),
        stages=(stage,),
        params=("X", "best.at", "best.value"),
    )


def softmax(rows: int, columns: int) -> Workload:
    X, k = placeholder((rows, columns), name="X"), reduce_axis(columns, name="k")
    top = compute((rows,), lambda i: max_over(X[i, k], axis=k), name="top")
    e = compute((rows, columns), lambda i, j: call("exp", X[i, j] - top[i]), name="e")
    total = compute((rows,), lambda i: sum_over(e[i, k], axis=k), name="total")
    return build([X, compute((rows, columns), lambda i, j: e[i, j] / total[i], name="Y")])
