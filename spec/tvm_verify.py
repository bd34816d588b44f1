"""TVM's own verdict on the kernels of a lowered schedule: threads, memory and vectors within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.analysis import verify_gpu_code

from .kernel import kernels, memory_bytes
from .tvm_names import SIMPLIFY

if TYPE_CHECKING:
    from .gpu import GpuLimits
    from .nest import Plan


def is_within_limits(sch: Any, plan: Plan, limits: GpuLimits) -> bool:
    """True where TVM finds no more in any kernel than the target has.

    Where all splits divide, the memory found is that of the plan; around a tail skipped by predicate TVM may keep more
    of a buffer than a step needs, so the plan's bytes are a lower bound there, and registers may spill.

    The passes are those that a build begins with, until memory is flat and virtual threads are written out.
    """
    passes = [
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LiftThreadBinding(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.UnifyThreadBinding(),
        SIMPLIFY(),
        s_tir.transform.InjectSoftwarePipeline(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.VectorizeLoop(True),
        s_tir.transform.InjectVirtualThread(),
    ]
    mod = tvm.ir.transform.Sequential(passes)(sch.mod)
    x, y, z = limits.threads_by_axis
    local = max(memory_bytes(plan, kernel, "local") for kernel in kernels(plan))
    has_tails = any(split.tail == "predicate" for nest in plan.nests for split in nest.nest.splits)
    return bool(
        verify_gpu_code(
            mod["main"],
            {
                "max_threads_per_block": limits.threads,
                "max_thread_x": x,
                "max_thread_y": y,
                "max_thread_z": z,
                "max_shared_memory_per_block": max(limits.shared_bytes, limits.dynamic_shared_bytes),
                **({} if has_tails else {"max_local_memory_per_block": local}),
                "max_vector_bytes": limits.vector_bytes,
            },
        )
    )
