"""Schedules as records of MetaSchedule: its database finds and replays them, on functions that it is asked for."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
import tvm
from tvm import relax, te

import autosched as at
from autosched.spec.claim import Claim, Protocol
from autosched.spec.inputs import random_inputs
from autosched.spec.schedule import BindFused, BindLoop, Inline, Nest, Schedule, Split
from autosched.spec.spec_file import SpecFile
from autosched.spec.tvm_metaschedule import save_metaschedule
from autosched.spec.tvm_relax import primfuncs_of
from relax_operators import READ, functions_of
from store_cases import MACHINE, tiled
from tvm_numbers import assert_same_numbers, run_function

if TYPE_CHECKING:
    from pathlib import Path

GEMM = at.get_task("gemm", N=64, K=32, M=48, threads=2)


def tiled_rows(stage: str, row: str, column: str, depth: str) -> Schedule:
    """Columns in vectors of 16, rows in parallel, the sum started outside."""
    split = Split(axis=column, into=("jo", "ji"), factors=(3, 16))
    bind = (BindFused(fuse=(row, "jo"), as_="p", to="parallel"), BindLoop(loop="ji", to="vectorize"))
    nest = Nest(stage=stage, splits=(split,), order=(row, "jo", depth, "ji"), bind=bind, start=depth, unroll_limit=16)
    return Schedule(nests=(nest,))


def spec_of(task: at.Task, schedule: Schedule) -> SpecFile:
    claim = Claim(
        machine=MACHINE, protocol=Protocol(threads=2), samples_s=(0.003, 0.001, 0.002), verified=True, date="2026-11-01"
    )
    return SpecFile(task=task, schedule=schedule, claims=(claim,))


def database(folder: Path) -> Any:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    return JSONDatabase(work_dir=str(folder), allow_missing=False)


def target() -> Any:
    return tvm.target.Target({"kind": "llvm", "num-cores": 2})


def product() -> list[Any]:
    A, B = te.placeholder((64, 32), name="X"), te.placeholder((32, 48), name="Y")
    k = te.reduce_axis((0, 32), name="r")
    return [A, B, te.compute((64, 48), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="Z")]


def test_the_database_finds_it_for_a_function_of_te_and_replays_it(tmp_path: Path) -> None:
    """Whatever the names: the function is another's, the numbers are the same."""
    save_metaschedule(spec_of(GEMM, tiled_rows("C", "i", "j", "k")), tmp_path / "new")
    func = te.create_prim_func(product())
    found = database(tmp_path / "new").query_schedule(tvm.IRModule({"main": func}), target(), "main")
    assert found is not None
    assert "T.parallel(192" in found.mod.script()
    task = at.Task.from_primfunc(func, threads=2)
    inputs = random_inputs(task.workload, 3, ())
    got = run_function(found.mod["main"], task.workload, inputs)
    assert_same_numbers(got, run_function(func, task.workload, inputs), task.workload)


def test_its_time_is_the_median_of_the_last_claim(tmp_path: Path) -> None:
    spec = spec_of(GEMM, tiled_rows("C", "i", "j", "k"))
    later = attrs.evolve(spec.claims[0], samples_s=(0.5, 0.7), date="2026-11-02")
    save_metaschedule(attrs.evolve(spec, claims=(later, *spec.claims)), tmp_path)
    (tuning,) = database(tmp_path).get_all_tuning_records()
    assert [float(second) for second in tuning.run_secs] == [0.6]
    assert str(tuning.target.kind) == "llvm"


def test_records_join_those_that_are_there_and_the_fastest_is_found(tmp_path: Path) -> None:
    slow = spec_of(GEMM, Schedule(nests=(Nest(stage="C", order=("k", "i", "j")),)))
    fast = spec_of(GEMM, tiled_rows("C", "i", "j", "k"))
    for spec, factor in ((slow, 2), (fast, 1)):
        claim = attrs.evolve(spec.claims[0], samples_s=tuple(factor * sample for sample in spec.claims[0].samples_s))
        save_metaschedule(attrs.evolve(spec, claims=(claim,)), tmp_path)
    there = database(tmp_path)
    assert len(there) == 2
    func = te.create_prim_func(product())
    assert "parallel" in there.query_schedule(tvm.IRModule({"main": func}), target(), "main").mod.script()


