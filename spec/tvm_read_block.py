"""Reads one TensorIR block, under the loops around it, into a stage.

A block is read if each of its variables is one whole loop, each output is stored once, at a permutation of the spatial
variables that covers it, and a reduction has a start value. Everything else is refused with the block's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from .dtypes import DTYPES, INDEX
from .errors import LoweringError
from .expr import Acc, Axis, Binary, Const, Expr, index, walk
from .expr_text import RESERVED
from .reducers import COMBINE
from .tvm_names import SBlock, SBlockRealize, prim, stmts, tirx
from .tvm_read_expr import ExprReader, Typed, refuse, same_indices
from .workload import Buffer, IterAxis, Output, Reducer, Stage

Node: TypeAlias = Any
"""An object of TVM's: it has no types to check against."""

MAX_NAME: Final = 100
_REDUCERS: Final = {op: reducer for reducer, op in COMBINE.items()}
_COMMUTING: Final = ("sum", "prod")
"""``x + acc`` is ``acc + x`` to the bit; min and max of a nan are not."""
_KINDS: Final = {tirx.IterVar.DataPar: "spatial", tirx.IterVar.CommReduce: "reduce"}
_REFUSED_KINDS: Final = {tirx.IterVar.Ordered: "a scan axis", tirx.IterVar.Opaque: "an opaque axis"}


class Names:
    """Gives each thing a legal name of its own, as near to TVM's as can be."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def fresh(self, wanted: str) -> str:
        """A name like `wanted` that was not given before: ``T_multiply``, then ``T_multiply_1``."""
        parts = [re.sub(r"[^A-Za-z0-9_]", "_", part) or "_" for part in wanted[:MAX_NAME].split(".")]
        base = ".".join(f"_{part}" if part[0].isdigit() else part for part in parts)
        base = f"{base}_" if base in RESERVED else base
        name, number = base, 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name


@attrs.frozen
class _Axes:
    """The axes of a block: the values of its variables, and which of them are axes of the stage."""

    values: Mapping[Node, Typed]
    spatial: Mapping[Node, IterAxis]
    reduce: tuple[IterAxis, ...]


def fixed(node: Node) -> int | None:
    """The value of an integer constant, None for anything else."""
    return int(node.value) if isinstance(node, prim.IntImm) else None


def buffer_from_var(var: Node, name: str) -> Buffer:
    """The record of a buffer of TVM's; LoweringError unless it is dense, row-major and of a static shape."""
    kind = var.ty
    shape = [fixed(extent) for extent in kind.shape]
    dtype = str(kind.dtype.dtype)
    problem = None
    if None in shape:
        problem = f"has the shape ({', '.join(map(str, kind.shape))}); give it whole numbers"
    elif dtype not in DTYPES:
        problem = f"holds {dtype}; allowed: {', '.join(DTYPES)}"
    elif kind.strides or fixed(kind.elem_offset) != 0:
        problem = "has strides or an offset of its own; use a dense one"
    elif kind.storage_scope not in ("", "global") or kind.layout is not None:
        problem = f"lies in scope {kind.storage_scope!r} or has a layout: the function is already scheduled"
    if problem:
        raise LoweringError(f"buffer {var.name!r} {problem}")
    return Buffer(name=name, shape=tuple(extent for extent in shape if extent is not None), dtype=dtype)


def statements(stmt: Node) -> list[Node]:
    """The statements of a block in order, sequences flattened."""
    if isinstance(stmt, stmts.SeqStmt):
        return [inner for part in stmt.seq for inner in statements(part)]
    return [stmt]


