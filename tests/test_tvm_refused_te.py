"""Computations in TE that cannot be read are refused: each names its operation or block."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import te, topi

from refusals import te_refusal


def test_intrinsics_outside_the_language() -> None:
    X = te.placeholder((4,), name="X")
    message = te_refusal(X, te.compute((4,), lambda i: tvm.tirx.isnan(X[i]), name="Y"))
    assert message.startswith("block 'Y' calls tirx.isnan, which is not in the language; allowed: exp, log, ")


def test_nan() -> None:
    message = te_refusal(te.compute((4,), lambda i: tvm.tirx.FloatImm("float32", float("nan")), name="Y"))
    assert message == "block 'Y': a constant is nan; allowed are finite numbers and inf"


def test_loads_out_of_bounds() -> None:
    X = te.placeholder((4,), name="X")
    assert te_refusal(X, te.compute((4,), lambda i: X[i + 1], name="Y")) == (
        "block 'Y': X[i + 1]: index 0 runs over 1..4, allowed is 0..3; guard it with 'x if cond else y'"
    )


def test_loops_of_two_integer_types() -> None:
    X = te.placeholder((4,), name="X")
    Y = te.compute((tvm.tirx.IntImm("int64", 4),), lambda i: X[i], name="Y")
    Z = te.compute((4,), lambda i: X[i] + 1.0, name="Z")
    message = te_refusal(X, Y, Z)
    assert message.startswith("block 'root' stands around loop 'i', which is int")
    assert message.endswith("; give all extents one type")


# --- TE ---------------------------------------------------------------------------------------------------------------


def reduced(**options: Any) -> list[te.Tensor]:
    X, k = te.placeholder((4, 8), name="X"), te.reduce_axis((0, 8), "k")
    given = {name: value(k) for name, value in options.items()}
    return [X, te.compute((4,), lambda i: te.sum(X[i, k], axis=k, **given), name="Y")]


def test_conditions_of_reductions_which_tvm_drops() -> None:
    assert te_refusal(*reduced(where=lambda k: k > 3)) == (
        "TE operation 'Y' reduces only where k > 3, which TVM drops without a word; put the condition into the value "
        "with te.if_then_else"
    )


def test_start_values_of_reductions_which_tvm_drops() -> None:
    assert te_refusal(*reduced(init=lambda _: 5.0)) == (
        "TE operation 'Y' reduces from a start value of its own, which TVM drops without a word; add it afterwards"
    )


@pytest.mark.parametrize("make", [topi.cumsum, topi.sort, topi.argsort])
def test_opaque_operations(make: Any) -> None:
    X = te.placeholder((4, 8), name="X")
    message = te_refusal(X, make(X))
    assert message.startswith("TE operation '")
    assert message.endswith("is a ExternOp, which is opaque; write it with te.compute to have it scheduled")


def test_a_symbolic_te_shape() -> None:
    X = te.placeholder((te.var("n"),), name="X")
    assert te_refusal(X, te.compute(X.shape, lambda i: X[i])) == (
        "TE operation 'compute' has the shape (n); give it whole numbers"
    )


def test_wrong_arguments_of_te() -> None:
    X = te.placeholder((4,), name="X")
    Y = te.compute((4,), lambda i: X[i], name="Y")
    assert te_refusal(Y) == "TE operation 'X' is an input but not listed; list all inputs, then the outputs"
    assert te_refusal(X, X, Y) == "tensor 'X' is listed twice; list each once"
    assert te_refusal(X, 3) == "argument 1 is a int; pass TE tensors: inputs, then outputs"
    assert te_refusal() == "found a tuple; pass a list of TE tensors: inputs, then outputs"


def test_a_shape_made_of_data() -> None:
    A, B = te.placeholder((4,), "int32", "A"), te.placeholder((4, 4), name="B")
    assert te_refusal(A, B, te.compute((A[0],), lambda i: B[i, 0], name="C")) == (
        "TE operation 'C' has the shape (computed from data or symbols); give it whole numbers"
    )
