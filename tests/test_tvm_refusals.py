"""What cannot be read is refused by a LoweringError that says where and why: one case for each rule."""

from __future__ import annotations

import tvm
from tvm.s_tir.stmt import SBlock, SBlockRealize
from tvm.script import tirx as T  # noqa: N812 # what TVMScript calls it

from refusals import refusal

# --- what a workload has no words for ---------------------------------------------------------------------------------


def test_things_that_are_no_function() -> None:
    assert refusal(3) == "found a int; pass a tvm.tirx.PrimFunc, for TE tensors workload_from_te"


def test_a_function_without_blocks() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32")):
        T.evaluate(0)

    assert refusal(func) == "the function's body is a Evaluate, not blocks: already lowered, or nothing is computed"


def test_stores_outside_of_blocks() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32")):
        with T.sblock("fill"):
            for i in range(4):
                A[i] = T.float32(0)

    assert refusal(func) == (
        "block 'fill' is opaque: it holds BufferStore statements outside of inner blocks, as extern calls, scans and "
        "lowered code do; write the computation as blocks of scalar stores"
    )


def test_stores_at_different_places() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 4), "float32"), B: T.Buffer((4, 4), "float32")):
        for i, j in T.grid(4, 4):
            with T.sblock("AB"):
                vi, vj = T.axis.remap("SS", [i, j])
                A[vi, vj] = T.float32(0)
                B[vj, vi] = T.float32(1)

    assert refusal(func) == (
        "block 'AB' stores its outputs at different places, one of them B[vj, vi]; use one block each"
    )


def test_stores_of_a_diagonal() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 4), "float32")):
        for i in range(4):
            with T.sblock("A"):
                vi = T.axis.spatial(4, i)
                A[vi, vi] = T.float32(1)

    assert refusal(func) == "block 'A' stores to A[vi, vi]; each index must be a spatial axis of its own"


def test_stores_by_a_reduce_axis() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32")):
        for k in range(4):
            with T.sblock("A"):
                vk = T.axis.reduce(4, k)
                with T.init():
                    A[vk] = T.float32(0)
                A[vk] = A[vk] + T.float32(1)

    assert refusal(func) == "block 'A' stores to A[vk]; each index must be a spatial axis of its own"


def test_symbolic_shapes() -> None:
    @T.prim_func(s_tir=True)
    def func(a: T.handle, n: T.int32):
        A = T.match_buffer(a, (n,))
        for i in range(n):
            with T.sblock("A"):
                vi = T.axis.spatial(n, i)
                A[vi] = T.float32(0)

    assert refusal(func) in {
        "buffer 'A' has the shape (n); give it whole numbers",
        "parameter 'a' is no buffer; symbolic sizes cannot be read, give numbers",
    }


def test_scalar_parameters() -> None:
    @T.prim_func(s_tir=True)
    def func(n: T.int32, A: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("A"):
                vi = T.axis.spatial(4, i)
                A[vi] = T.cast(n, "float32")

    assert refusal(func) == "parameter 'n' is no buffer; symbolic sizes cannot be read, give numbers"


def test_strides() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 4), "float32", strides=(8, 1)), B: T.Buffer((4, 4), "float32")):
        for i, j in T.grid(4, 4):
            with T.sblock("B"):
                vi, vj = T.axis.remap("SS", [i, j])
                B[vi, vj] = A[vi, vj]

    assert refusal(func) == "buffer 'A' has strides or an offset of its own; use a dense one"


def test_dtypes() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float8_e4m3fn"), B: T.Buffer((4,), "float8_e4m3fn")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]

    assert refusal(func).startswith(
        "buffer 'A' holds float8_e4m3fn; allowed: float16, bfloat16, float32, float64, int8"
    )


def test_in_place_updates() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("A"):
                vi = T.axis.spatial(4, i)
                A[vi] = A[vi] * T.float32(2)

    assert refusal(func) == "block 'A' updates a buffer in place; write to a buffer of its own"


def test_overwritten_inputs() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]
        for i in range(4):
            with T.sblock("A"):
                vi = T.axis.spatial(4, i)
                A[vi] = T.float32(0)

    assert refusal(func) == "block 'A' overwrites A, which was read before; write to a buffer of its own"


def test_buffers_that_are_filled_twice() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("first"):
                vi = T.axis.spatial(4, i)
                A[vi] = T.float32(1)
        for i in range(4):
            with T.sblock("second"):
                vi = T.axis.spatial(4, i)
                A[vi] = T.float32(2)

    assert refusal(func) == "block 'second' fills A, as a block before it does; give each a buffer of its own"


def test_buffers_that_nothing_has_filled() -> None:
    @T.prim_func(s_tir=True)
    def func(B: T.Buffer((4,), "float32")):
        A = T.sblock_alloc_buffer((4,))
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]

    assert refusal(func) == "block 'B' reads A, which nothing has filled yet"