@functools.cache
def network() -> tvm.IRModule:
    """A product and a bias in Relax, which counts in int64."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(n, relax.TensorType(s, "float32")) for n, s in (("x", (8, 32)), ("w", (32, 48)))]
    with builder.function("main", variables):
        with builder.dataflow():
            output = builder.emit_output(relax.op.matmul(*variables))
        builder.emit_func_output(output)
    return relax.transform.LegalizeOps()(builder.get())


def test_relax_applies_it(tmp_path: Path) -> None:
    mod = network()
    (func,) = primfuncs_of(mod).values()
    task = at.Task.from_primfunc(func, threads=2)
    (stage,) = task.workload.stages
    rows, columns = (axis.name for axis in stage.axes)
    save_metaschedule(spec_of(task, tiled_rows(stage.name, rows, columns, stage.reduce[0].name)), tmp_path, func)
    with target(), database(tmp_path):
        applied = relax.transform.MetaScheduleApplyDatabase(enable_warning=True)(mod)
    (scheduled,) = primfuncs_of(applied).values()
    assert "T.parallel(T.int64(24)" in scheduled.script()
    rng = np.random.default_rng(0)
    arrays = [tvm.runtime.tensor(rng.standard_normal(shape).astype("float32")) for shape in ((8, 32), (32, 48))]
    allowed = os.sched_getaffinity(0)
    before, after = (relax.VirtualMachine(tvm.compile(m, "llvm"), tvm.cpu())["main"](*arrays) for m in (mod, applied))
    os.sched_setaffinity(0, allowed)  # TVM's pool leaves its caller on one core
    np.testing.assert_allclose(after.numpy(), before.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (tiled(extent=64), "schedule.stagings[0]: reindex rewrites the computation: MetaSchedule replays a trace"),
        (Schedule(nests=(Nest(stage="D"),)), "schedule.nests[0]"),
    ],
)
def test_what_has_no_trace_is_refused(tmp_path: Path, schedule: Schedule, message: str) -> None:
    with pytest.raises(at.SpecError) as caught:
        save_metaschedule(spec_of(at.get_task("gemm", N=64, K=64, M=64, threads=2), schedule), tmp_path / "none")
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "none").exists()


def test_an_inlined_stage_is_refused_too(tmp_path: Path) -> None:
    task = at.get_task("conv2d", N=1, C=2, H=6, W=6, K=2, R=3, S=3, padding=1, threads=2)
    with pytest.raises(at.SpecError, match=r"schedule\.stagings\[0\]: inline rewrites the computation"):
        save_metaschedule(spec_of(task, Schedule(stagings=(Inline(stage="pad"),))), tmp_path)


def test_without_a_time_it_is_refused(tmp_path: Path) -> None:
    bare = SpecFile(task=GEMM, schedule=tiled_rows("C", "i", "j", "k"))
    with pytest.raises(at.SpecError, match="claims: nothing is claimed, and a record of MetaSchedule is ranked"):
        save_metaschedule(bare, tmp_path)


def test_a_function_that_would_not_be_found_is_refused(tmp_path: Path) -> None:
    """Softmax as Relax writes it has an annotation that no workload holds."""
    (func,) = functions_of(READ["softmax"]).values()
    task = at.Task.from_primfunc(func, threads=2)
    with pytest.raises(at.SpecError, match=r"another form .*, first at body\.block\..*annotations\[\"axis\"\]: "):
        save_metaschedule(spec_of(task, Schedule()), tmp_path, func)


def test_a_broken_database_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "database_workload.json").write_text("no JSON\n", encoding="utf-8")
    with pytest.raises(at.SpecError, match="MetaSchedule cannot add to what is there") as caught:
        save_metaschedule(spec_of(GEMM, tiled_rows("C", "i", "j", "k")), tmp_path)
    assert "\n" not in str(caught.value)
