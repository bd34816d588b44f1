"""Writes a workload as a TensorIR function: one loop nest and one block for each stage, nothing scheduled.

Before (a stage of the workload)               After (TensorIR)

    C[i, j] = sum over k of A[i, k] * B[k, j]      for i, j, k in T.grid(M, N, K):
                                                       with T.sblock("C"):
                                                           v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                                                           with T.init():
                                                               C[v_i, v_j] = T.float32(0)
                                                           C[v_i, v_j] = C[v_i, v_j] + A[v_i, v_k] * B[v_k, v_j]

Nodes are made directly: TE would simplify the expressions, and guess the reads of reducers over several outputs.
`tvm_read.py` reads the function back to the same workload. What LLVM has no code for is written as something equal,
and read back from it: abs of integers as a select, fmod as `Mod`, comparisons of bools as those of int8, and some
intrinsics on short floats by way of float32.
"""

from __future__ import annotations

from functools import cache, lru_cache, reduce
from typing import TYPE_CHECKING, Any, TypeAlias

from .backwards import divides_backwards
from .dtypes import INDEX, is_float, round_to, size_bytes
from .errors import LoweringError
from .expr import (
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Logic,
    Select,
    const_value,
    loads,
    walk,
)
from .guards import is_guarded
from .linear import facts_from_extents, is_index, value_range
from .reducers import COMBINE
from .tvm_build import TVM_ERRORS, useful_line
from .tvm_names import (
    BINARY_NODES,
    COMPARE_NODES,
    IF_OP,
    OPS,
    WIDENED,
    SBlock,
    SBlockRealize,
    buffer_of,
    call_node,
    dtype_of,
    get_sblock_read_write_region,
    handle_of,
    ir,
    prim,
    scalar_var,
    stmts,
    tirx,
)
from .tvm_vector_math import in_vectors as vector_math
from .tvm_vector_math import is_short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .workload import Buffer, IterAxis, Stage, Workload

Node: TypeAlias = Any
"""An object of TVM's: it has no types to check against."""

LEAST_ALIGN_BYTES = 4


def primfunc_from_workload(
    workload: Workload, name: str = "main", *, aligned: bool = False, in_vectors: bool = False
) -> tirx.PrimFunc:
    """The TensorIR function that computes `workload`, which must be well formed (`check_workload`).

    It is called `name`, takes the parameters in their order and promises, as TE's functions do, that they do not
    overlap. Parameters are aligned to their elements only: NumPy's arrays start 16 bytes past a 64-byte boundary, and
    the aligned vector moves that TVM's default alignment allows crash on them. With `aligned` they are taken to lie as
    device memory does, which is checked at the call: a GPU has no other vector moves. With `in_vectors`, functions such
    as exp are written as arithmetic (`tvm_vector_math.py`), which cannot be read back; not beside bfloat16, whose casts
    TVM gets wrong in what is computed once for several uses (it takes the bits for a whole number).
    """
    in_vectors = in_vectors and not _has_bfloat16(workload)
    buffers = {
        buffer.name: _declared(buffer, workload.index_dtype, aligned=aligned or buffer.name not in workload.params)
        for buffer in workload.buffers.values()
    }
    nests = [_nest(stage, buffers, workload.index_dtype, in_vectors) for stage in workload.stages]
    temporaries = [buffers[written] for written in workload.writer if written not in workload.params]
    body = nests[0] if len(nests) == 1 else stmts.SeqStmt(nests)
    root = SBlock([], [], [], "root", body, alloc_buffers=temporaries)
    return tirx.PrimFunc(
        [buffers[param] for param in workload.params],
        SBlockRealize([], True, root),
        attrs=ir.make_node("ir.DictAttrs", global_symbol=name, s_tir=True, **{"tirx.noalias": True}),
    )


def _has_bfloat16(workload: Workload) -> bool:
    """True where some value is a bfloat16: an element of a buffer, a constant, or what something is cast to."""
    if any(buffer.dtype == "bfloat16" for buffer in workload.buffers.values()):
        return True
    nodes = (node for stage in workload.stages for body in stage.body for node in walk(body))
    return any(isinstance(node, (Cast, Const)) and node.dtype == "bfloat16" for node in nodes)


def written_indices(load: Load, axes: Mapping[str, Node], buffers: Mapping[str, Node], index_dtype: str) -> list[Node]:
    """The indices of a load, with the variables that axes have become."""
    writer = _ExprWriter(axes, index_dtype, buffers)
    return [writer.write(index) for index in load.indices]


