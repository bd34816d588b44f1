from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm.script import tirx as T  # noqa: N812 # what TVMScript calls it

from autosched.spec.builder import (
    Tensor,
    Value,
    build,
    call,
    compute,
    constant,
    if_then_else,
    logical_not,
    maximum,
    minimum,
    placeholder,
    reduce_axis,
    select,
)
from autosched.spec.builder import all as all_of
from autosched.spec.builder import max as max_over
from autosched.spec.builder import sum as sum_over
from autosched.spec.dtypes import DTYPES, FLOATS, is_float, size_bytes
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.expr import (
    BINARY_OPS,
    CALLS,
    COMPARE_OPS,
    Axis,
    Binary,
    Cast,
    Compare,
    Load,
    Logic,
)
from autosched.spec.infer import Scope, infer_dtype
from autosched.spec.inputs import random_inputs
from autosched.spec.numerics import array_dtype
from autosched.spec.tvm_write import primfunc_from_workload
from autosched.spec.workload import Buffer
from sample_workloads import argmax, gemm, softmax
from tvm_numbers import assert_writes

if TYPE_CHECKING:
    from collections.abc import Callable


# --- the form -------------------------------------------------------------------------------------------------------


def test_a_product_of_matrices() -> None:
    @T.prim_func(s_tir=True)
    def main(
        A: T.Buffer((4, 8), "float32", align=4),
        B: T.Buffer((8, 16), "float32", align=4),
        C: T.Buffer((4, 16), "float32", align=4),
    ):
        T.func_attr({"tirx.noalias": True})
        for i, j, k in T.grid(4, 16, 8):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B[v_k, v_j])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0)
                C[v_i, v_j] = C[v_i, v_j] + A[v_i, v_k] * B[v_k, v_j]

    func = primfunc_from_workload(gemm(4, 16, 8))
    assert tvm_ffi.structural_equal(func, main), str(tvm_ffi.get_first_structural_mismatch(func, main))


def test_a_reducer_over_two_outputs_stores_after_all_values_are_known() -> None:
    @T.prim_func(s_tir=True)
    def main(
        X: T.Buffer((4, 8), "float32", align=4),
        at: T.Buffer((4,), "int32", align=4),
        value: T.Buffer((4,), "float32", align=4),
    ):
        T.func_attr({"tirx.noalias": True})
        for i, k in T.grid(4, 8):
            with T.sblock("best"):
                v_i, v_k = T.axis.remap("SR", [i, k])
                T.reads(X[v_i, v_k])
                T.writes(at[v_i], value[v_i])
                with T.init():
                    at[v_i] = -1
                    value[v_i] = T.float32("-inf")
                v_at: T.let[T.int32] = T.Select(value[v_i] >= X[v_i, v_k], at[v_i], v_k)
                v_value: T.let[T.float32] = T.Select(value[v_i] >= X[v_i, v_k], value[v_i], X[v_i, v_k])
                at[v_i] = v_at
                value[v_i] = v_value

    func = primfunc_from_workload(argmax(4, 8))
    assert tvm_ffi.structural_equal(func, main), str(tvm_ffi.get_first_structural_mismatch(func, main))


def test_indices_of_int64_are_int64_everywhere() -> None:
    script = primfunc_from_workload(gemm(4, 16, 8, index_dtype="int64")).script()
    assert "T.grid(T.int64(4), T.int64(16), T.int64(8))" in script
    assert "T.Buffer((T.int64(4), T.int64(8))" in script


def test_temporaries_belong_to_the_root_and_keep_tvms_alignment() -> None:
    func = primfunc_from_workload(softmax(4, 8))
    temporaries = func.body.block.alloc_buffers
    assert [buffer.name for buffer in temporaries] == ["top", "e", "total"]
    assert {buffer.ty.data_alignment for buffer in temporaries} == {64}


