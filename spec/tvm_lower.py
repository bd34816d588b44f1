"""The second half of the compiler, data to TensorIR: a checked plan becomes a `tvm.s_tir.Schedule`.

`PASSES` is the whole of it, in order. Each pass walks the plan and uses TVM's stable core of primitives; none decides
anything, so lowering is deterministic and, on what the checks accept, total.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import tvm

from .backwards import truncated
from .check import check_schedule
from .errors import LoweringError
from .gpu import limits_of
from .guards import cut_loops
from .once import PACK, main_part, pack_part
from .schedule import BLOCKS, VTHREAD
from .tensorized import intrinsic_of, warp_intrinsic
from .tvm_features import with_attribute
from .tvm_intrinsics import PRAGMA, llvm_call, llvm_functions
from .tvm_names import blocks_of
from .tvm_skip import skipping_loop
from .tvm_state import Lowering
from .tvm_tensorize import Use, tensorized_loops
from .tvm_wmma import warp_call, warp_fill
from .tvm_write import primfunc_from_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .nest import BoundLoop, Plan, StageNest
    from .schedule import Schedule
    from .task import Target, Task
    from .tvm_tensorize import Instructions
    from .workload import Workload


def lower(schedule: Schedule, task: Task | Workload) -> Any:
    """A `tvm.s_tir.Schedule` whose ``mod["main"]`` computes the task by `schedule`, with the task's parameters.

    Where `schedule` has stages that are computed once, their buffers are further parameters of ``main``, behind the
    task's, and ``mod["pack"]`` computes them from the constants. Intrinsics are put in by replacing loops, which its
    trace does not hold.
    Raises SpecError where the schedule does not fit the workload; LoweringError would be a defect of the checks.
    """
    return lower_plan(check_schedule(schedule, task))


def lower_plan(plan: Plan, observe: Callable[[str, Any], None] | None = None) -> Any:
    """Lowers a checked plan; `observe` sees the schedule after each pass, by the pass' name."""
    return _lowered_whole(plan, observe, in_vectors=False)


def module_from_plan(plan: Plan) -> tvm.IRModule:
    """What is compiled of a checked plan: what `lower_plan` gives, but on a CPU functions such as exp are vectors."""
    mod: tvm.IRModule = _lowered_whole(plan, None, in_vectors=_keeps_order(plan.target)).mod
    return mod


def _keeps_order(target: Target) -> bool:
    """True for a CPU whose arithmetic is done as it is written: vectors of exp round by adding and taking off again."""
    return limits_of(target) is None and not any(option.name.startswith("fast-math") for option in target.options)


def _lowered_whole(plan: Plan, observe: Callable[[str, Any], None] | None, *, in_vectors: bool) -> Any:
    main = main_part(plan)
    functions = {"main": _function(main, "main", in_vectors)}
    if (packing := pack_part(plan)) is not None:
        observe_pack = None if observe is None else lambda name, sch: observe(f"{PACK}: {name}", sch)
        alone = _lowered(packing, tvm.IRModule({"main": _function(packing, PACK, in_vectors)}), observe_pack)
        functions[PACK] = alone.mod["main"]
    return _lowered(main, tvm.IRModule(functions), observe)


def lower_by(passes: Sequence[LowerPass], plan: Plan) -> Any:
    """A plan that computes nothing once, lowered by other passes than its target's."""
    return _lowered(plan, tvm.IRModule({"main": _function(plan, "main")}), None, passes)


def _function(plan: Plan, name: str, in_vectors: bool = False) -> tvm.tirx.PrimFunc:
    """The function of a plan's workload, nothing scheduled."""
    used = [intrinsic for intrinsic in map(intrinsic_of, plan.nests) if intrinsic is not None]
    aligned = limits_of(plan.target) is not None
    func = primfunc_from_workload(truncated(plan.workload), name, aligned=aligned, in_vectors=in_vectors)
    return with_attribute(func, used)


