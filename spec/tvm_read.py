"""Reads a TensorIR function into a workload: TE's, TVMScript's or Relax's, before any scheduling.

What a workload cannot say is refused with a `LoweringError` that names the block and the reason: functions that are
already scheduled, opaque and extern blocks, in-place updates, symbolic shapes, data-dependent writes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .check_workload import check_workload
from .errors import LoweringError, SpecError
from .tvm_names import SBlockRealize, stmts, tirx
from .tvm_read_block import Names, buffer_from_var, fixed, stage_from_block
from .tvm_read_expr import refuse
from .workload import Buffer, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .linear import Range

Node: TypeAlias = Any
"""An object of TVM's: it has no types to check against."""

MAX_DEPTH: Final = 64
"""Loops within loops."""


def workload_from_primfunc(func: tirx.PrimFunc, ranges: Mapping[str, Range] | None = None) -> Workload:
    """The workload that `func` computes; attributes and annotations of blocks are not kept.

    Buffers keep their names, and axes those of their loops, as far as these are legal and nothing else has them; a
    stage is called as the buffer it fills. `ranges` are the values of integer inputs, by buffer: a gather's bounds
    depend on them.
    """
    if not isinstance(func, tirx.PrimFunc):
        raise LoweringError(f"found a {type(func).__name__}; pass a tvm.tirx.PrimFunc, for TE tensors workload_from_te")
    if func.attrs is not None and func.attrs.get("tirx.is_scheduled"):
        raise LoweringError("the function is marked as scheduled; pass it as it was before")
    return _FunctionReader(func).workload(ranges or {})


