"""Our operators as users of TVM write them for its own searches: TE and TOPI, whichever TVM's they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..opened import Order


def tensors(order: Order, te: Any, topi: Any) -> list[Any]:
    """The operator's TE tensors, inputs first; ValueError for what it has no words for."""
    shapes = [each["shape"] for each in order["inputs"]]
    inputs = [te.placeholder(shape, name=name) for shape, name in zip(shapes, "AB", strict=True)]
    args = order["args"]
    if order["op"] == "gemm":
        a, b = inputs
        k = te.reduce_axis((0, args["K"]), name="k")
        return [a, b, te.compute((args["N"], args["M"]), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")]
    if order["op"] == "conv2d" and args["groups"] == 1 and not (args["bias"] or args["relu"]):
        places = (args["stride"], args["padding"], args["dilation"])
        return [*inputs, topi.nn.conv2d_nchw(*inputs, *places)]
    raise ValueError(f"{order['op']} with {args} is not written in TE here; allowed: gemm, and conv2d without groups")
