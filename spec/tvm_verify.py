"""TVM's own verdict on the kernels of a lowered schedule: threads, memory and vectors within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.analysis import verify_gpu_code

from .kernel import kernels, memory_bytes

if TYPE_CHECKING:
    from .gpu import GpuLimits
    from .nest import Plan

MAX_VECTOR_BYTES = 16


def is_within_limits(sch: Any, plan: Plan, limits: GpuLimits) -> bool:
    """True where TVM finds no more in any kernel than the target has, nor more memory than the plan says.

    The passes are those that a build begins with, until memory is flat and virtual threads are written out.
    """
    passes = [
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LiftThreadBinding(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.UnifyThreadBinding(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.InjectSoftwarePipeline(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.VectorizeLoop(True),
        s_tir.transform.InjectVirtualThread(),
    ]
    mod = tvm.ir.transform.Sequential(passes)(sch.mod)
    x, y, z = limits.threads_by_axis
    found = kernels(plan)
    shared = (memory_bytes(plan, k, "shared") + memory_bytes(plan, k, "shared.dyn") for k in found)
    return bool(
        verify_gpu_code(
            mod["main"],
            {
                "max_threads_per_block": limits.threads,
                "max_thread_x": x,
                "max_thread_y": y,
                "max_thread_z": z,
                "max_shared_memory_per_block": max(shared),
                "max_local_memory_per_block": max(memory_bytes(plan, k, "local") for k in found),
                "max_vector_bytes": MAX_VECTOR_BYTES,
            },
        )
    )
