"""Signed integers that overflow: there is nothing to compare with, and nothing else is let off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.builder import build, compute, maximum, placeholder, reduce_axis
from autosched.spec.builder import sum as summed
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.testing import workloads
from autosched.spec.testing_overflow import overflows, widened

if TYPE_CHECKING:
    from autosched.spec.workload import Workload


def sums(dtype: str, n: int = 4) -> Workload:
    X = placeholder((3, n), name="X", dtype=dtype)
    k = reduce_axis(n, name="k")
    return build([X, compute((3,), lambda i: summed(X[i, k], k), name="Y")])


@given(
    st.sampled_from(["int8", "int16", "int32", "int64"]),
    st.lists(st.floats(-1, 1), min_size=12, max_size=12),
    st.sampled_from([0.2, 1.0]),
)
def test_sums_overflow_where_they_do_not_fit(dtype: str, parts: list[float], share: float) -> None:
    greatest = np.iinfo(dtype).max
    values = [
        int(share * part * (greatest >> 11)) << 11 if dtype == "int64" else int(share * part * greatest)
        for part in parts
    ]
    rows = [values[4 * row : 4 * row + 4] for row in range(3)]
    wrong = any(not np.iinfo(dtype).min <= sum(row) <= greatest for row in rows)
    assert overflows(sums(dtype), {"X": np.array(rows, dtype=dtype)}) == wrong


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_other_types_have_a_result_always(dtype: str) -> None:
    X = placeholder((4,), name="X", dtype=dtype)
    workload = build([X, compute((4,), lambda i: X[i], name="Y")])
    assert not overflows(workload, {"X": np.ones(4, dtype=dtype)})


def test_what_overflows_in_the_middle_counts_although_the_end_would_fit() -> None:
    X = placeholder((2,), name="X", dtype="int8")
    workload = build([X, compute((2,), lambda i: maximum(X[i] + X[i], X[i]), name="Y")])
    assert overflows(workload, {"X": np.array([3, -100], dtype="int8")})
    assert not overflows(workload, {"X": np.array([3, -60], dtype="int8")})


@given(workloads(dtypes=["int8", "int16", "int32"]), st.integers(0, 9))
def test_where_nothing_overflows_a_wider_type_has_the_same_values(workload: Workload, seed: int) -> None:
    inputs = random_inputs(workload, seed)
    if not overflows(workload, inputs):
        wide = widened(workload, dict.fromkeys(("int8", "int16", "int32"), "int64"))
        found = evaluate(wide, {name: array.astype(wide.buffers[name].dtype) for name, array in inputs.items()})
        for name, values in evaluate(workload, inputs).items():
            np.testing.assert_array_equal(found[name], values)
