"""A GPU's schedule as one for the CPU: blocks and threads become loops, and every memory the global one.

A kernel without races computes the same when its threads run one after another, each step of the schedule for all of
them before the next; so the numbers of a GPU's schedule are proven where there is no GPU. Barriers and virtual threads
are put in by later passes of TVM and are not part of what is proven.
"""

from __future__ import annotations

from typing import Any

import tvm

from .tvm_names import SBlock, SBlockRealize, blocks_of, buffer_of, scope_of, stmts


def serial_module(sch: Any) -> tvm.IRModule:
    """The module of a schedule lowered for a GPU, for the CPU: same blocks, same order, no threads."""
    own = tvm.s_tir.Schedule(sch.mod)
    for block in blocks_of(own.mod["main"].body):
        for number, region in enumerate(block.writes):
            if scope_of(buffer_of(region)) != "global":
                own.set_scope(own.get_sblock(block.name_hint), number, "global")
    func = own.mod["main"]
    return tvm.IRModule({"main": func.with_body(_serial(func.body))})


def _serial(stmt: Any) -> Any:
    """The statement with each loop over blocks and threads a plain one."""
    if isinstance(stmt, stmts.SeqStmt):
        return stmts.SeqStmt([_serial(part) for part in stmt.seq])
    if isinstance(stmt, stmts.For):
        kind = stmts.ForKind.SERIAL if stmt.thread_binding is not None else stmt.kind
        return stmts.For(stmt.loop_var, stmt.min, stmt.extent, kind, _serial(stmt.body), None, stmt.annotations)
    if isinstance(stmt, SBlockRealize) and blocks_of(stmt.block.body):
        block = stmt.block
        inner = SBlock(
            block.iter_vars,
            block.reads,
            block.writes,
            block.name_hint,
            _serial(block.body),
            block.init,
            block.alloc_buffers,
            block.match_buffers,
            block.annotations,
        )
        return SBlockRealize(stmt.iter_values, stmt.predicate, inner)
    return stmt
