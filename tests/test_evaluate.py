"""The NumPy reference against plain loops, its points against its wholes, and the tolerance against known errors."""

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
from autosched.spec.dtypes import DTYPES, is_float, round_to
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
from autosched.spec.task import ValueRange
from autosched.spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from naive_interpreter import Interpreter
from strategies import workloads


def gemm(M, N, K, dtype="float32", acc=None):
    A, B = b.placeholder((M, K), dtype, "A"), b.placeholder((K, N), dtype, "B")
    k = b.reduce_axis(K, "k")
    acc = acc or dtype
    body = lambda i, j: b.sum(A[i, k].astype(acc) * B[k, j].astype(acc), k)  # noqa: E731
    return b.build([A, B, b.compute((M, N), body, "C")])


def conv(C, H, K, R, *, stride=1, pad=0):
    X, W = b.placeholder((1, C, H, H), name="X"), b.placeholder((K, C, R, R), name="W")
    rc, rh, rw = b.reduce_axis(C, "rc"), b.reduce_axis(R, "rh"), b.reduce_axis(R, "rw")
    inside = lambda h, w: b.all(h >= pad, h < H + pad, w >= pad, w < H + pad)  # noqa: E731
    P = b.compute(
        (1, C, H + 2 * pad, H + 2 * pad),
        lambda n, c, h, w: b.if_then_else(inside(h, w), X[n, c, h - pad, w - pad], 0.0),
        "P",
    )
    O = (H + 2 * pad - R) // stride + 1  # noqa: E741
    body = lambda n, k, h, w: b.sum(P[n, rc, h * stride + rh, w * stride + rw] * W[k, rc, rh, rw], (rc, rh, rw))  # noqa: E731
    return b.build([X, W, b.compute((1, K, O, O), body, "Y")])


def one_stage(body, dtype, extents, inputs=(), index_dtype="int32"):
    stage = Stage(
        name="Y", axes=tuple(IterAxis(name=n, extent=e) for n, e in extents.items()),
        outputs=(Output(name="Y", dtype=dtype),), body=(body,),
    )  # fmt: skip
    return Workload(inputs=inputs, stages=(stage,), params=(*(i.name for i in inputs), "Y"), index_dtype=index_dtype)


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


# --- inputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_inputs_of_every_dtype(dtype):
    X = Buffer(name="X", shape=(40, 50), dtype=dtype)
    workload = one_stage(Load("X", (Axis("i"), Axis("j"))), dtype, {"i": 40, "j": 50}, (X,))
    array = random_inputs(workload, 7)["X"]
    assert array.dtype == array_dtype(dtype)
    assert (array == random_inputs(workload, 7)["X"]).all()
    assert not (array == random_inputs(workload, 8)["X"]).all()
    values = array.astype(np.float64)
    if dtype != "bool":
        assert (values != 0).all()
        assert abs(values).max() <= (1.5 if is_float(dtype) else 9)
    if is_float(dtype):
        assert abs(values).min() >= 0.5
    if is_float(dtype) or dtype.startswith("int"):
        assert 0.4 < (values > 0).mean() < 0.6
    for shift in range(1, 50):
        assert not (values == np.roll(values, shift, axis=1)).all(), "an error in an index would go unseen"


def test_inputs_differ_from_one_another():
    inputs = random_inputs(gemm(4, 4, 4), 0)
    assert not (inputs["A"] == inputs["B"]).any()


def test_integer_ranges_are_kept_and_filled():
    workload = gemm(20, 20, 20, "int8", "int32")
    array = random_inputs(workload, 0, [ValueRange(buffer="A", low=-2, high=3)])["A"]
    assert set(array.ravel().tolist()) == {-2, -1, 0, 1, 2, 3}


def test_indices_run_over_what_they_index():
    table, rows = b.placeholder((100,), name="T"), b.placeholder((4000,), "int64", "R")
    first, last = b.constant(0, "int64"), b.constant(99, "int64")
    Y = b.compute((4000,), lambda i: table[b.minimum(b.maximum(rows[i], first), last)], "Y")
    workload = b.build([table, rows, Y], index_dtype="int64")
    rows = random_inputs(workload, 0)["R"]
    assert rows.min() < 0
    assert rows.max() > 99
    assert len(set(rows.tolist())) > 90


