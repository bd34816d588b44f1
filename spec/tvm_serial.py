"""A GPU's schedule as one for the CPU: blocks and threads become loops, and every memory the global one.

A kernel without races computes the same when its threads run one after another, each step of the schedule for all of
them before the next; so the numbers of a GPU's schedule are proven where there is no GPU. What a warp does together is
done once, by the loops that its intrinsic stands for, on the buffers that its call would have. Barriers and virtual
threads are put in by later passes of TVM, and calls become instructions there: these are not part of what is proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tvm

from .tensorized import warp_intrinsic
from .tvm_features import ATTRIBUTE
from .tvm_lower import GPU_PASSES, lower_by, replace_loops, tensorize_warps
from .tvm_names import SBlock, SBlockRealize, blocks_of, buffer_of, scope_of, stmts
from .tvm_wmma import warp_loops

if TYPE_CHECKING:
    from .nest import Plan
    from .tvm_lower import LowerPass
    from .tvm_state import Lowering


def serial_module(plan: Plan) -> tvm.IRModule:
    """The module of a GPU's plan for the CPU: same blocks, same order, no threads."""
    func = lower_by(SERIAL_PASSES, plan).mod["main"].without_attr(ATTRIBUTE)
    return tvm.IRModule({"main": func.with_body(_serial(func.body))})


def reset_scopes(state: Lowering) -> None:
    """Puts every buffer into global memory, once the stages stand where they are computed."""
    for block in blocks_of(state.sch.mod["main"].body):
        for number, region in enumerate(block.writes):
            if scope_of(buffer_of(region)) != "global":
                state.do("set_scope", state.do("get_sblock", block.name_hint), number, "global")


def write_out_warps(state: Lowering) -> None:
    """Puts the loops that a warp's intrinsic stands for in the place of the nest's own."""
    for nest in state.plan.nests:
        if warp_intrinsic(nest) is not None:
            replace_loops(state, nest, state.loops[nest.stage.name, nest.tensorized[0].name], warp_loops)


_CALLS: Final = GPU_PASSES.index(tensorize_warps)
SERIAL_PASSES: Final[tuple[LowerPass, ...]] = (
    *GPU_PASSES[:_CALLS],
    reset_scopes,
    write_out_warps,
    *GPU_PASSES[_CALLS + 1 :],
)
"""Every pass over TensorIR for a GPU whose work the CPU does, in order."""


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
