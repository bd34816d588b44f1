"""The tolerance against known errors: it passes other orders and catches one missing term."""

from __future__ import annotations

import numpy as np
import pytest

from autosched.spec import builder as b
from autosched.spec.evaluate import evaluate, random_inputs, tolerance
from autosched.spec.numerics import array_dtype
from evaluate_cases import conv, gemm


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
