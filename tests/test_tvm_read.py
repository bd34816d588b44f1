from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import relax, te, tirx, topi
from tvm.script import tirx as T  # noqa: N812 # what TVMScript calls it

from autosched.spec.builder import all as all_of
from autosched.spec.builder import (
    build,
    call,
    compute,
    constant,
    if_then_else,
    maximum,
    minimum,
    placeholder,
    reduce_axis,
)
from autosched.spec.builder import sum as sum_over
from autosched.spec.canonical import identity
from autosched.spec.check_workload import check_workload
from autosched.spec.errors import LoweringError
from autosched.spec.expr_text import text_from_expr
from autosched.spec.inputs import random_inputs
from autosched.spec.tvm_read import workload_from_primfunc
from autosched.spec.tvm_te import workload_from_te
from autosched.spec.tvm_write import primfunc_from_workload
from autosched.spec.workload import Output, Stage, Workload
from sample_workloads import argmax, gemm, softmax
from tvm_numbers import assert_same_numbers, run_function
from typed_expressions import AXES, INPUTS, expressions

# --- workload -> PrimFunc -> workload is the identity -----------------------------------------------------------------


def conv(stride: int = 1, channels_last: bool = False) -> Workload:
    X, W = placeholder((1, 3, 8, 8), name="X"), placeholder((4, 3, 3, 3), name="W")
    pad = compute(
        (1, 3, 10, 10),
        lambda n, c, h, w: if_then_else(all_of(h >= 1, h < 9, w >= 1, w < 9), X[n, c, h - 1, w - 1], 0.0),
        name="pad",
    )
    c, r, s = reduce_axis(3, "c"), reduce_axis(3, "r"), reduce_axis(3, "s")
    size = 8 // stride
    Y = compute(
        (1, 4, size, size),
        lambda n, k, h, w: sum_over(pad[n, c, h * stride + r, w * stride + s] * W[k, c, r, s], axis=[c, r, s]),
        name="Y",
    )
    return build([X, W, Y])


def quantized() -> Workload:
    A, B, k = placeholder((4, 8), "int8", name="A"), placeholder((8, 4), "uint8", name="B"), reduce_axis(8, "k")
    product = lambda i, j: (A[i, k].astype("int32") - 3) * B[k, j].astype("int32")  # noqa: E731 # a body, as below
    C = compute((4, 4), lambda i, j: sum_over(product(i, j), axis=k), name="C")
    return build([A, B, C])


def gather(index_dtype: str = "int32") -> Workload:
    X, at = placeholder((5, 3), name="X"), placeholder((7,), "int64", name="at")
    Y = compute((7, 3), lambda i, j: X[minimum(maximum(at[i], 0), 4), j], name="Y")
    return build([X, at, Y], index_dtype)


def half() -> Workload:
    X = placeholder((4, 8), "float16", name="X")
    return build([X, compute((4, 8), lambda i, j: call("erf", X[i, j]) * 0.1, name="Y")])


def comparisons() -> Workload:
    X, Y = placeholder((4,), "bool", name="X"), placeholder((4,), name="Y")
    return build([X, Y, compute((4,), lambda i: X[i].equal(Y[i] > 0.5), name="Z")])


def positions() -> Workload:
    return build([compute((4, 5), lambda i, j: (i * 5 + j).astype("int32") + constant(2, "int32"), name="at")])


def scalar() -> Workload:
    X, k = placeholder((9,), name="X"), reduce_axis(9, name="k")
    total = compute((), lambda: sum_over(X[k], axis=k), name="total")
    return build([X, compute((), lambda: total[()] * 2.0, name="twice")])


@pytest.mark.parametrize(
    "workload",
    [
        gemm(4, 8, 16), gemm(4, 8, 16, "float64", "int64"), conv(), conv(stride=2), softmax(4, 8), argmax(4, 8),
        quantized(), gather(), gather("int64"), half(), comparisons(), positions(), scalar(),
    ],
)  # fmt: skip
def test_what_is_written_is_read(workload: Workload) -> None:
    read = workload_from_primfunc(primfunc_from_workload(workload))
    assert read == workload
    assert identity(read) == identity(workload)


@given(st.data())
def test_any_expression_that_is_written_is_read(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(INPUTS)))
    index_dtype = data.draw(st.sampled_from(["int32", "int64"]))
    stage = Stage(name="Y", axes=AXES, outputs=(Output(name="Y", dtype=dtype),), body=(data.draw(expressions(dtype)),))
    inputs = tuple(INPUTS.values())
    workload = Workload(
        inputs=inputs, stages=(stage,), params=(*(b.name for b in inputs), "Y"), index_dtype=index_dtype
    )
    check_workload(workload)
    read = workload_from_primfunc(primfunc_from_workload(workload))
    assert identity(read) == identity(workload), text_from_expr(read.stages[0].body[0])


