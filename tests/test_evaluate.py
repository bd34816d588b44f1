"""The NumPy reference against plain loops, and its points against its wholes."""

from __future__ import annotations

import math
import time

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec import builder as b
from autosched.spec.contract import contract
from autosched.spec.dtypes import round_to
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, evaluate_points, random_inputs, tolerance
from autosched.spec.evaluate_stage import block_sizes, boxes
from autosched.spec.expr import (
    BINARY_OPS,
    CALLS,
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    If,
    Load,
    Select,
    const,
    index,
)
from autosched.spec.numerics import INTRINSICS, OPERATORS, array_dtype, rounded, truncdiv
from autosched.spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from evaluate_cases import conv, gemm, one_stage
from naive_interpreter import Interpreter
from strategies import workloads


def all_points(shape):
    return np.array(list(np.ndindex(shape)), np.int64).reshape(math.prod(shape), len(shape))


@given(workloads(), st.integers(0, 3))
def test_evaluate_is_the_plain_loops(workload, seed):
    inputs = random_inputs(workload, seed)
    naive = Interpreter(workload, inputs)
    found = evaluate(workload, inputs, precise=True, keep=workload.writer)
    for name in workload.writer:
        expected = naive.array(name)
        assert found[name].shape == expected.shape
        assert found[name].dtype == expected.dtype
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)


@given(workloads(), st.randoms(use_true_random=False))
def test_points_are_elements_of_the_whole(workload, random):
    inputs = random_inputs(workload, 1)
    whole = evaluate(workload, inputs, precise=True)
    for name in workload.outputs:
        points = all_points(whole[name].shape)
        points = points[random.sample(range(len(points)), min(len(points), 7))]
        found = evaluate_points(workload, inputs, name, points)
        np.testing.assert_allclose(found, whole[name][tuple(points.T)], rtol=1e-12, atol=1e-12)


@given(workloads())
def test_rounded_results_are_within_the_tolerance_of_precise_ones(workload):
    inputs = random_inputs(workload, 2)
    found, expected = evaluate(workload, inputs), evaluate(workload, inputs, precise=True)
    for name in workload.outputs:
        rtol, atol = tolerance(workload, name)
        np.testing.assert_allclose(found[name].astype(expected[name].dtype), expected[name], rtol=rtol, atol=atol)


@given(workloads())
def test_blocks_do_not_change_the_result(workload):
    import autosched.spec.evaluate_stage as module

    inputs = random_inputs(workload, 0)
    expected = evaluate(workload, inputs, precise=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ELEMENTS", 7)
        patch.setattr(module, "FACTOR_ELEMENTS", 5)
        found = evaluate(workload, inputs, precise=True)
    for name in workload.outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)


@given(st.lists(st.integers(1, 9), max_size=3), st.data())
def test_boxes_cover_every_point_once(extents, data):
    steps = [data.draw(st.integers(1, extent)) for extent in extents]
    seen = np.zeros(extents, int)
    for lows, sizes in boxes(extents, steps):
        seen[tuple(slice(low, low + size) for low, size in zip(lows, sizes, strict=True))] += 1
    assert (seen == 1).all()


def test_blocks_are_bounded():
    sizes = block_sizes(gemm(1 << 14, 1 << 14, 1 << 14).stages[0])
    assert sizes["i"] * sizes["k"] <= 2**22
    assert sizes["j"] * sizes["k"] <= 2**22
    assert sizes["i"] * sizes["j"] <= 2**22