def stage_from_block(
    realize: Node, loops: list[Node], buffers: Mapping[Node, Buffer], names: Names, index_dtype: str
) -> Stage:
    """The stage that the block of `realize` computes under `loops`, outermost first."""
    block = realize.block
    _check_plain(realize)
    update = _stores(block, block.body)
    at = list(update[0].indices)
    _check_places(block, update, at)
    axes = _axes(realize, loops, at)
    outputs = {store.buffer: slot for slot, store in enumerate(update)}
    _check_stores(block, update, at, axes, buffers)
    reader = ExprReader(
        block=block.name_hint,
        index_dtype=index_dtype,
        axes=axes.values,
        buffers=buffers,
        outputs=outputs,
        at=at,
    )
    body = _body(reader, block.body, buffers)
    records = [buffers[buffer] for buffer in outputs]
    reducer = None
    if axes.reduce:
        op, body = _combined(body)
        reducer = Reducer(op=op, init=_init(block, outputs, at, buffers, reader))
    elif block.init is not None:
        refuse(block.name_hint, "has an init but no reduce axis; store the value in the body")
    elif any(isinstance(node, Acc) for value in body for node in walk(value)):
        refuse(block.name_hint, "updates a buffer in place; write to a buffer of its own")
    return Stage(
        name=records[0].name if len(records) == 1 else names.fresh(block.name_hint),
        axes=tuple(axes.spatial[var] for var in at),
        reduce=axes.reduce,
        outputs=tuple(Output(name=record.name, dtype=record.dtype) for record in records),
        body=tuple(body),
        reducer=reducer,
    )


def _check_plain(realize: Node) -> None:
    block = realize.block
    if fixed(realize.predicate) != 1:
        refuse(block.name_hint, f"runs only where {realize.predicate}: the function is already scheduled")
    if block.match_buffers:
        refuse(block.name_hint, "matches a buffer region: it is already tensorized; pass the function before that")
    if block.alloc_buffers:
        refuse(block.name_hint, "allocates a buffer of its own: the function is already scheduled")


def _stores(block: Node, body: Node) -> list[Node]:
    """The stores of a body of lets and stores."""
    found = []
    for stmt in statements(body):
        if isinstance(stmt, stmts.BufferStore):
            found.append(stmt)
        elif isinstance(stmt, SBlockRealize | SBlock | stmts.For):
            refuse(
                block.name_hint,
                "holds loops or blocks: it is already blockized, is opaque, or has loops as long as its axes say",
            )
        elif not isinstance(stmt, stmts.Bind):
            refuse(
                block.name_hint,
                f"is opaque: it holds {type(stmt).__name__} statements, as extern calls, sorts and scatters do; only "
                "stores of scalar expressions can be read",
            )
    if not found:
        refuse(block.name_hint, "stores nothing")
    return found


def _axes(realize: Node, loops: list[Node], at: list[Node]) -> _Axes:
    """What the variables of a block stand for; reduce axes in the order of their loops."""
    name = realize.block.name_hint
    values: dict[Node, Typed] = {}
    spatial: dict[Node, IterAxis] = {}
    reduce: list[tuple[int, IterAxis]] = []
    unbound = {loop.loop_var: position for position, loop in enumerate(loops)}
    names = Names()
    stored = {var for var in at if isinstance(var, tirx.Var)}
    for iter_var, value in zip(realize.block.iter_vars, realize.iter_values, strict=True):
        kind = _KINDS.get(iter_var.iter_type)
        if kind is None:
            what = _REFUSED_KINDS.get(iter_var.iter_type, "an axis of a kind that is not spatial or reduce")
            refuse(name, f"has {what}, {iter_var.var.name}; only spatial and reduce axes can be read")
        extent, low = fixed(iter_var.dom.extent), fixed(iter_var.dom.min)
        if extent is None or low != 0:
            refuse(name, f"has an axis {iter_var.var.name} over {iter_var.dom}; give it a fixed range from 0")
        position = unbound.pop(value, None) if isinstance(value, tirx.Var) else None
        if position is None and not (fixed(value) == 0 and extent == 1):
            refuse(
                name,
                f"binds {iter_var.var.name} to {value}, not to a loop of its own: the function is already scheduled; "
                "pass it as it was before",
            )
        if position is not None and fixed(loops[position].extent) != extent:
            refuse(name, f"has an axis {iter_var.var.name} that is not as long as its loop")
        if kind == "spatial" and iter_var.var not in stored:
            if extent > 1:
                refuse(name, f"stores each element {extent} times, for each {iter_var.var.name}; use a reduce axis")
            values[iter_var.var] = index(0), INDEX
            continue
        wanted = iter_var.var.name.removeprefix("v_") if position is None else loops[position].loop_var.name
        axis = IterAxis(name=names.fresh(wanted), extent=extent)
        values[iter_var.var] = Axis(axis.name), INDEX
        if kind == "spatial":
            spatial[iter_var.var] = axis
        else:
            reduce.append((len(loops) if position is None else position, axis))
    for var, position in unbound.items():
        if fixed(loops[position].extent) != 1:
            refuse(name, f"stands in a loop {var.name} that it does not use: it would be computed again and again")
    reduce.sort(key=lambda item: item[0])
    return _Axes(values, spatial, tuple(axis for _, axis in reduce))