# --- PrimFunc -> workload -> PrimFunc computes the same ---------------------------------------------------------------


def assert_reads(func: tirx.PrimFunc) -> Workload:
    """`func` as it is and as it is written back compute the same, and what is written back reads the same."""
    workload = workload_from_primfunc(func)
    written = primfunc_from_workload(workload)
    assert workload_from_primfunc(written) == workload
    inputs = random_inputs(workload, seed=2)
    assert_same_numbers(run_function(written, workload, inputs), run_function(func, workload, inputs), workload)
    return workload


def tensor(*shape: int, dtype: str = "float32", name: str = "X") -> te.Tensor:
    return te.placeholder(shape, name=name, dtype=dtype)


def of_one(make: Any, *shape: int, dtype: str = "float32") -> list[te.Tensor]:
    X = tensor(*shape, dtype=dtype)
    return [X, make(X)]


def of_two(make: Any, first: tuple[int, ...], second: tuple[int, ...], dtype: str = "float32") -> list[te.Tensor]:
    X, Y = tensor(*first), tensor(*second, dtype=dtype, name="Y")
    return [X, Y, make(X, Y)]


def pooled(X: te.Tensor, stride: int, padding: int, kind: str) -> te.Tensor:
    return topi.nn.pool2d(X, [2, 2], [stride, stride], [1, 1], [padding] * 4, kind)