@given(st.data())
def test_contract_is_einsum(data):
    extents = data.draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=5))
    rank = len(extents)
    keep = data.draw(st.sets(st.integers(0, rank - 1)))
    terms = data.draw(st.lists(st.sets(st.integers(0, rank - 1)), min_size=1, max_size=4))
    kind = data.draw(st.sampled_from(["float64", "int8", "int64"]))
    rng = np.random.default_rng(0)
    factors = [
        rng.integers(-100, 100, [e if d in dims else 1 for d, e in enumerate(extents)]).astype(kind) for dims in terms
    ]
    grid = np.ones(extents, kind)
    for factor in factors:
        grid = grid * factor
    expected = grid.sum(axis=tuple(d for d in range(rank) if d not in keep), keepdims=True, dtype=kind)
    found = np.broadcast_to(contract(factors, extents, keep), expected.shape)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_large_integer_products_wrap():
    workload = gemm(3, 4, 5, "int64")
    big = np.full((3, 5), 2**62 + 1, np.int64)
    other = np.arange(20, dtype=np.int64).reshape(5, 4)
    with np.errstate(over="ignore"):
        expected = (big[:, :, None] * other[None]).sum(axis=1, dtype=np.int64)
    assert (evaluate(workload, {"A": big, "B": other})["C"] == expected).all()


@pytest.mark.parametrize(("a", "c"), [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-6, 3), (0, 5)])
def test_truncating_and_flooring_division(a, c):
    arrays = np.array([a]), np.array([c])
    assert truncdiv(*arrays)[0] == int(a / c)
    assert OPERATORS["truncmod"](*arrays)[0] == a - int(a / c) * c
    assert OPERATORS["floordiv"](*arrays)[0] == a // c
    assert OPERATORS["floormod"](*arrays)[0] == a % c


def test_every_operator_and_call_is_known():
    assert INTRINSICS.keys() == CALLS.keys()
    assert set(BINARY_OPS) <= OPERATORS.keys()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@given(value=st.floats(width=32, allow_nan=False))
def test_rounding_is_that_of_constants(dtype, value):
    with np.errstate(over="ignore"):
        found = rounded(np.array([value], np.float64), dtype)
    assert float(found[0]) == round_to(dtype, value)


def test_rounding_keeps_nan():
    assert np.isnan(rounded(np.array([np.nan], np.float32), "bfloat16")[0])


def test_round_is_half_to_even_and_casts_truncate():
    X = Buffer(name="X", shape=(6,), dtype="float32")
    load = Load("X", (Axis("i"),))
    values = np.array([0.5, 1.5, -0.5, -1.5, 2.5, -2.7], np.float32)
    even = one_stage(Call("round", (load,)), "float32", {"i": 6}, (X,))
    assert evaluate(even, {"X": values})["Y"].tolist() == [0, 2, 0, -2, 2, -3]
    cut = one_stage(Cast("int8", load), "int8", {"i": 6}, (X,))
    assert evaluate(cut, {"X": values})["Y"].tolist() == [0, 1, 0, -1, 2, -2]


def test_integers_wrap_in_their_own_dtype():
    X = Buffer(name="X", shape=(2,), dtype="int8")
    load = Load("X", (Axis("i"),))
    narrow = one_stage(Binary("add", load, load), "int8", {"i": 2}, (X,))
    assert evaluate(narrow, {"X": np.array([100, -100], np.int8)})["Y"].tolist() == [-56, 56]
    wide = one_stage(Binary("mul", Cast("int32", load), const("int32", 1 << 30)), "int32", {"i": 2}, (X,))
    assert evaluate(wide, {"X": np.array([2, 4], np.int8)})["Y"].tolist() == [-(2**31), 0]


def test_index_arithmetic_takes_the_index_dtype_beside_typed_values():
    X = Buffer(name="X", shape=(2,), dtype="int32")
    body = Binary("add", Load("X", (Axis("i"),)), Binary("mul", Axis("i"), index(2)))
    found = evaluate(one_stage(body, "int32", {"i": 2}, (X,)), {"X": np.array([5, 6], np.int32)})["Y"]
    assert found.tolist() == [5, 8]
    assert found.dtype == np.int32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_at_every_stage_unless_precise(dtype):
    A = b.placeholder((3,), dtype, "A")
    B = b.compute((3,), lambda i: A[i] + b.constant(1 / 3, dtype), "B")
    workload = b.build([A, b.compute((3,), lambda i: B[i] * b.constant(3.0, dtype), "C")])
    inputs = random_inputs(workload, 0)
    third = round_to(dtype, 1 / 3)
    expected = [round_to(dtype, round_to(dtype, float(a) + third) * 3) for a in inputs["A"]]
    found = evaluate(workload, inputs)["C"]
    assert found.dtype == array_dtype(dtype)
    assert [float(v) for v in found] == expected
    assert evaluate(workload, inputs, precise=True)["C"].tolist() == [(float(a) + third) * 3 for a in inputs["A"]]


