"""The example of the README as a user runs it: a product in TE, the store, NumPy arrays, threads left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvm import te

from ... import Task, __version__, lookup
from ..arrays import input_arrays, output_array
from ..opened import Opened

if TYPE_CHECKING:
    from ..opened import Order


def gemm(M: int, N: int, K: int) -> list[Any]:
    """C = A · B in TE, inputs first."""
    A = te.placeholder((M, K), name="A")
    B = te.placeholder((K, N), name="B")
    k = te.reduce_axis((0, K), name="k")
    C = te.compute((M, N), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")
    return [A, B, C]


def open_contender(order: Order) -> Opened:
    """The built function of what the store knows; RuntimeError where that is nothing: this may not search."""
    args = order["args"]
    task = Task.from_te(gemm, args=(args["N"], args["M"], args["K"]), threads=order["threads"])
    result = lookup(task, store=order["store"])
    if result is None:
        raise RuntimeError("the store does not know the product in TE that was tuned by name")
    func = result.build()
    a, b = input_arrays(order)
    c = output_array(order)
    return Opened(version=__version__, kernels={"call": lambda: func(a, b, c)}, output=lambda _kernel: c)
