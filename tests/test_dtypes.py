"""Schedules dtype by dtype: computed in one, or read in one and added up in a wider one, all are within tolerance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.dtypes import is_float
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.expr import Cast, Load, walk
from autosched.spec.inputs import random_inputs
from autosched.spec.testing import assert_lowers_correctly, assert_rewrites_correctly, schedules, tasks, workloads
from autosched.spec.testing_lowering import assert_close
from autosched.spec.tolerance import UNIT, tolerance

if TYPE_CHECKING:
    from autosched.spec.builder import Reduction, Value
    from autosched.spec.workload import Workload

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
PLACES: Final = "int32"
"""The dtype of gathered places and of those of an arg-max."""


@attrs.frozen
class Kind:
    """What is computed in and what is read."""

    computed: str
    read: str

    def __str__(self) -> str:
        return self.computed if self.read == self.computed else f"{self.read} into {self.computed}"

    @property
    def given(self) -> dict[str, list[str]]:
        """The parameters of the strategies."""
        return {"dtypes": [self.computed], "inputs": [self.read]}


ALONE: Final = [Kind(dtype, dtype) for dtype in ("float32", "float64", "float16", "bfloat16", "int8")]
MIXED: Final = [
    Kind("float32", "float16"),
    Kind("float32", "bfloat16"),
    Kind("float64", "float32"),
    Kind("int32", "int8"),
    Kind("int32", "uint8"),
]
each_kind = pytest.mark.parametrize("kind", [*ALONE, *MIXED], ids=str)


@each_kind
@settings(SLOW, max_examples=20)
@given(data=st.data())
def test_only_the_dtypes_asked_for_are_drawn(kind: Kind, data: st.DataObject) -> None:
    workload = data.draw(workloads(**kind.given))
    assert {buffer.dtype for buffer in workload.inputs} <= {kind.read, PLACES}
    assert {output.dtype for stage in workload.stages for output in stage.outputs} <= {kind.computed, PLACES}
    widened = {
        workload.buffers[node.value.buffer].dtype
        for stage in workload.stages
        for body in stage.body
        for node in walk(body)
        if isinstance(node, Cast) and isinstance(node.value, Load)
    }
    assert widened <= {kind.read, PLACES} - {kind.computed}


@pytest.mark.system
def test_inputs_that_are_not_exact_are_refused() -> None:
    @settings(database=None)
    @given(workloads(dtypes=["float16"], inputs=["float32", "int8"]))
    def draw(_: Workload) -> None:
        raise AssertionError("drawn")

    with pytest.raises(SpecError, match="inputs: inputs of float32, int8 for float16; allowed: float16"):
        draw()


@each_kind
@settings(SLOW, max_examples=20)
@given(data=st.data())
def test_stagings_keep_the_numbers(kind: Kind, data: st.DataObject) -> None:
    workload = data.draw(workloads(max_stages=2, **kind.given))
    assert_rewrites_correctly(data.draw(schedules(workload)), workload)


@pytest.mark.compiler
@each_kind
@settings(SLOW, max_examples=8)
@given(data=st.data())
def test_lowered_schedules_compute_the_task(kind: Kind, data: st.DataObject) -> None:
    task = data.draw(tasks(workloads(max_stages=2, **kind.given)))
    assert_lowers_correctly(data.draw(schedules(task)), task)


# --- how tight the tolerance is ---------------------------------------------------------------------------------------


def product(kind: Kind, terms: int, left_out: int = 0) -> Workload:
    """``C[i] += A[i, k] * B[k]`` over all of `terms` but the last `left_out`."""
    A, B = placeholder((64, terms), kind.read, name="A"), placeholder((terms,), kind.read, name="B")
    k = reduce_axis(terms - left_out, name="k")

    def value(i: Value) -> Reduction:
        return sum_over(A[i, k].astype(kind.computed) * B[k].astype(kind.computed), axis=k)

    return build([A, B, compute((64,), value, name="C")])


@each_kind
def test_a_term_left_out_is_found(kind: Kind) -> None:
    workload, short = product(kind, 24), product(kind, 24, left_out=1)
    inputs = random_inputs(workload, 0)
    assert_close(evaluate(workload, inputs), workload, inputs)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(evaluate(short, inputs), workload, inputs)


@each_kind
def test_the_tolerance_is_that_of_what_is_computed_in(kind: Kind) -> None:
    """A sum of 24 products may be off by some roundings of the wide dtype, whatever was read; integers by none."""
    relative, absolute = tolerance(product(kind, 24), "C")
    if not is_float(kind.computed):
        assert (relative, absolute) == (0.0, 0.0)
        return
    assert UNIT[kind.computed] < relative < 100 * UNIT[kind.computed]
    assert absolute < 10 * relative


@each_kind
def test_rounding_of_each_step_is_within_tolerance(kind: Kind) -> None:
    """The evaluator that rounds as the dtypes do, beside the one that does not: a sum of many terms of any size."""
    workload = product(kind, 1000)
    for seed in range(3):
        inputs = random_inputs(workload, seed)
        found = evaluate(workload, inputs)
        assert found["C"].dtype == np.dtype(kind.computed if kind.computed != "bfloat16" else found["C"].dtype)
        assert_close(found, workload, inputs)