def test_bfloat16_inputs_may_be_float32_arrays():
    workload = gemm(2, 2, 2, "bfloat16")
    inputs = random_inputs(workload, 0)
    plain = {name: array.astype(np.float32) for name, array in inputs.items()}
    assert (evaluate(workload, plain)["C"] == evaluate(workload, inputs)["C"]).all()


# --- guards ---------------------------------------------------------------------------------------------------------

X4 = Buffer(name="X", shape=(4,), dtype="float32")
SHIFTED = Load("X", (Binary("sub", Axis("i"), index(1)),))
INSIDE = Compare("ge", Axis("i"), index(1))


def test_a_guard_hides_what_is_out_of_bounds():
    workload = one_stage(If(INSIDE, SHIFTED, const("float32", 9)), "float32", {"i": 5}, (X4,))
    inputs = {"X": np.array([1, 2, 3, 4], np.float32)}
    assert evaluate(workload, inputs)["Y"].tolist() == [9, 1, 2, 3, 4]
    assert evaluate_points(workload, inputs, "Y", np.array([[0], [4]])).tolist() == [9, 4]


@pytest.mark.parametrize(
    "body",
    [
        SHIFTED,
        Select(INSIDE, SHIFTED, const("float32", 9)),
        If(Compare("ge", Axis("i"), index(0)), SHIFTED, const("float32", 9)),
        If(INSIDE, const("float32", 9), SHIFTED),
    ],
)
def test_a_read_out_of_bounds_is_an_error(body):
    workload = one_stage(body, "float32", {"i": 5}, (X4,))
    inputs = {"X": np.zeros(4, np.float32)}
    message = r"stage 'Y': X\[i - 1\] reads index -1 of dimension 0, allowed is 0..3; guard it"
    with pytest.raises(SpecError, match=message):
        evaluate(workload, inputs)
    with pytest.raises(SpecError, match=message):
        evaluate_points(workload, inputs, "Y", np.array([[0], [1]]))
    assert evaluate_points(workload, inputs, "Y", np.array([[1]])).shape == (1,)


def test_points_demand_only_what_they_need():
    """The producer fails at element 0 only, and nobody asks for what needs it."""
    bad = one_stage(SHIFTED, "float32", {"i": 5}, (X4,)).stages[0]
    reader = Stage(
        name="Z", axes=(IterAxis(name="j", extent=5),), outputs=(Output(name="Z", dtype="float32"),),
        body=(If(Compare("ge", Axis("j"), index(1)), Load("Y", (Axis("j"),)), const("float32", 7)),),
    )  # fmt: skip
    workload = Workload(inputs=(X4,), stages=(bad, reader), params=("X", "Z"))
    inputs = {"X": np.array([1, 2, 3, 4], np.float32)}
    assert evaluate_points(workload, inputs, "Z", all_points((5,))).tolist() == [7, 1, 2, 3, 4]


def test_gathers_read_where_the_data_says():
    table, rows = b.placeholder((10, 3), name="T"), b.placeholder((4,), "int32", "R")
    row = lambda i: b.minimum(b.maximum(rows[i], 0), 9)  # noqa: E731
    workload = b.build([table, rows, b.compute((4, 3), lambda i, j: table[row(i), j], "Y")])
    inputs = random_inputs(workload, 0) | {"R": np.array([3, -5, 99, 0], np.int32)}
    assert (evaluate(workload, inputs)["Y"] == inputs["T"][[3, 0, 9, 0]]).all()


