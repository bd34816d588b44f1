"""Functions written as arithmetic: as exact as they say, right at the ends of their range, vectors in machine code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest

from autosched.search.default import default_schedule
from autosched.spec.builder import build, call, compute, placeholder
from autosched.spec.check import check_schedule
from autosched.spec.expr_text import expr_from_text
from autosched.spec.numerics import INTRINSICS
from autosched.spec.schedule import BindLoop, Nest, Schedule, Split
from autosched.spec.task import Task, target_from_value
from autosched.spec.testing import assert_lowers_correctly
from autosched.spec.tvm_build import compile_module, tvm_target
from autosched.spec.tvm_call import built_function
from autosched.spec.tvm_lower import lower, module_from_plan
from autosched.spec.workload import Buffer, IterAxis, Output, Stage, Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 1 << 16
LAST_BITS = {"exp": 1, "sigmoid": 2, "tanh": 2, "erf": 6}
ENDS = (np.nan, np.inf, -np.inf, 0.0, 88.72283, 88.72284, 1e38, -1e38, -87.4, -100.0, -103.9, -104.1, 1e-40, -1e-40)

IN_VECTORS = Nest(
    stage="Y",
    splits=(Split(axis="i", into=("o", "u", "v"), factors=(2, 4, 8)),),
    order=("o", "u", "v"),
    bind=(BindLoop(loop="u", to="unroll"), BindLoop(loop="v", to="vectorize")),
)


def task_of(name: str, dtype: str = "float32") -> Task:
    X = placeholder((POINTS,), name="X", dtype=dtype)
    return Task(workload=build([X, compute((POINTS,), lambda i: call(name, X[i]), "Y")]), threads=1)


def elementwise(expression: str, dtype: str = "float32") -> Task:
    X = Buffer(name="X", shape=(64,), dtype="float32")
    stage = Stage(
        name="Y",
        axes=(IterAxis(name="i", extent=64),),
        outputs=(Output(name="Y", dtype=dtype),),
        body=(expr_from_text(expression),),
    )
    return Task(workload=Workload(inputs=(X,), stages=(stage,), params=("X", "Y")), threads=1)


def computed(name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    task = task_of(name)
    y = np.empty_like(x)
    built_function(default_schedule(task), task)(x, y)
    return y


def wanted(name: str, x: NDArray[np.float32]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        found: NDArray[Any] = INTRINSICS[name](x.astype(np.float64))
    return found


@pytest.mark.parametrize("name", LAST_BITS)
def test_it_is_as_exact_as_it_says(name: str) -> None:
    rng = np.random.default_rng(0)
    size = np.exp(rng.uniform(np.log(1e-30), np.log(87), POINTS))
    x = (size * rng.choice([-1, 1], POINTS)).astype(np.float32)
    want = wanted(name, x)
    normal = np.abs(want) > np.finfo(np.float32).tiny
    last_bit = np.spacing(np.abs(want[normal]).astype(np.float32)).astype(np.float64)
    off = np.abs(computed(name, x)[normal].astype(np.float64) - want[normal]) / last_bit
    assert off.max() <= LAST_BITS[name]
    assert off.mean() < 1


@pytest.mark.parametrize("name", LAST_BITS)
def test_the_ends_of_the_range(name: str) -> None:
    x = np.resize(np.array(ENDS, np.float32), POINTS)
    with np.errstate(over="ignore", under="ignore"):
        want = wanted(name, x).astype(np.float32)
    # Of a sigmoid, all that is less than any normal number is 0.
    np.testing.assert_allclose(computed(name, x), want, rtol=1e-6, atol=2e-38 if name == "sigmoid" else 3e-45)


def test_nothing_is_beyond_one() -> None:
    x = np.resize(np.linspace(-4.5, 4.5, POINTS // 2, dtype=np.float32), POINTS)
    for name in ("erf", "tanh"):
        assert np.abs(computed(name, 4 * x)).max() == 1
        assert np.abs(computed(name, x)).max() <= 1


@pytest.mark.parametrize("name", LAST_BITS)
def test_no_function_is_called_for_each_element(name: str) -> None:
    task = task_of(name)
    mod = module_from_plan(check_schedule(default_schedule(task), task))
    text = compile_module(mod, tvm_target(task.target, 1)).mod.inspect_source("ll")
    assert not re.search(r"call [^(]*@[^(]*(exp|tanh|erf)", text)


@pytest.mark.parametrize(
    ("expression", "dtype"),
    [
        ("exp(cast(float32, cast(bfloat16, X[i])))", "float32"),
        ("tanh(X[i]) * exp(float32(0.5))", "float32"),
        ("cast(float16, erf(cast(float32, X[i])))", "float16"),
        ("erf(cast(float16, X[i]))", "float16"),
        ("exp(X[i]) if X[i] < float32(0.0) else sigmoid(exp(X[i]))", "float32"),
    ],
)
def test_in_larger_expressions(expression: str, dtype: str) -> None:
    task = elementwise(expression, dtype)
    for nests in ((), (IN_VECTORS,)):
        assert_lowers_correctly(Schedule(nests=nests), task)


@pytest.mark.parametrize(
    ("expression", "calls"),
    [
        ("exp(exp(X[i]))", set()),
        ("tanh(log(exp(X[i]) + float32(1.0)))", {"log"}),
        ("erf(tanh(X[i])) + exp(exp(X[i]))", set()),
        ("tanh(sigmoid(tanh(erf(exp(exp(X[i]))))))", {"tanh", "sigmoid", "erf"}),
    ],
)
def test_what_would_take_long_to_compile_stays_a_call(expression: str, calls: set[str]) -> None:
    task, schedule = elementwise(expression), Schedule(nests=(IN_VECTORS,))
    text = module_from_plan(check_schedule(schedule, task)).script()
    assert set(re.findall(r"T\.(exp|tanh|erf|sigmoid|log)\(", text)) == calls
    assert_lowers_correctly(schedule, task)


def test_where_sums_may_be_reordered_functions_stay() -> None:
    task = attrs.evolve(task_of("exp"), target=target_from_value({"kind": "llvm", "fast-math": True}))
    assert "T.exp(" in module_from_plan(check_schedule(Schedule(), task)).script()


def test_what_is_printed_still_names_the_function() -> None:
    task = task_of("exp")
    assert "T.exp(" in lower(default_schedule(task), task).mod.script()
    assert "T.exp(" not in module_from_plan(check_schedule(default_schedule(task), task)).script()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_floats_are_computed_too(dtype: str) -> None:
    task = task_of("exp", dtype)
    assert_lowers_correctly(default_schedule(task), task)