def _check_places(block: Node, update: list[Node], at: list[Node]) -> None:
    """All outputs are stored at the same place, which plain variables give."""
    for store in update:
        where = f"{store.buffer.name}[{', '.join(map(str, store.indices))}]"
        if not all(isinstance(i, tirx.Var) for i in store.indices):
            refuse(block.name_hint, f"stores to {where}; each index must be a spatial axis: no scatters, no arithmetic")
        if len(store.indices) != len(at) or not same_indices(store.indices, at):
            refuse(block.name_hint, f"stores its outputs at different places, one of them {where}; use one block each")


def _check_stores(block: Node, update: list[Node], at: list[Node], axes: _Axes, buffers: Mapping[Node, Buffer]) -> None:
    """Every output is stored once, and whole."""
    seen: set[Node] = set()
    for store in update:
        record = buffers.get(store.buffer)
        if record is None:
            refuse(block.name_hint, f"stores to {store.buffer.name}, which is no buffer of the function")
        if store.buffer in seen:
            refuse(block.name_hint, f"stores twice to {store.buffer.name}; store one value")
        seen.add(store.buffer)
        if len(set(at)) != len(at) or any(i not in axes.spatial for i in at):
            where = f"{store.buffer.name}[{', '.join(map(str, at))}]"
            refuse(block.name_hint, f"stores to {where}; each index must be a spatial axis of its own")
        if record.shape != tuple(axes.spatial[var].extent for var in at):
            refuse(
                block.name_hint, f"fills only a part of {store.buffer.name}; make the buffer as large as what is stored"
            )


def _body(reader: ExprReader, body: Node, buffers: Mapping[Node, Buffer]) -> list[Expr]:
    """The values stored, in order, lets put in."""
    values = []
    for stmt in statements(body):
        if isinstance(stmt, stmts.Bind):
            reader.bind(stmt.var, stmt.value)
        else:
            values.append(reader.value(stmt.value, buffers[stmt.buffer].dtype))
            reader.stored.add(stmt.buffer)
    return values


def _combined(body: list[Expr]) -> tuple[str, list[Expr]]:
    """The reducer and the values it combines: ``acc[0] + x`` is a sum of x; what has no such form is custom."""
    match body:
        case [Binary(op, a, b)] if op in _REDUCERS:
            reducer = _REDUCERS[op]
            if a == Acc(0) and not _uses_acc(b):
                return reducer, [b]
            if b == Acc(0) and not _uses_acc(a) and reducer in _COMMUTING:
                return reducer, [a]
    return "custom", body


def _uses_acc(node: Expr) -> bool:
    return any(isinstance(inner, Acc) for inner in walk(node))


def _init(
    block: Node, outputs: Iterable[Node], at: list[Node], buffers: Mapping[Node, Buffer], reader: ExprReader
) -> tuple[Const, ...]:
    """The start value of each output."""
    if block.init is None:
        refuse(block.name_hint, "reduces without an init, so over what is in the buffer already; add one")
    found: dict[Node, Expr] = {}
    for stmt in statements(block.init):
        if not isinstance(stmt, stmts.BufferStore) or stmt.buffer not in reader.outputs:
            refuse(block.name_hint, "has an init that does not just store to the block's outputs")
        if not same_indices(stmt.indices, at):
            refuse(block.name_hint, f"starts {stmt.buffer.name} at another place than it fills")
        found[stmt.buffer] = reader.value(stmt.value, buffers[stmt.buffer].dtype)
    values = [found.get(buffer) for buffer in outputs]
    starts = tuple(value for value in values if isinstance(value, Const))
    if len(starts) != len(values):
        refuse(block.name_hint, "starts a reduction from something that is no constant; add it in a stage of its own")
    return starts