def test_a_custom_reducer_runs_in_order():
    """A recurrence, acc * 2 + x: no reordering gives the same."""
    stage = Stage(
        name="Y", axes=(), reduce=(IterAxis(name="r", extent=2), IterAxis(name="s", extent=3)),
        outputs=(Output(name="Y", dtype="int32"),),
        body=(Binary("add", Binary("mul", Acc(0), const("int32", 2)), Load("X", (Axis("r"), Axis("s")))),),
        reducer=Reducer(op="custom", init=(const("int32", 1),)),
    )  # fmt: skip
    X = Buffer(name="X", shape=(2, 3), dtype="int32")
    workload = Workload(inputs=(X,), stages=(stage,), params=("X", "Y"))
    digits = np.array([[1, 0, 1], [1, 0, 0]], np.int32)
    assert evaluate(workload, {"X": digits})["Y"] == 0b1101100
    assert evaluate_points(workload, {"X": digits}, "Y", np.zeros((1, 0), np.int64)).tolist() == [0b1101100]


def test_reductions_begin_with_their_start_value():
    stage = gemm(2, 2, 2).stages[0]
    started = attrs.evolve(stage, reducer=Reducer(op="sum", init=(const("float32", 10),)))
    workload = attrs.evolve(gemm(2, 2, 2), stages=(started,))
    inputs = random_inputs(workload, 0)
    assert np.allclose(evaluate(workload, inputs)["C"], inputs["A"] @ inputs["B"] + 10)


def test_kept_buffers_and_only_those():
    workload = conv(2, 4, 3, 3, pad=1)
    inputs = random_inputs(workload, 0)
    assert evaluate(workload, inputs).keys() == {"Y"}
    kept = evaluate(workload, inputs, keep=["P"])
    assert kept.keys() == {"P", "Y"}
    assert kept["P"].shape == (1, 2, 6, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"A": a["A"]}, "inputs: no array for input 'B'; give one of float32 (3, 4)"),
        (lambda a: {**a, "Z": a["A"]}, "inputs: array 'Z' is no input; inputs: A, B"),
        (lambda a: {**a, "A": a["A"].T}, "input 'A' is float32 (3, 2), the workload has float32 (2, 3)"),
        (lambda a: {**a, "A": a["A"].astype(float)}, "input 'A' is float64 (2, 3), the workload has float32 (2, 3)"),
    ],
)
def test_inputs_that_do_not_fit(change, message):
    workload = gemm(2, 4, 3)
    with pytest.raises(SpecError) as error:
        evaluate(workload, change(random_inputs(workload, 0)))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("output", "points", "message"),
    [
        ("Q", [[0, 0]], "no buffer 'Q'; buffers: A, B, C"),
        ("C", [[0]], r"points: points of 'C' have shape \(1, 1\); allowed: \(n, 2\)"),
        ("C", [[0, 4]], r"points: a point is outside of 'C', which has shape \(2, 4\)"),
        ("C", [[-1, 0]], "outside"),
    ],
)
def test_points_that_do_not_fit(output, points, message):
    workload = gemm(2, 4, 3)
    with pytest.raises(SpecError, match=message):
        evaluate_points(workload, random_inputs(workload, 0), output, np.array(points))


def test_no_points_are_no_work():
    workload = gemm(2, 4, 3)
    assert evaluate_points(workload, random_inputs(workload, 0), "C", np.zeros((0, 2), np.int64)).shape == (0,)


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_large_convolution_is_quick():
    workload = conv(128, 56, 256, 3, pad=1)
    inputs = random_inputs(workload, 0)
    begin = time.perf_counter()
    found = evaluate(workload, inputs)["Y"]
    assert time.perf_counter() - begin < 10, "0.1 s on an idle core; plain broadcasting takes minutes"
    points = np.random.default_rng(0).integers(0, [1, 256, 56, 56], size=(64, 4))
    begin = time.perf_counter()
    some = evaluate_points(workload, inputs, "Y", points)
    assert time.perf_counter() - begin < 1, "0.013 s on an idle core"
    rtol, atol = tolerance(workload, "Y")
    np.testing.assert_allclose(found[tuple(points.T)], some, rtol=rtol, atol=atol)
