"""A function that somebody has scheduled already, or that is no function to read, is refused."""

from __future__ import annotations

from typing import Any

import pytest
import tvm

from autosched.spec.tvm_write import primfunc_from_workload
from refusals import refusal
from sample_workloads import gemm, softmax

# --- already scheduled ------------------------------------------------------------------------------------------------


def product() -> tvm.s_tir.Schedule:
    return tvm.s_tir.Schedule(primfunc_from_workload(gemm(8, 16, 32)))


def scheduled(change: Any) -> Any:
    sch = product()
    block = sch.get_sblock("C")
    change(sch, block, *sch.get_loops(block))
    return sch.mod["main"]


BOUND = "block 'C' binds {} to {}, not to a loop of its own: the function is already scheduled"
LOOP = "block 'root' stands around loop 'j', which is parallel, vectorized, unrolled, bound or annotated"

SCHEDULES = {
    "split": (lambda sch, block, i, j, k: sch.split(j, [4, 4]), BOUND.format("v_j", "j_0 * 4 + j_1")),
    "fuse": (lambda sch, block, i, j, k: sch.fuse(i, j), BOUND.format("v_i", "i_j_fused // 16")),
    "tail": (lambda sch, block, i, j, k: sch.split(j, [3, 6]), "block 'C' runs only where j_0 * 6 + j_1 < 16"),
    "parallel": (lambda sch, block, i, j, k: sch.parallel(j), LOOP),
    "vectorize": (lambda sch, block, i, j, k: sch.vectorize(j), LOOP),
    "bind": (lambda sch, block, i, j, k: sch.bind(j, "threadIdx.x"), LOOP),
    "annotate": (lambda sch, block, i, j, k: sch.annotate(j, "pragma_auto_unroll_max_step", 16), LOOP),
    "decompose": (
        lambda sch, block, i, j, k: sch.decompose_reduction(block, i),
        "block 'C_update' reduces without an init, so over what is in the buffer already; add one",
    ),
    "blockize": (
        lambda sch, block, i, j, k: sch.blockize(j),
        "block 'C_o' holds loops or blocks: it is already blockized, is opaque, or has loops as long as its axes say",
    ),
    "scope": (
        lambda sch, block, i, j, k: sch.set_scope(sch.cache_read(block, 0, "global"), 0, "shared"),
        "buffer 'A_global_shared' lies in scope 'shared' or has a layout: the function is already scheduled",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_scheduled_functions(name: str) -> None:
    change, message = SCHEDULES[name]
    assert refusal(scheduled(change)).startswith(message)


def test_compute_at() -> None:
    sch = tvm.s_tir.Schedule(primfunc_from_workload(softmax(4, 8)))
    sch.compute_at(sch.get_sblock("total"), sch.get_loops(sch.get_sblock("Y"))[0])
    assert refusal(sch.mod["main"]) == (
        "block 'Y' shares loops with the block that fills total, which it reads: the function is already scheduled; "
        "give each block loops of its own"
    )


def test_a_function_marked_as_scheduled() -> None:
    func = primfunc_from_workload(gemm(4, 4, 4)).with_attr("tirx.is_scheduled", True)
    assert refusal(func) == "the function is marked as scheduled; pass it as it was before"


def test_a_lowered_function() -> None:
    lowered = tvm.s_tir.transform.LowerInitBlock()(tvm.IRModule({"main": primfunc_from_workload(gemm(4, 4, 4))}))
    assert refusal(lowered["main"]).startswith("block 'C' is opaque: it holds IfThenElse statements")