def written_condition(tests: Sequence[Expr], axes: Mapping[str, Node], index_dtype: str) -> Node:
    """What holds where all of some tests do, at least one, with the variables that axes have become."""
    writer = _ExprWriter(axes, index_dtype, {})
    return reduce(prim.And, [writer.write(test) for test in tests])


def _nest(stage: Stage, buffers: dict[str, Node], index_dtype: str, in_vectors: bool) -> Node:
    try:
        return _StageWriter(stage, buffers, index_dtype, in_vectors).nest()
    except TVM_ERRORS as error:
        # TVM folds constants as it looks for regions, and stops at those that C leaves undefined: 1 // 0.
        raise LoweringError(f"stage {stage.name!r} has no form in TensorIR: {useful_line(error)}") from error


def _declared(buffer: Buffer, index_dtype: str, *, aligned: bool) -> Node:
    return tirx.decl_buffer(
        [_integer(index_dtype, extent) for extent in buffer.shape],
        buffer.dtype,
        buffer.name,
        data_alignment=-1 if aligned else max(size_bytes(buffer.dtype), LEAST_ALIGN_BYTES),
        layout=None,
    )


@cache
def _operator(name: str) -> Node:
    return ir.Op.get(name)


@lru_cache(maxsize=4096)
def _integer(dtype: str, value: int) -> Node:
    return prim.IntImm(dtype, value)


class _ExprWriter:
    """Writes expressions: knows the variables of axes, the buffers that are loaded, and where accumulators are."""

    def __init__(
        self, axes: Mapping[str, Node], index_dtype: str, buffers: Mapping[str, Node], *, in_vectors: bool = False
    ) -> None:
        self.axes = axes
        self.index_dtype = index_dtype
        self.buffers = buffers
        self.in_vectors = in_vectors

    def accumulator(self, slot: int) -> Node:
        """The accumulator number `slot`; only a stage has any."""
        raise LoweringError(f"an accumulator, number {slot}, outside of a stage; check the workload first")

    def integer(self, value: int) -> Node:
        return _integer(self.index_dtype, value)

    def write(self, node: Expr) -> Node:
        """TVM's expression for `node`."""
        match node:
            case Axis(name):
                return self.axes[name]
            case Const(dtype, _):
                return self.constant(node, self.index_dtype if dtype == INDEX else dtype)
            case Load(buffer, indices):
                return tirx.BufferLoad(self.buffers[buffer], [self.write(index) for index in indices])
            case Acc(slot):
                return self.accumulator(slot)
            case Cast(dtype, value):
                return prim.Cast(self.index_dtype if dtype == INDEX else dtype, self.write(value))
            case Binary(op, a, b):
                return BINARY_NODES[op](self.write(a), self.write(b))
            case Compare(op, a, b):
                return self.compare(op, self.write(a), self.write(b))
            case Logic("not", (a,)):
                return prim.Not(self.write(a))
            case Logic(op, (a, b)):
                return (prim.And if op == "and" else prim.Or)(self.write(a), self.write(b))
            case Select(cond, then, otherwise):
                return prim.Select(self.write(cond), self.write(then), self.write(otherwise))
            case If(cond, then, otherwise):
                value = self.write(then)
                return call_node(_operator(IF_OP), [self.write(cond), value, self.write(otherwise)], value)
            case Call(name, args):
                return self.call(name, [self.write(arg) for arg in args], self.in_vectors and is_short(node))
        raise LoweringError(f"{node!r} is no expression; check the workload first")

    def constant(self, node: Const, dtype: str) -> Node:
        if is_float(dtype):
            # The shortest text of float32's greatest number is beyond it, which TVM refuses: round first.
            return prim.FloatImm(dtype, round_to(dtype, float(node.text)))
        return prim.IntImm(dtype, int(const_value(node)))

    def compare(self, op: str, a: Node, b: Node) -> Node:
        if dtype_of(a) == "bool":
            a, b = prim.Cast("int8", a), prim.Cast("int8", b)
        return COMPARE_NODES[op](a, b)

    def call(self, name: str, args: list[Node], in_vectors: bool) -> Node:
        dtype = dtype_of(args[0])
        if name == "abs" and not is_float(dtype):
            zero = prim.IntImm(dtype, 0)
            return prim.Select(prim.GE(args[0], zero), args[0], prim.Sub(zero, args[0]))
        if name in WIDENED.get(dtype, ()):
            return prim.Cast(dtype, self.call(name, [prim.Cast("float32", arg) for arg in args], in_vectors))
        if in_vectors and (arithmetic := vector_math(name, args[0], dtype)) is not None:
            return arithmetic
        if name == "fmod":
            return BINARY_NODES["truncmod"](*args)
        return call_node(_operator(OPS[name]), args, args[0])


