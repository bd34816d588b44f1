"""What comes after an operator where it is asked for: bias and ReLU."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor


def finished(result: Tensor, bias: bool, relu: bool = False, *, channel: int = 1) -> Sequence[Tensor]:
    """An operator's last parameters, after the stages asked for: the bias, if there is one, and the output.

    Dimension `channel` of the result is what the bias is for.
    """
    vectors = (te.placeholder((result.shape[channel],), result.dtype, name="bias"),) if bias else ()
    for vector in vectors:
        result = add_bias(result, vector, channel)
    return *vectors, rectified(result) if relu else result


def add_bias(result: Tensor, bias: Tensor, *channel: int, name: str = "bias_add") -> Tensor:
    """The stage ``bias_add[n, k, h, w] = result[n, k, h, w] + bias[k]``; the dimensions `channel` are k."""
    return te.compute(
        result.shape, lambda *at: result[at] + bias[tuple(at[d] for d in channel)], name, axes=axis_names(result)
    )


def rectified(result: Tensor) -> Tensor:
    """The stage ``relu[n, k, h, w] = max(result[n, k, h, w], 0)``."""
    return te.compute(result.shape, lambda *at: te.maximum(result[at], 0), "relu", axes=axis_names(result))


def axis_names(result: Tensor) -> tuple[str, ...] | None:
    """The names of a stage's axes, for the stage after it."""
    return tuple(axis.name for axis in result.stage.axes) if result.stage is not None else None
