"""Inputs drawn for a workload: values that hide no error, in the ranges that it takes."""

from __future__ import annotations

import numpy as np
import pytest

from autosched.spec import builder as b
from autosched.spec.dtypes import DTYPES, is_float
from autosched.spec.evaluate import random_inputs
from autosched.spec.expr import (
    Axis,
    Load,
)
from autosched.spec.numerics import array_dtype
from autosched.spec.task import ValueRange
from autosched.spec.workload import Buffer
from evaluate_cases import gemm, one_stage


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