class _StageWriter(_ExprWriter):
    """Writes one stage: knows the variables of its axes and the buffers of the function."""

    def __init__(self, stage: Stage, buffers: dict[str, Node], index_dtype: str, in_vectors: bool = False) -> None:
        axes = {name: scalar_var(f"v_{name}", index_dtype) for name in stage.extents}
        super().__init__(axes, index_dtype, buffers, in_vectors=in_vectors)
        self.stage = stage
        self.at = [self.axes[axis.name] for axis in stage.axes]
        self.outputs = [buffers[output.name] for output in stage.outputs]
        self.by_handle = {handle_of(buffer): buffer for buffer in buffers.values()}

    def nest(self) -> Node:
        """The loops of the stage, spatial before reduce, around its block."""
        stage, axes = self.stage, (*self.stage.axes, *self.stage.reduce)
        iters = [self.iteration(axis, tirx.IterVar.DataPar) for axis in stage.axes]
        iters += [self.iteration(axis, tirx.IterVar.CommReduce) for axis in stage.reduce]
        init, update = self.init(), self.update()
        # The regions need the statements, and come from a block that is thrown away.
        draft = SBlock(iters, [], [], stage.name, update, init)
        reads, writes = get_sblock_read_write_region(draft, self.by_handle)
        if any(map(divides_backwards, stage.body)) or is_guarded(stage):
            reads = [self.region(read) for read in reads]
        loops = [scalar_var(axis.name, self.index_dtype) for axis in axes]
        nest = SBlockRealize(loops, True, SBlock(iters, reads, writes, stage.name, update, init))
        for loop, axis in zip(reversed(loops), reversed(axes), strict=True):
            nest = stmts.For(loop, self.integer(0), self.integer(axis.extent), stmts.ForKind.SERIAL, nest)
        return nest

    def region(self, read: Node) -> Node:
        """What is read of a buffer: all of it where TVM could not bound the places, and would attach nothing."""
        for body in self.stage.body:
            for load in loads(body):
                buffer = self.buffers[load.buffer]
                if buffer.same_as(buffer_of(read)) and (
                    any(map(divides_backwards, load.indices)) or self.is_outside(load)
                ):
                    return tirx.BufferRegion(buffer, [ir.Range(self.integer(0), extent) for extent in buffer.shape])
        return read

    def is_outside(self, load: Load) -> bool:
        """True for what no point reads: a condition keeps every index of a dimension out of it."""
        facts = facts_from_extents(self.stage.extents)
        shape = self.buffers[load.buffer].shape
        ranges = [(value_range(i, facts), size) for i, size in zip(load.indices, shape, strict=True) if is_index(i)]
        return any(high < 0 or low >= int(size) for (low, high), size in ranges)

    def iteration(self, axis: IterAxis, kind: int) -> Node:
        return tirx.IterVar(ir.Range(self.integer(0), self.integer(axis.extent)), self.axes[axis.name], kind)

    def init(self) -> Node | None:
        """The start values, stored before the first step of the reduction."""
        reducer = self.stage.reducer
        if reducer is None:
            return None
        return self.stores([self.write(start) for start in reducer.init])

    def update(self) -> Node:
        """The stores of the body; a reduction combines it with what is there."""
        values = [self.write(body) for body in self.stage.body]
        reducer = self.stage.reducer
        if reducer is not None and reducer.op in COMBINE:
            values = [BINARY_NODES[COMBINE[reducer.op]](self.write(Acc(0)), values[0])]
        if reducer is None or len(values) == 1:
            return self.stores(values)
        # All new values are computed from the old accumulators, so none may be stored before the last is known.
        names = [
            scalar_var(f"v_{output.name}", dtype_of(value))
            for output, value in zip(self.stage.outputs, values, strict=True)
        ]
        binds = [stmts.Bind(name, value) for name, value in zip(names, values, strict=True)]
        return stmts.SeqStmt([*binds, *self.store_list(names)])

    def stores(self, values: list[Node]) -> Node:
        statements = self.store_list(values)
        return statements[0] if len(statements) == 1 else stmts.SeqStmt(statements)

    def store_list(self, values: list[Node]) -> list[Node]:
        return [stmts.BufferStore(buffer, value, self.at) for buffer, value in zip(self.outputs, values, strict=True)]

    def accumulator(self, slot: int) -> Node:
        """What is stored of the output number `slot` so far."""
        return tirx.BufferLoad(self.outputs[slot], self.at)