class _FunctionReader:
    """Walks a function: which blocks stand under which loops, who fills what, in which order."""

    def __init__(self, func: Node) -> None:
        self.func = func
        self.names = Names()
        self.buffers: dict[Node, Buffer] = {}
        self.params: list[str] = []
        self.index_dtype = ""
        self.stages: list[Stage] = []
        self.blocks: list[str] = []
        self.written: set[str] = set()
        self.read: set[str] = set()

    def workload(self, ranges: Mapping[str, Range]) -> Workload:
        root = self.root()
        check_blocks_inside(root)
        for param in self.func.params:
            if not tirx.is_buffer_var(param):
                raise LoweringError(
                    f"parameter {param.name!r} is no buffer; symbolic sizes cannot be read, give numbers"
                )
            self.declare(param)
            self.params.append(self.buffers[param].name)
        for buffer in root.alloc_buffers:
            self.declare(buffer)
        self.walk(root.body, [], root.name_hint)
        written = {output.name for stage in self.stages for output in stage.outputs}
        inputs = [self.buffers[param] for param in self.func.params]
        try:
            workload = Workload(
                inputs=tuple(buffer for buffer in inputs if buffer.name not in written),
                stages=tuple(self.needed()),
                params=tuple(self.params),
                index_dtype=self.index_dtype or "int32",
            )
            check_workload(workload, ranges)
        except SpecError as error:
            raise self.located(error) from error
        return workload

    def declare(self, var: Node) -> None:
        self.buffers[var] = buffer_from_var(var, self.names.fresh(var.name))

    def root(self) -> Node:
        """The block around everything, which TVM gives every function that can be scheduled."""
        body = self.func.body
        if not isinstance(body, SBlockRealize) or body.block.iter_vars:
            raise LoweringError(
                f"the function's body is a {type(body).__name__}, not blocks: already lowered, or nothing is computed"
            )
        if body.block.match_buffers or body.block.init is not None or fixed(body.predicate) != 1:
            refuse(body.block.name_hint, "matches buffers, has an init or a predicate, as no root block of TE has")
        return body.block

    def walk(self, stmt: Node, loops: list[Node], around: str) -> None:
        """Reads every block under `stmt`; `around` is the block to name where a statement stands outside of one."""
        if isinstance(stmt, stmts.SeqStmt):
            for part in stmt.seq:
                self.walk(part, loops, around)
        elif isinstance(stmt, stmts.For):
            first = len(self.stages)
            self.check_loop(stmt, loops, around)
            self.walk(stmt.body, [*loops, stmt], around)
            if not loops:
                self.check_siblings(first)
        elif isinstance(stmt, SBlockRealize):
            self.add(stmt, loops)

    def check_loop(self, loop: Node, loops: list[Node], around: str) -> None:
        name = loop.loop_var.name
        where = f"stands around loop {name!r}, which"
        if loop.kind != stmts.ForKind.SERIAL or loop.thread_binding is not None or loop.annotations:
            refuse(around, f"{where} is parallel, vectorized, unrolled, bound or annotated: it is already scheduled")
        if fixed(loop.extent) is None or fixed(loop.min) != 0 or fixed(loop.step or 1) not in (None, 1):
            refuse(around, f"{where} runs over ({loop.min}, {loop.extent}); give it a fixed range from 0")
        if len(loops) >= MAX_DEPTH:
            refuse(around, f"{where} is nested deeper than {MAX_DEPTH} loops")
        dtype = str(loop.loop_var.ty.dtype)
        if dtype != (self.index_dtype or dtype):
            refuse(around, f"{where} is {dtype} while others are {self.index_dtype}; give all extents one type")
        self.index_dtype = dtype

    def add(self, realize: Node, loops: list[Node]) -> None:
        """Reads a block and checks what it touches against the blocks before it."""
        name = realize.block.name_hint
        try:
            stage = stage_from_block(realize, loops, self.buffers, self.names, self.index_dtype or "int32")
        except SpecError as error:
            raise LoweringError(f"block {name!r}: {error}") from error
        for buffer in stage.reads:
            if buffer not in self.written and buffer not in self.params:
                refuse(name, f"reads {buffer}, which nothing has filled yet")
        for output in stage.outputs:
            if output.name in self.written:
                refuse(name, f"fills {output.name}, as a block before it does; give each a buffer of its own")
            if output.name in self.read:
                refuse(name, f"overwrites {output.name}, which was read before; write to a buffer of its own")
            self.written.add(output.name)
        self.read.update(stage.reads)
        self.stages.append(stage)
        self.blocks.append(name)

    def check_siblings(self, first: int) -> None:
        """Blocks in one nest are read as nests of their own: right only if none reads what another fills."""
        siblings = self.stages[first:]
        filled = {output.name: stage for stage in siblings for output in stage.outputs}
        for number, stage in enumerate(siblings, first):
            for buffer in stage.reads:
                if buffer in filled:
                    refuse(
                        self.blocks[number],
                        f"shares loops with the block that fills {buffer}, which it reads: the function is already "
                        "scheduled; give each block loops of its own",
                    )

    def needed(self) -> list[Stage]:
        """The stages that an output needs: fused functions compute things that nobody reads any more."""
        wanted, kept = set(self.params), []
        for stage, block in reversed([*zip(self.stages, self.blocks, strict=True)]):
            if not wanted.isdisjoint(output.name for output in stage.outputs):
                wanted.update(stage.reads)
                kept.append((stage, block))
        kept.reverse()
        self.blocks = [block for _, block in kept]
        return [stage for stage, _ in kept]

    def located(self, error: SpecError) -> LoweringError:
        """The error of a check, with the name of the block at fault."""
        place = re.match(r"stages\[(\d+)\]", error.path)
        if place is None:
            return LoweringError(str(error))
        return LoweringError(f"block {self.blocks[int(place[1])]!r}: {error.message}")


def check_blocks_inside(block: Node) -> None:
    """A block around others holds nothing but loops and them.

    Asked first: what else is odd about a scan or a scatter, parallel loops and buffers with offsets, follows from this.
    """
    waiting = [block.body]
    while waiting:
        stmt = waiting.pop()
        if isinstance(stmt, stmts.SeqStmt):
            waiting += reversed(stmt.seq)
        elif isinstance(stmt, stmts.For):
            waiting.append(stmt.body)
        elif not isinstance(stmt, SBlockRealize):
            refuse(
                block.name_hint,
                f"is opaque: it holds {type(stmt).__name__} statements outside of inner blocks, as extern calls, scans "
                "and lowered code do; write the computation as blocks of scalar stores",
            )
