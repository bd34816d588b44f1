"""The builder writes the workload that its words say, and refuses what they cannot say."""

from __future__ import annotations

import numpy as np
import pytest

from autosched.spec import builder as b
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.expr_text import text_from_expr
from autosched.spec.workload import Buffer, IterAxis, Output


def body_of(workload, stage="Y"):
    return text_from_expr(workload.stage(stage).body[0])


def vector(body, dtype="float32", extent=8):
    """The text of a stage over one axis i that may read A."""
    A = b.placeholder((extent,), dtype, "A")
    return body_of(b.build([A, b.compute((extent,), lambda i: body(A, i), "Y")]))


def test_a_product():
    A, B = b.placeholder((4, 8), name="A"), b.placeholder((8, 6), name="B")
    k = b.reduce_axis(8, "k")
    workload = b.build([A, B, b.compute((4, 6), lambda i, j: b.sum(A[i, k] * B[k, j], axis=k), name="C")])
    (stage,) = workload.stages
    assert workload.inputs == (
        Buffer(name="A", shape=(4, 8), dtype="float32"),
        Buffer(name="B", shape=(8, 6), dtype="float32"),
    )
    assert workload.params == ("A", "B", "C")
    assert stage.axes == (IterAxis(name="i", extent=4), IterAxis(name="j", extent=6))
    assert stage.reduce == (IterAxis(name="k", extent=8),)
    assert stage.outputs == (Output(name="C", dtype="float32"),)
    assert stage.reducer.op == "sum"
    assert body_of(workload, "C") == "A[i, k] * B[k, j]"
    inputs = random_inputs(workload, 0)
    np.testing.assert_allclose(evaluate(workload, inputs)["C"], inputs["A"] @ inputs["B"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "dtype", "start"),
    [
        ("sum", "float32", "0.0"), ("prod", "int8", "1"), ("max", "float32", "-inf"), ("min", "float16", "inf"),
        ("max", "int8", "-128"), ("min", "uint8", "255"),
    ],
)  # fmt: skip
def test_reductions_begin_with_their_identity(op, dtype, start):
    A = b.placeholder((4, 8), dtype, "A")
    k = b.reduce_axis((0, 8), "k")
    reducer = b.build([A, b.compute((4,), lambda i: getattr(b, op)(A[i, k], k), "Y")]).stages[0].reducer
    assert reducer.op == op
    assert reducer.init[0].text == start
    assert reducer.init[0].dtype == dtype


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda A, i: A[i] * 2, "A[i] * float32(2.0)"),
        (lambda A, i: 2 * A[i], "float32(2.0) * A[i]"),
        (lambda A, i: A[i] - 0.5, "A[i] - float32(0.5)"),
        (lambda A, i: 1 - A[i], "float32(1.0) - A[i]"),
        (lambda A, i: -A[i], "float32(0.0) - A[i]"),
        (lambda A, i: A[i] / A[i], "A[i] / A[i]"),
        (lambda A, i: 1 / A[i], "float32(1.0) / A[i]"),
        (lambda A, i: A[i] * 1, "A[i] * float32(1.0)"),
        (lambda A, i: A(i), "A[i]"),
        (lambda A, i: A[7 - i], "A[7 - i]"),
        (lambda A, i: A[i // 2 + i % 4], "A[i // 2 + i % 4]"),
        (lambda A, i: A[i * 1 + 0], "A[i]"),
        (lambda A, i: A[0 * i], "A[0]"),
        (lambda A, i: A[0 + 1 * i], "A[i]"),
        (lambda A, i: A[i // 1 - 0], "A[i]"),
        (lambda A, i: i.astype("float32"), "cast(float32, i)"),
        (lambda A, i: A[i].astype("float32"), "A[i]"),
        (lambda A, i: b.maximum(A[i], 0), "max(A[i], float32(0.0))"),
        (lambda A, i: b.minimum(0, A[i]), "min(float32(0.0), A[i])"),
        (lambda A, i: b.call("exp", A[i]), "exp(A[i])"),
        (lambda A, i: b.constant(3, "float32"), "float32(3.0)"),
        (lambda A, i: b.select(i < 3, A[i], 0), "select(i < 3, A[i], float32(0.0))"),
        (lambda A, i: b.if_then_else(i >= 1, A[i - 1], 0), "A[i - 1] if i >= 1 else float32(0.0)"),
        (
            lambda A, i: b.select(b.all(i > 1, i < 5, b.logical_not(i.equal(3))), A[i], 0),
            "select(i > 1 and i < 5 and not i == 3, A[i], float32(0.0))",
        ),
        (
            lambda A, i: b.select(b.any(i <= 1, A[i] > 0), A[i], 0),
            "select(i <= 1 or A[i] > float32(0.0), A[i], float32(0.0))",
        ),
    ],
)  # fmt: skip
def test_expressions(body, text):
    assert vector(body) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda A, i: A[i] + 1, "A[i] + int8(1)"),
        (lambda A, i: A[i] + 0, "A[i]"),
        (lambda A, i: A[i] * 1, "A[i]"),
        (lambda A, i: A[i] * 0, "int8(0)"),
        (lambda A, i: A[i] // 2, "A[i] // int8(2)"),
        (lambda A, i: 7 // A[i], "int8(7) // A[i]"),
        (lambda A, i: 7 % A[i], "int8(7) % A[i]"),
    ],
)
def test_integer_expressions(body, text):
    assert vector(body, "int8") == text


def test_an_index_as_a_value_is_an_int32():
    workload = b.build([b.compute((5,), lambda i: i * 2, "Y")])
    assert workload.stages[0].outputs[0].dtype == "int32"
    assert evaluate(workload, {})["Y"].tolist() == [0, 2, 4, 6, 8]


def test_axes_of_a_star_function_are_numbered():
    A = b.placeholder((2, 3), name="A")
    workload = b.build([A, b.compute((2, 3), lambda *i: A(*i) + 1, "Y")])
    assert body_of(workload) == "A[i0, i1] + float32(1.0)"


def test_scalars():
    A = b.placeholder((3,), name="A")
    k = b.reduce_axis(3, "k")
    workload = b.build([A, b.compute((), lambda: b.sum(A[k], k), "Y")])
    assert workload.stages[0].axes == ()
    assert evaluate(workload, {"A": np.ones(3, np.float32)})["Y"] == 3


def test_stages_are_found_through_their_readers_and_put_in_order():
    A = b.placeholder((4,), name="A")
    first = b.compute((4,), lambda i: A[i] + 1, "first")
    unread = b.compute((4,), lambda i: first[i] * 3, "unread")
    second = b.compute((4,), lambda i: first[i] * first[3 - i], "second")
    workload = b.build([A, b.compute((4,), lambda i: second[i] - first[i], "Y")])
    assert [stage.name for stage in workload.stages] == ["first", "second", "Y"]
    assert workload.params == ("A", "Y")
    both = b.build([unread, A, second])
    assert both.params == ("unread", "A", "second")
    assert both.outputs == ("unread", "second")


def test_a_compute_that_fails_leaves_no_sources_behind():
    A, B = b.placeholder((4,), name="A"), b.placeholder((4,), name="B")

    def fails(i):
        assert A[i].dtype == "float32"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        b.compute((4,), fails, "bad")
    assert b.compute((4,), lambda i: B[i], "Y").sources == (B,)


A4 = b.placeholder((4,), name="A")
K4 = b.reduce_axis(4, "k")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.build([b.compute((4,), lambda i: A4[i], "Y")]), "inputs A are not among the parameters; add them"),
        (lambda: b.build([A4]), "params: no output among the parameters; add the buffer that is asked for"),
        (
            lambda: b.build([A4, b.compute((4,), lambda i: A4[i], "Y"), b.compute((4,), lambda i: A4[i], "Y")]),
            "two tensors are called 'Y'; give each its own name",
        ),
        (
            lambda: b.build([A4, A4, b.compute((4,), lambda i: A4[i], "Y")]),
            "two buffers are called 'A'; give each its own name",
        ),
        (lambda: b.reduce_axis((1, 4), "k"), "reduce axis 'k' has range (1, 4); allowed: (0, extent)"),
        (lambda: b.reduce_axis(0, "k"), "extent: extent 0; allowed: a whole number from 1 to 2**40"),
        (lambda: b.placeholder((4, 0), name="A"), "shape: extent 0; allowed: a whole number from 1"),
        (lambda: b.placeholder((4,), "float8", "A"), "dtype: unknown dtype 'float8'; allowed: float16"),
        (lambda: b.placeholder((4,), name="a b"), "name: 'a b' is not a name; use letters, digits, _ and dots"),
        (lambda: b.compute((4, 4), lambda i: A4[i], "Y"), "compute function takes 1 axes, the shape has 2"),
        (lambda: b.compute((4,), lambda i: 3, "Y"), "compute 'Y' returned int; return a value or a reduction"),
        (lambda: b.compute((4,), lambda exp: A4[exp], "Y"), "name: 'exp' is a word of the expression language"),
        (
            lambda: b.compute((4,), lambda i: A4[i] if i < 3 else A4[0], "Y"),
            "the truth of an expression is not known; use if_then_else, all or any of the builder",
        ),
        (
            lambda: b.build([A4, b.compute((4,), lambda i: A4[i] + b.sum(A4[K4], K4).value, "Y")]),
            "no axis 'k' here; axes: i",
        ),
        (
            lambda: b.build([A4, b.compute((5,), lambda i: A4[i], "Y")]),
            "stages[0] 'Y'.body: A[i]: index 0 runs over 0..4, allowed is 0..3; guard it with 'x if cond else y'",
        ),
        (lambda: b.constant(300, "int8"), "constant 300 does not fit int8; allowed: -128..127"),
        (
            lambda: b.build([A4, b.compute((4,), lambda i: A4[i] + i, "Y")]),
            "operands are float32 and int32; cast one of them",
        ),
    ],
)
def test_what_cannot_be_said(make, message):
    with pytest.raises(SpecError) as error:
        make()
    assert message in str(error.value)


def test_axes_of_any_number_are_named_in_the_call():
    A = b.placeholder((2, 3), name="A")
    stage = b.compute((2, 3), lambda *at: A[at], "Y", axes=("row", "column")).stage
    assert [axis.name for axis in stage.axes] == ["row", "column"]
    with pytest.raises(SpecError, match="compute 'Y' names 1 axes, the shape has 2"):
        b.compute((2, 3), lambda *at: A[at], "Y", axes=("row",))