TOPI = {
    "relu": lambda: of_one(topi.nn.relu, 4, 8),
    "sigmoid": lambda: of_one(topi.sigmoid, 4, 8),
    "leaky relu": lambda: of_one(lambda X: topi.nn.leaky_relu(X, 0.1), 4, 8),
    "round": lambda: of_one(topi.round, 4, 8),
    "abs of integers": lambda: of_one(topi.abs, 4, 8, dtype="int32"),
    "cast": lambda: of_one(lambda X: topi.cast(X, "int8"), 4, 8),
    "add, broadcast": lambda: of_two(topi.add, (4, 8), (8,)),
    "greater": lambda: of_two(topi.greater, (4, 8), (4, 8)),
    "sum of all": lambda: of_one(topi.sum, 4, 8),
    "sum of integers": lambda: of_one(lambda X: topi.sum(X, axis=1), 4, 8, dtype="int32"),
    "prod": lambda: of_one(lambda X: topi.prod(X, axis=0), 4, 8),
    "min": lambda: of_one(lambda X: topi.min(X, axis=[0, 2]), 4, 8, 3),
    "argmax": lambda: of_one(lambda X: topi.argmax(X, axis=1), 4, 8),
    "argmin": lambda: of_one(lambda X: topi.argmin(X, axis=0), 4, 8),
    "max pool": lambda: of_one(lambda X: pooled(X, 2, 0, "max"), 1, 2, 6, 6),
    "average pool": lambda: of_one(lambda X: pooled(X, 1, 1, "avg"), 1, 2, 6, 6),
    "transpose": lambda: of_one(topi.transpose, 4, 8),
    "reshape": lambda: of_one(lambda X: topi.reshape(X, (2, 16)), 4, 8),
    "flip": lambda: of_one(lambda X: topi.flip(X, 1), 4, 8),
    "strided slice": lambda: of_one(lambda X: topi.strided_slice(X, [0, 1], [4, 8], [1, 2]), 4, 8),
    "concatenate": lambda: of_one(lambda X: topi.concatenate([X, X], axis=1), 4, 8),
    "tile": lambda: of_one(lambda X: topi.tile(X, (2, 3)), 4, 8),
    "pad": lambda: of_one(lambda X: topi.nn.pad(X, [1, 0], [2, 3]), 4, 8),
    "one hot": lambda: of_one(lambda X: topi.one_hot(X, 1.0, 0.0, 5, -1, "float32"), 6, dtype="int32"),
    "take, clipped": lambda: of_two(lambda X, Y: topi.take(X, Y, axis=0, mode="clip"), (4, 8), (3,), "int64"),
    "dense": lambda: of_two(topi.nn.dense, (4, 8), (3, 8)),
    "batch matmul": lambda: of_two(topi.nn.batch_matmul, (2, 3, 4), (2, 5, 4)),
    "conv2d": lambda: of_two(lambda X, Y: topi.nn.conv2d_nchw(X, Y, 2, 1, 1), (1, 4, 8, 8), (4, 4, 3, 3)),
    "depthwise": lambda: of_two(
        lambda X, Y: topi.nn.depthwise_conv2d_nchw(X, Y, 1, 1, 1), (1, 4, 8, 8), (4, 1, 3, 3)
    ),
    "softmax": lambda: of_one(topi.nn.softmax, 4, 8),
    "log softmax": lambda: of_one(topi.nn.log_softmax, 4, 8),
    "arange": lambda: [topi.arange(0, 10, 1, "int32")],
    "scalar": lambda: of_one(lambda X: te.compute((), lambda: X() + 1.0)),
    "two outputs of one nest": lambda: [
        X := tensor(4, 8), *te.compute((4, 8), lambda i, j: (X[i, j], X[i, j] + 1.0), name="both")
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", TOPI)
def test_topi(name: str) -> None:
    tensors = TOPI[name]()
    assert workload_from_te(tensors) == assert_reads(te.create_prim_func(tensors))


def test_layer_norm() -> None:
    X, scale, shift = tensor(4, 8), tensor(8, name="scale"), tensor(8, name="shift")
    assert_reads(te.create_prim_func([X, scale, shift, topi.nn.layer_norm(X, scale, shift, [1], 1e-5)]))


def legalized(make: Any, *inputs: tuple[tuple[int, ...], str]) -> list[tirx.PrimFunc]:
    """The TensorIR functions that Relax makes of one operator."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(f"x{n}", relax.TensorType(shape, dtype)) for n, (shape, dtype) in enumerate(inputs)]
    with builder.function("main", variables):
        with builder.dataflow():
            output = builder.emit_output(make(*variables))
        builder.emit_func_output(output)
    functions = relax.transform.LegalizeOps()(builder.get()).functions.values()
    return [func for func in functions if isinstance(func, tirx.PrimFunc)]


F32 = "float32"
RELAX = {
    "softmax": (relax.op.nn.softmax, ((4, 8), F32)),
    "matmul": (relax.op.matmul, ((4, 8), F32), ((8, 3), F32)),
    "argmax": (lambda x: relax.op.argmax(x, axis=1), ((4, 8), F32)),
    "gelu": (relax.op.nn.gelu, ((4, 8), F32)),
    "sum": (relax.op.sum, ((4, 8), F32)),
    "where": (lambda x, y: relax.op.where(relax.op.greater(x, y), x, y), ((4, 8), F32), ((4, 8), F32)),
    "tril": (relax.op.tril, ((4, 4), F32)),
    "average pool": (lambda x: relax.op.nn.avg_pool2d(x, (2, 2), (2, 2), (1, 1)), ((1, 2, 4, 4), F32)),
    "conv2d": (lambda x, w: relax.op.nn.conv2d(x, w, padding=1), ((1, 3, 8, 8), F32), ((4, 3, 3, 3), F32)),
    "layer norm": (
        lambda x, g, b: relax.op.nn.layer_norm(x, g, b, axes=[-1]), ((4, 8), F32), ((8,), F32), ((8,), F32)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RELAX)
def test_relax(name: str) -> None:
    make, *inputs = RELAX[name]
    functions = legalized(make, *inputs)
    assert functions
    for func in functions:
        assert assert_reads(func).index_dtype == "int64"


def test_a_gather_of_relax_needs_to_know_the_range_of_its_indices() -> None:
    (func,) = legalized(lambda x, at: relax.op.take(x, at, axis=0), ((4, 8), F32), ((3,), "int64"))
    with pytest.raises(LoweringError) as caught:
        workload_from_primfunc(func)
    assert str(caught.value).startswith("block 'T_take': x0[x1[ax0], ax1]: index 0 runs over ")
    assert str(caught.value).endswith("allowed is 0..3; clamp it with min and max, or give the task ranges")
    workload = workload_from_primfunc(func, {"x1": (0, 3)})
    assert text_from_expr(workload.stages[0].body[0]) == "x0[x1[ax0], ax1]"


# --- TE and the builder agree -----------------------------------------------------------------------------------------


def test_a_te_product_is_the_builders() -> None:
    A, B, k = tensor(4, 16, name="A"), tensor(16, 8, name="B"), te.reduce_axis((0, 16), "k")
    C = te.compute((4, 8), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")
    assert workload_from_te([A, B, C]) == gemm(4, 8, 16)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_te_convolution_is_the_builders(stride: int) -> None:
    X, W = tensor(1, 3, 8, 8), tensor(4, 3, 3, 3, name="W")
    c, r, s = (te.reduce_axis((0, 3), name) for name in "crs")
    pad = te.compute(
        (1, 3, 10, 10),
        lambda n, c, h, w: te.if_then_else(te.all(h >= 1, h < 9, w >= 1, w < 9), X[n, c, h - 1, w - 1], 0.0),
        name="pad",
    )
    Y = te.compute(
        (1, 4, 8 // stride, 8 // stride),
        lambda n, k, h, w: te.sum(pad[n, c, h * stride + r, w * stride + s] * W[k, c, r, s], axis=[c, r, s]),
        name="Y",
    )
    assert identity(workload_from_te([X, W, Y])) == identity(conv(stride))


def test_a_te_depthwise_convolution_is_the_builders() -> None:
    X, W = tensor(1, 4, 10, 10), tensor(4, 3, 3, name="W")
    r, s = (te.reduce_axis((0, 3), name) for name in "rs")
    Y = te.compute((1, 4, 8, 8), lambda n, c, h, w: te.sum(X[n, c, h + r, w + s] * W[c, r, s], axis=[r, s]))
    ours_X, ours_W = placeholder((1, 4, 10, 10), name="image"), placeholder((4, 3, 3), name="taps")
    p, q = reduce_axis(3, "p"), reduce_axis(3, "q")
    ours = compute(
        (1, 4, 8, 8), lambda n, c, y, x: sum_over(ours_X[n, c, y + p, x + q] * ours_W[c, p, q], axis=[p, q]), name="out"
    )
    assert identity(workload_from_te([X, W, Y])) == identity(build([ours_X, ours_W, ours]))


def test_a_te_softmax_is_the_builders_but_for_where_its_maximum_starts() -> None:
    read = workload_from_te(of_one(topi.nn.softmax, 4, 8))
    ours = softmax(4, 8)
    assert [s.reducer and s.reducer.op for s in read.stages] == [s.reducer and s.reducer.op for s in ours.stages]
    starts = [s.reducer.init[0].text for s in (read.stages[0], ours.stages[0]) if s.reducer]
    assert starts == ["-3.4028235e+38", "-inf"]


# --- forms that TE does not make, but people do -----------------------------------------------------------------------


def test_axes_follow_the_dimensions_of_the_output_whatever_the_order_of_loops() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8), "float32"), B: T.Buffer((8, 4), "float32")):
        for i, k, j in T.grid(4, 2, 8):
            with T.sblock("B"):
                vi, vj, _vk = T.axis.remap("SSR", [i, j, k])
                with T.init():
                    B[vj, vi] = T.float32(0)
                B[vj, vi] = B[vj, vi] + A[vi, vj]

    (stage,) = assert_reads(func).stages
    assert [axis.name for axis in stage.axes] == ["j", "i"]
    assert stage.shape == (8, 4)


def test_reduce_axes_keep_the_order_of_their_loops() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8, 3), "float32"), B: T.Buffer((4,), "float32")):
        for k, i, r in T.grid(8, 4, 3):
            with T.sblock("B"):
                vi, vr, vk = T.axis.remap("SRR", [i, r, k])
                with T.init():
                    B[vi] = T.float32(1)
                B[vi] = A[vi, vk, vr] * B[vi]

    (stage,) = assert_reads(func).stages
    assert [axis.name for axis in stage.reduce] == ["k", "r"]
    assert stage.reducer is not None
    assert (stage.reducer.op, stage.reducer.init[0].text) == ("prod", "1.0")


def test_a_recurrence_is_a_custom_reducer() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8), "float32"), B: T.Buffer((4,), "float32")):
        for i, k in T.grid(4, 8):
            with T.sblock("B"):
                vi, vk = T.axis.remap("SR", [i, k])
                with T.init():
                    B[vi] = T.float32(0)
                B[vi] = B[vi] * T.float32(0.5) + A[vi, vk]

    (stage,) = assert_reads(func).stages
    assert text_from_expr(stage.body[0]) == "acc[0] * float32(0.5) + A[i, k]"


def test_lets_are_put_in() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i in T.serial(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                double: T.let[T.float32] = A[vi] + A[vi]
                B[vi] = double * double

    (stage,) = assert_reads(func).stages
    assert text_from_expr(stage.body[0]) == "(A[i] + A[i]) * (A[i] + A[i])"


def test_names_are_made_legal_and_unique() -> None:
    A = te.placeholder((4,), name="max")
    B = te.compute((4,), lambda exp: A[exp] + 1.0, name="2nd-try")
    C = te.compute((4,), lambda i: B[i] * 2.0, name="2nd-try")
    workload = workload_from_te([A, C])
    assert workload.params in (("max_", "_2nd_try_1"), ("max_", "_2nd_try"))
    assert {stage.name for stage in workload.stages} == {"_2nd_try", "_2nd_try_1"}
    assert workload.stages[0].axes[0].name == "exp_"
    assert text_from_expr(workload.stages[0].body[0]) == "max_[exp_] + float32(1.0)"
