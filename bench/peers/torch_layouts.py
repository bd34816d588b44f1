"""PyTorch in the layouts that its users can change to, beside its eager mode: a kernel for each.

Inputs are brought into a layout before the clock runs, and the output stays in it: who works in a layout throughout
pays for it once. Weights that are packed beforehand are constants of a network; our kernels pack theirs in each call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..opened import Opened
from . import torch_eager

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..opened import Order


def open_contender(order: Order) -> Opened:
    """The kernels ``eager``, as users call it, and one for each other layout that this PyTorch has."""
    inputs = torch_eager.prepared_inputs(order)
    eager = torch_eager.OPERATORS[order["op"]](order["args"], inputs)
    kernels = {"eager": eager}
    if torch.backends.mkldnn.is_available():
        kernels |= _LAYOUTS[order["op"]](order["args"], inputs)

    def output(kernel: str) -> Any:
        found = kernels[kernel]()
        return (found.to_dense() if found.is_mkldnn else found).contiguous().numpy()

    return Opened(version=torch.__version__, kernels=kernels, output=output)


def _conv2d(args: dict[str, Any], inputs: list[torch.Tensor]) -> dict[str, Callable[[], torch.Tensor]]:
    """Channels innermost; oneDNN's own layouts throughout; weights packed by oneDNN, with images in both orders."""
    image, weight, *bias = inputs
    rows = {name: [args[name]] * 2 for name in ("padding", "stride", "dilation")}
    places = (*rows.values(), args["groups"])
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *places, list(image.shape))  # noqa: SLF001
    last = image.to(memory_format=torch.channels_last)
    convolve = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
    after: tuple[Any, ...] = ("relu" if args["relu"] else "none", [], "")
    bias_or_none = bias[0] if bias else None
    kernels = {
        "channels last": torch_eager.conv2d(args, [last, weight.to(memory_format=torch.channels_last), *bias]),
        "weights packed": lambda: convolve(image, packed, bias_or_none, *places, *after),
        "channels last, weights packed": lambda: convolve(last, packed, bias_or_none, *places, *after),
    }
    if not args["relu"]:
        whole = [image.to_mkldnn(), packed, *(each.to_mkldnn() for each in bias)]
        kernels["blocked"] = torch_eager.conv2d(args, whole)
    return kernels


def _gemm(_args: dict[str, Any], inputs: list[torch.Tensor]) -> dict[str, Callable[[], torch.Tensor]]:
    """A linear layer with its weights transposed, or packed by oneDNN or MKL, where they can."""
    a, b = inputs
    turned = b.t().contiguous()
    kernels: dict[str, Callable[[], torch.Tensor]] = {"transposed": lambda: torch.nn.functional.linear(a, turned)}
    packed = torch.ops.mkldnn._reorder_linear_weight(turned, a.shape[0])  # noqa: SLF001
    linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    kernels["packed by oneDNN"] = lambda: linear(a, packed, None, "none", [], "")
    if torch.backends.mkl.is_available():
        own = torch.ops.mkl._mkl_reorder_linear_weight(turned, a.shape[0])  # noqa: SLF001
        kernels["packed by MKL"] = lambda: torch.ops.mkl._mkl_linear(a, own, turned, None, a.shape[0])  # noqa: SLF001
    return kernels


_LAYOUTS = {"gemm": _gemm, "conv2d": _conv2d}
