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
    call = OPERATORS[order["op"]](order["args"], prepared_inputs(order))
    return Opened(version=torch.__version__, kernels={"eager": call}, output=lambda _kernel: call().numpy())


def prepared_inputs(order: Order) -> list[torch.Tensor]:
    """The order's inputs, once PyTorch has as many threads as it says and takes no gradients."""
    torch.set_num_threads(order["threads"])
    torch.set_grad_enabled(False)
    # Cloned: PyTorch's own memory is aligned for vectors, NumPy's is not.
    return [torch.from_numpy(array).clone() for array in input_arrays(order)]


def gemm(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The product, into an output that is there."""
    a, b = inputs
    c = torch.empty(a.shape[0], b.shape[1])
    return lambda: torch.mm(a, b, out=c)


def conv2d(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The convolution, in the layout that its inputs have."""
    options = {name: args[name] for name in ("stride", "padding", "dilation", "groups")}
    image, weight, *bias = inputs

    def call() -> torch.Tensor:
        found = torch.nn.functional.conv2d(image, weight, *bias, **options)
        return found.relu_() if args["relu"] else found

    return call


OPERATORS = {"gemm": gemm, "conv2d": conv2d}
"""How each operator is called with its arguments and inputs."""