def _lowered(
    plan: Plan,
    mod: tvm.IRModule,
    observe: Callable[[str, Any], None] | None,
    passes: Sequence[LowerPass] | None = None,
) -> Any:
    """Every pass applied to the function ``main`` of `mod`."""
    state = Lowering(plan, _new_schedule(mod), {})
    for lower_pass in passes or (PASSES if limits_of(plan.target) is None else GPU_PASSES):
        try:
            lower_pass(state)
        except (RuntimeError, ValueError) as error:  # TVM's failed checks are of either kind
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
            message = f"pass {lower_pass.__name__} failed in TVM: {reason.strip()}; please report this schedule"
            raise LoweringError(message) from error
        if observe is not None:
            observe(lower_pass.__name__, state.sch)
    return state.sch


def _new_schedule(mod: tvm.IRModule) -> Any:
    """TVM's schedule of a module, made past its run-time type checker as primitives are done: half of the time."""
    kind = tvm.s_tir.Schedule
    sch = kind.__new__(kind)
    getattr(kind.__init__, "__wrapped__", kind.__init__)(sch, mod, error_render_level="fast")
    return sch


def split_own_nests(state: Lowering) -> None:
    """Splits and reorders the loops of every stage that has a nest of its own."""
    for nest in state.plan.nests:
        if nest.at is None:
            _split(state, nest)


def attach_stages(state: Lowering) -> None:
    """Moves attached stages to their loop, producers nearest to the reader first, consumers in the order of data."""
    waiting = [nest for nest in state.plan.nests if nest.at is not None]
    consumers = [nest for nest in waiting if nest.consumer]
    producers = [nest for nest in reversed(waiting) if not nest.consumer]
    placed = {nest.stage.name for nest in state.plan.nests if nest.at is None}
    queue = [*consumers, *producers]
    while queue:
        nest = next(n for n in queue if n.at is not None and n.at.stage in placed)
        queue.remove(nest)
        placed.add(nest.stage.name)
        assert nest.at is not None
        parent = state.plan.by_stage[nest.at.stage]
        loop = state.loops[parent.stage.name, parent.loops[parent.position(nest.at.loop)].name]
        move = "reverse_compute_at" if nest.consumer else "compute_at"
        state.do(move, state.block(nest), loop, preserve_unit_loops=True)
        _split(state, nest)
        _bind_gpu_loops(state, nest)


def _split(state: Lowering, nest: StageNest) -> None:
    own = state.do("get_loops", state.block(nest))[-len(nest.axes) :] if nest.axes else []
    for axis, loop in zip(nest.axes, own, strict=True):
        found = state.do("get", loop).extent
        split = next((s for s in nest.nest.splits if s.axis == axis.name), None)
        # TVM may not see that an attached stage is needed in fewer steps: more of them are as right, and cost a little.
        may_be_more = nest.at is not None and split is None and limits_of(state.plan.target) is None
        steps = int(found) if isinstance(found, tvm.tirx.IntImm) else 0
        if steps != axis.extent and not (may_be_more and steps > axis.extent):
            message = f"axis {axis.name!r} of {nest.stage.name!r} should run {axis.extent} steps, TVM made it {found}"
            raise LoweringError(f"{message}; please report this schedule")
        pieces = sorted((piece for piece in nest.loops if piece.axis == axis.name), key=lambda piece: -piece.stride)
        if split is None:
            state.loops[nest.stage.name, axis.name] = loop
            continue
        factors = [_count(factor, state.plan.workload.index_dtype) for factor in split.factors]
        made = state.do("split", loop, factors, preserve_unit_iters=True) if len(pieces) > 1 else [loop]
        for name, piece in zip(split.into, made, strict=True):
            state.loops[nest.stage.name, name] = piece
    if nest.nest.order and len(nest.loops) > 1:
        state.do("reorder", *(state.loops[nest.stage.name, loop.name] for loop in nest.loops))


def _count(factor: int, index_dtype: str) -> Any:
    """A factor as TVM takes it: plain ones are 32 bits wide, and so would their product be."""
    return factor if index_dtype == "int32" else tvm.tirx.IntImm(index_dtype, factor)


def set_scopes(state: Lowering) -> None:
    """Puts buffers into the memory that their nest names; before stages move, which makes them fit what is shared."""
    for nest in state.plan.nests:
        for number in range(len(nest.stage.outputs)):
            if nest.nest.scope != "global":
                state.do("set_scope", state.block(nest), number, nest.nest.scope)