def test_arithmetic_that_tvm_stops_at() -> None:
    X = placeholder((4,), name="X")
    zero = constant(0.0, "float32")
    Y = compute((4,), lambda i: if_then_else(constant(1.0, "float32") / zero > zero, X[i], 0.0), name="Y")
    with pytest.raises(LoweringError, match=r"stage 'Y' has no form in TensorIR: Check failed: .*Divide by zero"):
        primfunc_from_workload(build([X, Y]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_aligned_to_their_elements(dtype: str) -> None:
    X = placeholder((4,), dtype, name="X")
    func = primfunc_from_workload(build([X, compute((4,), lambda i: X[i], name="Y")]))
    assert {param.ty.data_alignment for param in func.params} == {max(4, size_bytes(dtype))}
    assert all(param.ty.layout is None for param in func.params)


def test_a_written_function_can_be_scheduled() -> None:
    sch = tvm.s_tir.Schedule(primfunc_from_workload(softmax(8, 32)))
    i, j = sch.get_loops(sch.get_sblock("Y"))
    sch.vectorize(sch.split(j, [4, 8])[1])
    sch.compute_at(sch.get_sblock("total"), i)
    sch.parallel(i)
    sch.decompose_reduction(sch.get_sblock("top"), sch.get_loops(sch.get_sblock("top"))[1])
    tvm.compile(sch.mod, target="llvm")


# --- the numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "offset_bytes"),
    [(d, o) for d in ("int8", "float16", "float32", "float64") for o in (0, 4, 8, 16) if o % size_bytes(d) == 0],
)
def test_arrays_may_start_where_numpy_puts_them(dtype: str, offset_bytes: int) -> None:
    X = placeholder((64, 64), dtype, name="X")
    assert_writes(
        build([X, compute((64, 64), lambda i, j: X[i, j] + constant(1, dtype), name="Y")]), offset_bytes=offset_bytes
    )


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_gemm(index_dtype: str) -> None:
    assert_writes(gemm(5, 7, 9, index_dtype=index_dtype))


def test_softmax() -> None:
    assert_writes(softmax(5, 9))


def test_argmax() -> None:
    assert_writes(argmax(5, 9))


def test_stages_without_spatial_axes() -> None:
    X, k = placeholder((9,), name="X"), reduce_axis(9, name="k")
    total = compute((), lambda: sum_over(X[k], axis=k), name="total")
    assert_writes(build([X, compute((), lambda: total[()] * 2.0, name="twice")]))


def test_gathers_of_another_integer_type() -> None:
    X, at = placeholder((5, 3), name="X"), placeholder((7,), "int64", name="at")

    def row(i: Value) -> Value:
        return minimum(maximum(at[i], 0), 4)

    assert_writes(build([X, at, compute((7, 3), lambda i, j: X[row(i), j], name="Y")]))


def each(source: Callable[[Value], Value], X: Tensor, name: str) -> Tensor:
    """A stage that does the same to every element; `source` may have defaults, which are no axes."""

    def value(i: Value) -> Value:
        return source(i)

    return compute(X.shape, value, name=name)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_intrinsic(dtype: str) -> None:
    X, Y = placeholder((8,), dtype, name="X"), placeholder((8,), dtype, name="Y")
    outputs = [
        each(lambda i, n=name, k=count: call(n, *[X[i], Y[i]][:k]), X, f"{name}_") for name, count in CALLS.items()
    ]
    assert_writes(build([X, Y, *outputs]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_absolute_values_of_integers(dtype: str) -> None:
    X = placeholder((8,), dtype, name="X")
    assert_writes(build([X, each(lambda i: call("abs", X[i]), X, "Y")]))


@pytest.mark.parametrize("source", DTYPES)
def test_every_cast(source: str) -> None:
    X = placeholder((8,), source, name="X")
    outputs = [each(lambda i, d=d: Value(Cast(d, X[i].expr), d), X, f"to_{d}") for d in DTYPES]
    workload = build([X, *outputs])
    # Negative floats have no value as unsigned integers.
    numbers = np.array([0, 1, 2.5, 3.75, 100, 0, 7, 1])
    assert_writes(workload, {"X": numbers.astype(array_dtype(source))})


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "uint64", *FLOATS])
def test_every_operator(dtype: str) -> None:
    X, Y = placeholder((16,), dtype, name="X"), placeholder((16,), dtype, name="Y")
    outputs = [
        each(lambda i, op=op: Value(Compare(op, X[i].expr, Y[i].expr), "bool"), X, f"{op}_") for op in COMPARE_OPS
    ]
    outputs += [
        each(lambda i, op=op: Value(Binary(op, X[i].expr, Y[i].expr), dtype), X, f"{op}_") for op in operators_on(dtype)
    ]
    if dtype == "bool":
        outputs += [
            each(lambda i, op=op: Value(Logic(op, (X[i].expr, Y[i].expr)), "bool"), X, f"{op}_") for op in ("and", "or")
        ]
        outputs += [each(lambda i: logical_not(X[i]), X, "not_")]
    workload = build([X, Y, *outputs])
    inputs = random_inputs(workload, seed=1)
    if not is_float(dtype) and dtype != "bool":
        inputs["Y"] = np.arange(1, 17).astype(dtype) % 5 + 1  # divisors and shifts that are defined
    assert_writes(workload, inputs)


def operators_on(dtype: str) -> list[str]:
    X = Load("X", (Axis("i"),))
    scope = Scope(buffers={"X": Buffer(name="X", shape=(1,), dtype=dtype)}, axes=frozenset("i"))
    found = []
    for op in BINARY_OPS:
        with contextlib.suppress(SpecError):
            infer_dtype(Binary(op, X, X), scope)
            found.append(op)
    return found


def test_guards_are_not_computed_where_they_do_not_hold() -> None:
    X = placeholder((6,), name="X")
    pad = compute((8,), lambda i: if_then_else(all_of(i >= 1, i < 7), X[i - 1], 0.0), name="pad")
    assert_writes(build([X, pad]))


def test_selects_of_greatest_and_least_numbers() -> None:
    X = placeholder((6,), name="X")
    most = 3.4028234663852886e38
    lowest, infinite = constant(-most, "float32"), constant(float("inf"), "float32")
    assert_writes(build([X, compute((6,), lambda i: select(X[i] > 0.0, lowest, infinite), name="Y")]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_extremes_start_from_the_ends_of_integers(dtype: str) -> None:
    X, k = placeholder((6, 5), dtype, name="X"), reduce_axis(5, name="k")
    assert_writes(build([X, compute((6,), lambda i: max_over(X[i, k], axis=k), name="Y")]))
