"""PyTorch as users call it: eager, without gradients, in the layouts of our operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..arrays import input_arrays
from ..opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..opened import Order


def open_contender(order: Order) -> Opened:
    """The operator's function of PyTorch; a product writes into an output that is there, where PyTorch can."""
    torch.set_num_threads(order["threads"])
    torch.set_grad_enabled(False)
    # Cloned: PyTorch's own memory is aligned for vectors, NumPy's is not.
    inputs = [torch.from_numpy(array).clone() for array in input_arrays(order)]
    call = _OPERATORS[order["op"]](order["args"], inputs)
    return Opened(version=torch.__version__, kernels={"eager": call}, output=lambda _kernel: call().numpy())


def _gemm(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    a, b = inputs
    c = torch.empty(a.shape[0], b.shape[1])
    return lambda: torch.mm(a, b, out=c)


def _conv2d(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    options = {name: args[name] for name in ("stride", "padding", "dilation", "groups")}
    image, weight, *bias = inputs

    def call() -> torch.Tensor:
        found = torch.nn.functional.conv2d(image, weight, *bias, **options)
        return found.relu_() if args["relu"] else found

    return call


_OPERATORS = {"gemm": _gemm, "conv2d": _conv2d}