def launch_kernels(state: Lowering) -> None:
    """Binds the blocks and threads of every stage with a nest of its own; one that has none is a kernel of one block.

    Before stages are attached: what a stage computes for a shared buffer depends on which loops are threads.
    """
    for nest in state.plan.nests:
        if nest.at is not None:
            continue
        _bind_gpu_loops(state, nest)
        if not nest.bound or nest.bound[0].to not in BLOCKS:
            around = state.do("get_loops", state.block(nest))[0] if nest.bound else state.block(nest)
            state.do("bind", state.do("add_unit_loop", around), BLOCKS[0])


def _bind_gpu_loops(state: Lowering, nest: StageNest) -> None:
    vthreads = iter(("vthread.x", "vthread.y", "vthread.z"))
    for bound in nest.bound:
        if bound.on_gpu:
            loop = _fused(state, nest, bound)
            # A stage may be attached at a fused loop, which it knows by the last of its parts.
            state.loops |= {(nest.stage.name, part.name): loop for part in bound.parts}
            state.do("bind", loop, next(vthreads) if bound.to == VTHREAD else bound.to)


def _fused(state: Lowering, nest: StageNest, bound: BoundLoop) -> Any:
    """The loop of TVM's for one of ours, made of its parts where it has several."""
    parts = [state.loops[nest.stage.name, part.name] for part in bound.parts]
    loop = state.do("fuse", *parts, preserve_unit_iters=True) if len(parts) > 1 else parts[0]
    state.loops[nest.stage.name, bound.name] = loop
    return loop


def bind_loops(state: Lowering) -> None:
    """Fuses loops and binds them: parallel, vectorized, unrolled."""
    for nest in state.plan.nests:
        for bound in nest.bound:
            if bound.on_gpu:
                continue
            loop = _fused(state, nest, bound)
            if bound.extent > 1 or bound.to == "parallel":
                _bind(state, loop, bound.to)
        if nest.nest.unroll_limit is not None and nest.bound:
            first = state.loops[nest.stage.name, nest.bound[0].name]
            state.do("annotate", first, "pragma_auto_unroll_max_step", nest.nest.unroll_limit)


def _bind(state: Lowering, loop: Any, to: str) -> None:
    if to != "serial":
        state.do(to, loop)


def start_reductions(state: Lowering) -> None:
    """Puts the start of a reduction before its loop, and binds the start's own loops like the update's."""
    for nest in state.plan.nests:
        if nest.nest.start is None:
            continue
        loop = state.loops[nest.stage.name, nest.nest.start]
        first = nest.bound_position(nest.nest.start)
        outer = len(state.do("get_loops", state.block(nest))) - len(nest.bound) + first
        update = state.block(nest)
        init = state.do("decompose_reduction", update, loop)
        state.starts[nest.stage.name] = init
        state.owners |= {str(state.do("get", block).name_hint): nest.stage.name for block in (init, update)}
        # TVM leaves out loops of one step here and there; the others stand in the update's order.
        made = [own for own in state.do("get_loops", init)[outer:] if int(state.do("get", own).extent) > 1]
        inner = [bound for bound in nest.bound[first:] if not bound.reduce and bound.extent > 1]
        for bound, own in zip(inner, made, strict=True):
            if bound.parts[0] in nest.tensorized:
                if warp_intrinsic(nest) is None:
                    _bind(state, own, "vectorize")  # the lanes of an intrinsic start together
            elif bound.to in ("vectorize", "unroll"):
                _bind(state, own, bound.to)


def cut_at_guards(state: Lowering) -> None:
    """Has TVM cut loops where a condition on their vectors changes; it can where indices are 32 bits wide."""
    if state.plan.workload.index_dtype != "int32":
        return
    for nest in state.plan.nests:
        for name in cut_loops(nest):
            state.do("annotate", state.loops[nest.stage.name, name], CUT, 1)


def skip_zeros(state: Lowering) -> None:
    """Leaves out the steps of sums that add nothing but zeros of padding."""
    for nest in state.plan.nests:
        if nest.nest.skip is None:
            continue
        names = [bound.name for bound in nest.bound[: nest.bound_position(nest.nest.skip) + 1]]
        loops = [state.sch.get_sref(state.loops[nest.stage.name, name]) for name in names]
        new = skipping_loop(nest, state.plan.workload, [loop.stmt for loop in loops])
        state.sch.state.replace(loops[-1], new, {})


