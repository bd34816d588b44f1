"""Cells of recurrent networks."""

from collections.abc import Sequence

from ..spec import builder as te
from ..spec.builder import Tensor, Value
from .arguments import FloatDtype, Size, Switch
from .registry import register_operator


@register_operator
def lstm_cell(*, N: Size, C: Size, K: Size, bias: Switch = False, dtype: FloatDtype = "float32") -> Sequence[Tensor]:
    """A step of an LSTM: ``cell' = sigmoid(f) * cell + sigmoid(i) * tanh(g)``, ``hidden' = sigmoid(o) * tanh(cell')``.

    i, f, g and o are four times K gates, ``gates[n, j] = X[n, c] * W_ih[j, c] + hidden[n, k] * W_hh[j, k]``, plus
    ``b_ih[j] + b_hh[j]`` with `bias`. X is (N, C), hidden and cell are (N, K), W_ih is (4 * K, C), W_hh is (4 * K, K),
    b_ih and b_hh are (4 * K,); the results, hidden' and cell' in this order, are (N, K). Buffers and sums are of
    `dtype`. The arithmetic and the order of the gates are torch.nn.LSTMCell's.
    """
    X = te.placeholder((N, C), dtype, name="X")
    hidden, cell = te.placeholder((N, K), dtype, name="hidden"), te.placeholder((N, K), dtype, name="cell")
    W_ih, W_hh = te.placeholder((4 * K, C), dtype, name="W_ih"), te.placeholder((4 * K, K), dtype, name="W_hh")
    names = ("b_ih", "b_hh") if bias else ()
    biases = [te.placeholder((4 * K,), dtype, name=name) for name in names]
    c, k = te.reduce_axis(C, name="c"), te.reduce_axis(K, name="k")
    ours = te.compute((N, 4 * K), lambda n, j: te.sum(X[n, c] * W_ih[j, c], axis=c), name="from_input")
    theirs = te.compute((N, 4 * K), lambda n, j: te.sum(hidden[n, k] * W_hh[j, k], axis=k), name="from_hidden")

    def gate(n: Value, j: Value) -> Value:
        value = ours[n, j] + theirs[n, j]
        for vector in biases:
            value += vector[j]
        return value

    gates = te.compute((N, 4 * K), gate, name="gates")

    def opened(n: Value, k: Value, number: int) -> Value:
        return te.call("sigmoid", gates[n, k + number * K])

    def kept(n: Value, k: Value) -> Value:
        return opened(n, k, 1) * cell[n, k] + opened(n, k, 0) * te.call("tanh", gates[n, k + 2 * K])

    next_cell = te.compute((N, K), kept, name="next_cell")
    next_hidden = te.compute(
        (N, K), lambda n, k: opened(n, k, 3) * te.call("tanh", next_cell[n, k]), name="next_hidden"
    )
    return X, hidden, cell, W_ih, W_hh, *biases, next_hidden, next_cell
