"""The count of operations, on workloads whose count is known."""

import pytest

from autosched.spec import builder as te
from autosched.spec.builder import Tensor
from autosched.spec.flops import flop_count

N, K = 6, 5
A = te.placeholder((N, K), name="A")
B = te.placeholder((N, K), name="B")
I = te.placeholder((N,), "int32", name="I")  # noqa: E741 # an index vector
k = te.reduce_axis(K, name="k")


def count(output: Tensor) -> int | None:
    read = {source.name: source for source in inputs_of(output)}
    return flop_count(te.build([*read.values(), output]))


def inputs_of(tensor: Tensor) -> list[Tensor]:
    return [tensor] if tensor.stage is None else [t for source in tensor.sources for t in inputs_of(source)]


POINTS = {
    "a sum of products": (te.compute((N,), lambda i: te.sum(A[i, k] * B[i, k], axis=k), name="Y"), 2 * N * K),
    "a sum of products of three": (
        te.compute((N,), lambda i: te.sum(A[i, k] * B[i, k] * A[i, k], axis=k), name="Y"),
        2 * N * K,
    ),
    "a guarded product": (
        te.compute((N,), lambda i: te.sum(te.if_then_else(k < 3, A[i, k] * B[i, k], 0), axis=k), name="Y"),
        2 * N * K,
    ),
    "a plain sum": (te.compute((N,), lambda i: te.sum(A[i, k], axis=k), name="Y"), None),
    "a maximum": (te.compute((N,), lambda i: te.max(A[i, k], axis=k), name="Y"), None),
    "a maximum of products": (te.compute((N,), lambda i: te.max(A[i, k] * B[i, k], axis=k), name="Y"), N * K),
    "a product over an axis": (te.compute((N,), lambda i: te.prod(A[i, k], axis=k), name="Y"), N * K),
    "an elementwise product": (te.compute((N, K), lambda i, j: A[i, j] * 2.0 * B[i, j], name="Y"), 2 * N * K),
    "one of two branches": (
        te.compute((N, K), lambda i, j: te.select(j < 2, A[i, j] * 2.0, A[i, j]), name="Y"),
        N * K,
    ),
    "additions": (te.compute((N, K), lambda i, j: A[i, j] + B[i, j] / 2.0, name="Y"), None),
    "index arithmetic": (te.compute((N, 2), lambda i, j: A[i, j * 2 + 1], name="Y"), None),
    "index arithmetic as a value": (te.compute((N,), lambda i: (i * 3).astype("float32"), name="Y"), None),
    "arithmetic in a condition": (
        te.compute((N, K), lambda i, j: te.if_then_else(i * 2 < j, A[i, j], 0), name="Y"),
        None,
    ),
    "integers": (te.compute((N,), lambda i: I[i] * I[i], name="Y"), N),
}


@pytest.mark.parametrize(("output", "expected"), POINTS.values(), ids=list(POINTS))
def test_one_stage(output: Tensor, expected: int | None) -> None:
    assert count(output) == expected


def test_stages_add_up() -> None:
    squares = te.compute((N, K), lambda i, j: A[i, j] * A[i, j], name="squares")
    total = te.compute((N,), lambda i: te.sum(squares[i, k] * B[i, k], axis=k), name="total")
    shifted = te.compute((N,), lambda i: total[i] + 1.0, name="shifted")
    assert count(shifted) == N * K + 2 * N * K
