"""Element-wise operators."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from .arguments import Arithmetic, FloatDtype, Size
from .registry import register_operator


@register_operator
def pointwise(*, N: Size, how: Arithmetic = "multiply", dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """Two tensors, element by element: ``C[i] = A[i] * B[i]``, or +, -, /, max, min.

    A, B and C are (N,), as any three tensors of one shape are in memory, and of `dtype`. `how` is multiply, add,
    subtract, divide, maximum or minimum. FlexTensor (ASPLOS'20) has the product.
    """
    A, B = te.placeholder((N,), dtype, name="A"), te.placeholder((N,), dtype, name="B")
    return A, B, te.compute((N,), lambda i: _combined(how, A[i], B[i]), name="C")


def _combined(how: str, a: Value, b: Value) -> Value:
    match how:
        case "multiply":
            return a * b
        case "add":
            return a + b
        case "subtract":
            return a - b
        case "divide":
            return a / b
        case "maximum":
            return te.maximum(a, b)
        case _:
            return te.minimum(a, b)