def test_inputs_under_a_root_are_positive():
    X, V = b.placeholder((50,), name="X"), b.placeholder((50,), name="V")
    copied = b.compute((60,), lambda i: b.if_then_else(i < 50, V[i], 1.0), "P")
    Y = b.compute((50,), lambda i: X[i] * b.call("rsqrt", copied[i] + 1e-5), "Y")
    inputs = random_inputs(b.build([X, V, Y]), 0)
    assert (inputs["V"] > 0).all()
    assert (inputs["X"] < 0).any()


# --- tolerance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 16, 1024, 9216])
def test_the_tolerance_passes_other_orders_and_catches_one_missing_term(K):
    workload = gemm(24, 24, K)
    inputs = random_inputs(workload, 3)
    expected = evaluate(workload, inputs, precise=True)["C"]
    rtol, atol = tolerance(workload, "C")
    sequential = np.zeros((24, 24), np.float32)
    for k in range(K):
        sequential = sequential + np.outer(inputs["A"][:, k], inputs["B"][k])
    np.testing.assert_allclose(sequential, expected, rtol=rtol, atol=atol)
    term = np.outer(inputs["A"][:, K // 2], inputs["B"][K // 2])
    wrong = abs(term) > atol + rtol * abs(expected)
    assert wrong.all(), "a missing term must show in every element"


@pytest.mark.parametrize(("dtype", "K"), [("float16", 64), ("bfloat16", 32), ("float64", 1024)])
def test_the_tolerance_passes_sequential_sums_in_other_dtypes(dtype, K):
    workload = gemm(16, 16, K, dtype)
    inputs = random_inputs(workload, 3)
    expected = evaluate(workload, inputs, precise=True)["C"]
    total = np.zeros((16, 16), array_dtype(dtype))
    for k in range(K):
        total = total + inputs["A"][:, k : k + 1] * inputs["B"][k : k + 1]
    rtol, atol = tolerance(workload, "C")
    np.testing.assert_allclose(total.astype(np.float64), expected, rtol=rtol, atol=atol)


def test_the_tolerance_grows_with_length_and_shortness_of_dtype():
    by_length = [tolerance(gemm(4, 4, K), "C")[0] for K in (1, 64, 4096)]
    assert by_length == sorted(by_length)
    assert by_length[-1] < 100 * by_length[0]
    by_dtype = [tolerance(gemm(4, 4, 64, dtype), "C")[0] for dtype in ("float64", "float32", "float16", "bfloat16")]
    assert by_dtype == sorted(by_dtype)
    assert tolerance(gemm(4, 4, 64, "float16", "float32"), "C") == tolerance(gemm(4, 4, 64), "C")


def test_the_tolerance_is_the_worst_of_the_chain():
    A = b.placeholder((8, 8), name="A")
    k = b.reduce_axis(8, "k")
    half = b.compute((8, 8), lambda i, j: A[i, j].astype("float16") * A[j, i].astype("float16"), "H")
    Y = b.compute((8, 8), lambda i, j: b.sum(half[i, k].astype("float32"), k), "Y")
    assert tolerance(b.build([A, Y]), "Y")[0] > 2**-11


def test_what_is_not_rounded_must_be_exact():
    assert tolerance(gemm(4, 4, 4, "int8", "int32"), "C") == (0, 0)
    assert tolerance(conv(2, 4, 3, 3, pad=1), "P") == (0, 0)
    A = b.placeholder((4, 8), name="A")
    k = b.reduce_axis(8, "k")
    assert tolerance(b.build([A, b.compute((4,), lambda i: b.max(A[i, k], k), "M")]), "M") == (0, 0)


def test_integers_made_of_rounded_floats_may_be_off_by_one():
    A = b.placeholder((4,), name="A")
    workload = b.build([A, b.compute((4,), lambda i: b.call("round", A[i] * 3.0).astype("int8"), "Q")])
    assert tolerance(workload, "Q") == (0, 1)


def test_softmax_and_layer_norm_have_small_tolerances():
    A = b.placeholder((8, 64), name="A")
    k, m = b.reduce_axis(64, "k"), b.reduce_axis(64, "m")
    top = b.compute((8,), lambda i: b.max(A[i, m], m), "top")
    raised = b.compute((8, 64), lambda i, j: b.call("exp", A[i, j] - top[i]), "E")
    total = b.compute((8,), lambda i: b.sum(raised[i, k], k), "total")
    workload = b.build([A, b.compute((8, 64), lambda i, j: raised[i, j] / total[i], "Y")])
    rtol, atol = tolerance(workload, "Y")
    assert 1e-7 < rtol < 1e-4
    assert atol < 1e-4
    found = evaluate(workload, random_inputs(workload, 0))["Y"]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


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