def tensorize_nests(state: Lowering) -> None:
    """Puts the call of an intrinsic in the place of the loops that it does."""
    used = [(nest, intrinsic) for nest in state.plan.nests if (intrinsic := intrinsic_of(nest)) is not None]
    for nest, _ in used:
        replace_loops(state, nest, state.loops[nest.stage.name, nest.tensorized[0].name], llvm_call)
    if used:
        # Once for the function, wherever it is used: each pragma is read and linked anew.
        nest = used[0][0]
        (block,) = state.do("get_child_blocks", state.loops[nest.stage.name, nest.tensorized[0].name])
        text = llvm_functions(intrinsic for _, intrinsic in used)
        state.do("annotate", state.do("get_loops", block)[0], PRAGMA, text)


def tensorize_warps(state: Lowering) -> None:
    """Puts the call of a warp's intrinsic in the place of the loops that it does, and of those that start its sum."""
    for nest in state.plan.nests:
        if (intrinsic := warp_intrinsic(nest)) is None:
            continue
        first = state.loops[nest.stage.name, nest.tensorized[0].name]
        replace_loops(state, nest, first, warp_call)
        if (start := state.starts.get(nest.stage.name)) is not None:
            around = state.do("get_loops", start)[-len(intrinsic.stage.axes)]
            replace_loops(state, nest, around, warp_fill(state.do("get", start).body.value))


def replace_loops(state: Lowering, nest: StageNest, loop: Any, instructions: Instructions) -> None:
    """Replaces the loops of a nest from `loop` inwards by the instructions of its intrinsic."""
    intrinsic = intrinsic_of(nest)
    assert intrinsic is not None
    use = Use(
        nest=nest,
        intrinsic=intrinsic,
        workload=state.plan.workload,
        buffers=state.buffers(),
        instructions=instructions,
    )
    sref = state.sch.get_sref(loop)
    new, before, after = tensorized_loops(use, sref.stmt)
    state.sch.state.replace(sref, new, {before: after})


def align_buffers(state: Lowering) -> None:
    """Pads the layouts of shared buffers."""
    for nest in state.plan.nests:
        if (align := nest.nest.align) is not None:
            dimension = [axis.name for axis in nest.stage.axes].index(align.axis)
            for number in range(len(nest.stage.outputs)):
                state.do("storage_align", state.block(nest), number, dimension, align.factor, align.offset)


def pipeline_loops(state: Lowering) -> None:
    """Says of each loop with stages computed ahead which of its parts run early; they keep their order."""
    for host in state.plan.nests:
        for bound in host.bound:
            inside = state.plan.inside(host.stage.name, host.position(bound.name))
            early = {nest.stage.name for nest in inside if nest.nest.ahead}
            if not early:
                continue
            ahead = max(nest.nest.ahead for nest in inside)
            loop = state.loops[host.stage.name, bound.name]
            parts = state.do("get", loop).body.seq
            names = [{str(block.name_hint) for block in blocks_of(part)} for part in parts]
            steps = [0 if early & {state.owners.get(name, name) for name in its} else ahead for its in names]
            state.do("annotate", loop, "software_pipeline_stage", steps)
            state.do("annotate", loop, "software_pipeline_order", [*range(len(steps))])


CUT: Final = "pragma_loop_partition_hint"
"""TVM's word for a loop that is cut in parts where a condition in it changes."""
LowerPass: TypeAlias = "Callable[[Lowering], None]"
PASSES: Final[tuple[LowerPass, ...]] = (
    split_own_nests,
    attach_stages,
    bind_loops,
    start_reductions,
    cut_at_guards,
    tensorize_nests,
    skip_zeros,
)
"""Every pass over TensorIR for a CPU, in order."""

GPU_PASSES: Final[tuple[LowerPass, ...]] = (
    split_own_nests,
    set_scopes,
    launch_kernels,
    attach_stages,
    align_buffers,
    bind_loops,
    start_reductions,
    tensorize_warps,
    pipeline_loops,
)
"""Every pass over TensorIR for a GPU, in order."""
