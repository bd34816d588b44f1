"""PyTorch as users call it: eager, without gradients, in the layouts of our operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..arrays import input_arrays
from ..child import timed
from ..opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ..opened import Order

    Opener: TypeAlias = Callable[[dict[str, Any], list[torch.Tensor]], Callable[[], torch.Tensor]]


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


def gemm(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The product, into an output that is there."""
    a, b = _turned(args, inputs)
    c = torch.empty(a.shape[0], b.shape[1], dtype=a.dtype)
    return lambda: torch.mm(a, b, out=c)


def batch_gemm(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A product for each of a batch, into an output that is there."""
    a, b = _turned(args, inputs)
    c = torch.empty(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype)
    return lambda: torch.bmm(a, b, out=c)


def gemv(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The product with a vector, into an output that is there."""
    a, x = _turned(args, inputs)
    y = torch.empty(a.shape[0], dtype=a.dtype)
    return lambda: torch.mv(a, x, out=y)


def _turned(args: dict[str, Any], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """The two factors, those that are stored transposed as views."""
    turned = (args["transposeA"], args.get("transposeB", False))
    return [x.transpose(-2, -1) if is_turned else x for x, is_turned in zip(inputs, turned, strict=True)]


def bilinear(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """PyTorch's own layer, or its sum of products in the order that it chooses: the faster one."""
    x1, x2, weight, *bias = inputs
    ways = [lambda: torch.nn.functional.bilinear(x1, x2, weight, *bias)]
    if not bias:
        ways.append(lambda: torch.einsum("ik,jkl,il->ij", x1, weight, x2))
    return min(ways, key=_seconds)


def mttkrp(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A sum of products, in the order that PyTorch chooses."""
    return lambda: torch.einsum("ikl,kj,lj->ij", *inputs)


def layer(function: Callable[..., torch.Tensor]) -> Opener:
    """A layer with weights, in the layout that its inputs have: a convolution, a transposed one, `linear`."""

    def opener(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
        names = ("stride", "padding", "output_padding", "dilation", "groups")
        options = {name: args[name] for name in names if name in args}
        image, weight, *bias = inputs

        def call() -> torch.Tensor:
            found = function(image, weight, *bias, **options)
            return found.relu_() if args.get("relu") else found

        return call

    return opener


conv2d = layer(torch.nn.functional.conv2d)


def depthwise_conv2d(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A convolution with a group for each channel."""
    return conv2d({**args, "groups": args["C"]}, inputs)


def softmax(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Shares along the last dimension."""
    return lambda: torch.softmax(inputs[0], -1)


def mean(_args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The mean along the middle dimension."""
    return lambda: inputs[0].mean(1)


def variance(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The variance along the middle dimension."""
    return lambda: inputs[0].var(1, unbiased=args["unbiased"])


def layer_norm(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Rows normalised."""
    image, *affine = inputs
    return lambda: torch.nn.functional.layer_norm(image, (args["K"],), *affine, eps=args["eps"])


_ELEMENTWISE: dict[str, Callable[..., torch.Tensor]] = {
    "multiply": torch.mul, "add": torch.add, "subtract": torch.sub, "divide": torch.div, "maximum": torch.maximum,
    "minimum": torch.minimum,
}  # fmt: skip


def pointwise(args: dict[str, Any], inputs: list[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Two tensors element by element, into an output that is there."""
    function, out = _ELEMENTWISE[args["how"]], torch.empty_like(inputs[0])
    return lambda: function(*inputs, out=out)


def _seconds(call: Callable[[], object]) -> float:
    """Seconds of the fastest of three calls, after a first one."""
    call()
    return min(timed(call, 1) for _ in range(3))


OPERATORS: dict[str, Opener] = {
    "gemm": gemm,
    "batch_gemm": batch_gemm,
    "gemv": gemv,
    "bilinear": bilinear,
    "mttkrp": mttkrp,
    "conv1d": layer(torch.nn.functional.conv1d),
    "conv2d": conv2d,
    "conv3d": layer(torch.nn.functional.conv3d),
    "conv_transpose1d": layer(torch.nn.functional.conv_transpose1d),
    "conv_transpose2d": layer(torch.nn.functional.conv_transpose2d),
    "conv_transpose3d": layer(torch.nn.functional.conv_transpose3d),
    "depthwise_conv2d": depthwise_conv2d,
    "linear": layer(torch.nn.functional.linear),
    "softmax": softmax,
    "mean": mean,
    "variance": variance,
    "layer_norm": layer_norm,
    "pointwise": pointwise,
}
"""How each operator is called with its arguments and inputs."""