def test_scans() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8), "float32"), B: T.Buffer((4, 8), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                vj = T.axis.scan(8, j)
                B[vi, vj] = A[vi, vj] + T.if_then_else(vj > 0, B[vi, vj - 1], T.float32(0))

    assert refusal(func) == "block 'B' has a scan axis, vj; only spatial and reduce axes can be read"


def test_recurrences_over_space() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8), "float32"), B: T.Buffer((4, 8), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("B"):
                vi, vj = T.axis.remap("SS", [i, j])
                B[vi, vj] = A[vi, vj] + T.if_then_else(vj > 0, B[vi, vj - 1], T.float32(0))

    assert refusal(func) == (
        "block 'B' reads elements of B that it fills itself; scans and in-place updates have no form here: write to a "
        "buffer of its own"
    )


def test_scatters() -> None:
    @T.prim_func(s_tir=True)
    def func(at: T.Buffer((4,), "int32"), A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[at[vi]] = A[vi]

    assert (
        refusal(func) == "block 'B' stores to B[at[vi]]; each index must be a spatial axis: no scatters, no arithmetic"
    )


def test_partial_stores() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((8,), "float32")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]

    assert refusal(func) == "block 'B' fills only a part of B; make the buffer as large as what is stored"


def test_repeated_stores() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4, 8), "float32"), B: T.Buffer((4,), "float32")):
        for i, j in T.grid(4, 8):
            with T.sblock("B"):
                vi, vj = T.axis.remap("SS", [i, j])
                B[vi] = A[vi, vj]

    assert refusal(func) == "block 'B' stores each element 8 times, for each vj; use a reduce axis"


def test_loops_that_repeat_a_block() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for _again, i in T.grid(3, 4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]

    assert (
        refusal(func) == "block 'B' stands in a loop _again that it does not use: it would be computed again and again"
    )


def test_loops_that_start_elsewhere() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i in range(1, 4):
            with T.sblock("B"):
                vi = T.axis.spatial((1, 4), i)
                B[vi] = A[vi]

    assert refusal(func) == "block 'root' stands around loop 'i', which runs over (1, 3); give it a fixed range from 0"


def test_siblings_that_read_each_other() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32"), C: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                B[vi] = A[vi]
            with T.sblock("C"):
                vi = T.axis.spatial(4, i)
                C[vi] = B[3 - vi]

    assert refusal(func).startswith("block 'C' shares loops with the block that fills B, which it reads")


def test_outputs_that_read_each_other() -> None:
    @T.prim_func(s_tir=True)
    def func(X: T.Buffer((4, 8), "float32"), A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i, k in T.grid(4, 8):
            with T.sblock("AB"):
                vi, vk = T.axis.remap("SR", [i, k])
                with T.init():
                    A[vi] = T.float32(0)
                    B[vi] = T.float32(0)
                A[vi] = A[vi] + X[vi, vk]
                B[vi] = B[vi] + A[vi]

    assert refusal(func) == (
        "block 'AB' reads A after storing it, for another output; compute all values before the stores"
    )


def test_starts_that_are_no_constants() -> None:
    @T.prim_func(s_tir=True)
    def func(X: T.Buffer((4, 8), "float32"), Y: T.Buffer((4,), "float32"), A: T.Buffer((4,), "float32")):
        for i, k in T.grid(4, 8):
            with T.sblock("A"):
                vi, vk = T.axis.remap("SR", [i, k])
                with T.init():
                    A[vi] = Y[vi]
                A[vi] = A[vi] + X[vi, vk]

    assert refusal(func) == (
        "block 'A' starts a reduction from something that is no constant; add it in a stage of its own"
    )


def test_conditional_stores() -> None:
    @T.prim_func(s_tir=True)
    def func(A: T.Buffer((4,), "float32"), B: T.Buffer((4,), "float32")):
        for i in range(4):
            with T.sblock("B"):
                vi = T.axis.spatial(4, i)
                if vi > 1:
                    B[vi] = A[vi]

    assert refusal(func) == (
        "block 'B' is opaque: it holds IfThenElse statements, as extern calls, sorts and scatters do; only stores of "
        "scalar expressions can be read"
    )


def test_lets_that_explode_when_put_in() -> None:
    X, Y = (tvm.tirx.decl_buffer((4,), "float32", name, layout=None) for name in "XY")
    i, vi = tvm.tirx.Var("i", "int32"), tvm.tirx.Var("v_i", "int32")
    lets, value = [], X[vi]
    for number in range(30):
        name = tvm.tirx.Var(f"square{number}", "float32")
        lets.append(tvm.tirx.Bind(name, value * value))
        value = name
    body = tvm.tirx.SeqStmt([*lets, tvm.tirx.BufferStore(Y, value, [vi])])
    axis = tvm.tirx.IterVar(tvm.ir.Range(0, 4), vi, tvm.tirx.IterVar.DataPar)
    block = SBlockRealize([i], True, SBlock([axis], [], [], "Y", body))
    loop = tvm.tirx.For(i, 0, 4, tvm.tirx.ForKind.SERIAL, block)
    root = SBlockRealize([], True, SBlock([], [], [], "root", loop))
    message = refusal(tvm.tirx.PrimFunc([X, Y], root))
    assert message.startswith("block 'Y' computes an expression of more than 4096 nodes or 200 levels")
