"""Stages computed once: two functions, packed when a constant comes in another array, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
import tvm

from autosched.nn.registry import get_task
from autosched.search.analytic import stage_costs
from autosched.search.default import default_schedule
from autosched.search.hardware import hardware_from_machine
from autosched.search.measure import Measurement, Measurer
from autosched.spec.check import check_schedule
from autosched.spec.check_workload import check_workload
from autosched.spec.claim import Protocol
from autosched.spec.errors import SpecError
from autosched.spec.once import main_part, pack_part, packed_buffers
from autosched.spec.schedule import BindLoop, Nest, Reindex, Schedule, Split
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from autosched.spec.testing_lowering import assert_lowers_correctly
from autosched.spec.tvm_call import BuiltFunction, built_function, export_library
from autosched.spec.tvm_lower import lower
from autosched.store.keys import task_key
from autosched.store.machine import this_machine
from machines import AVX2

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"N": 48, "K": 40, "M": 64}
TASK = get_task("gemm", **SIZES, threads=1, constants=["B"])
SPLIT = Split(axis="j", into=("jo", "ji"), factors=(4, 16))
SCHEDULE = Schedule(
    stagings=(Reindex(stage="C", reads="B", as_="B.pack", splits=(SPLIT,), order=("jo", "k", "ji")),),
    once=("B.pack",),
    nests=(Nest(stage="B.pack", bind=(BindLoop(loop="jo", to="parallel"),)),),
)


def test_what_the_space_makes_of_constants_alone_is_made_once() -> None:
    large = get_task("gemm", N=1024, K=1024, M=1024, threads=1)
    plain = default_schedule(large, AVX2)
    (packed,) = [s for s in plain.stagings if isinstance(s, Reindex)][:1]
    assert plain.once == ()
    assert default_schedule(attrs.evolve(large, constants=(packed.reads,)), AVX2).once == (packed.as_,)


def test_the_parts_are_workloads_that_fit_together() -> None:
    plan = check_schedule(SCHEDULE, TASK)
    main, pack = main_part(plan).workload, pack_part(plan)
    assert pack is not None
    check_workload(main)
    check_workload(pack.workload)
    assert main.params == (*TASK.workload.params, *packed_buffers(plan))
    assert pack.workload.params == ("B", *packed_buffers(plan))
    assert {s.name for s in main.stages} | {s.name for s in pack.workload.stages} == {
        s.name for s in plan.workload.stages
    }
    assert main.buffers[packed_buffers(plan)[0]] == pack.workload.buffers[packed_buffers(plan)[0]]


def test_a_plan_without_such_stages_has_one_part() -> None:
    plan = check_schedule(Schedule(), TASK)
    assert main_part(plan) is plan
    assert pack_part(plan) is None


def test_it_survives_its_text_and_raises_the_version() -> None:
    spec = SpecFile(task=TASK, schedule=SCHEDULE)
    assert spec_from_text(text_from_spec(spec)) == spec
    assert '"version": 2' in text_from_spec(spec)


def test_a_task_with_constants_is_another_task() -> None:
    assert task_key(TASK) != task_key(attrs.evolve(TASK, constants=()))
    with pytest.raises(SpecError, match=r"schedule\.once\[0\]: stage .* which is no constant of the task"):
        check_schedule(SCHEDULE, attrs.evolve(TASK, constants=()))


def test_lowering_gives_two_functions() -> None:
    functions = {str(name.name_hint) for name in lower(SCHEDULE, TASK).mod.functions}
    assert functions == {"main", "pack"}
    assert_lowers_correctly(SCHEDULE, TASK)


def test_a_call_costs_nothing_for_what_is_computed_once() -> None:
    hardware = hardware_from_machine(this_machine(), 1)
    plan = check_schedule(SCHEDULE, TASK)
    whole = {cost.stage for cost in stage_costs(plan, hardware)}
    assert whole - {cost.stage for cost in stage_costs(main_part(plan), hardware)} == set(SCHEDULE.once)


# --- calling it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def function() -> BuiltFunction:
    return built_function(SCHEDULE, TASK)


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape, dtype="float32") for shape in ((48, 40), (40, 64)))
    return [a, b, np.full((48, 64), np.nan, dtype="float32")]


def check(function: BuiltFunction, a: np.ndarray, b: np.ndarray, c: np.ndarray, wanted: np.ndarray) -> None:
    c.fill(np.nan)
    function(a, b, c)
    np.testing.assert_allclose(c, a @ wanted, rtol=1e-4, atol=1e-4)


def test_it_takes_the_parameters_of_the_task(function: BuiltFunction) -> None:
    a, b, c = arrays(0)
    assert [buffer.name for buffer in function.parameters] == ["A", "B", "C"]
    check(function, a, b, c, b)


def test_a_constant_in_another_array_is_packed_again(function: BuiltFunction) -> None:
    a, b, c = arrays(0)
    check(function, a, b, c, b)
    for seed in range(1, 4):
        check(function, a, (other := arrays(seed)[1]), c, other)
        del other
    check(function, a, b, c, b)


def test_the_same_array_is_not_packed_again_until_it_is_said(function: BuiltFunction) -> None:
    a, b, c = arrays(0)
    before = b.copy()
    check(function, a, b, c, before)
    b *= 2
    check(function, a, b, c, before)
    function.repack()
    check(function, a, b, c, b)


def test_an_exported_library_has_both_entries(tmp_path: Path) -> None:
    export_library(SCHEDULE, TASK, tmp_path / "gemm.so")
    library = tvm.runtime.load_module(str(tmp_path / "gemm.so"))
    plan = check_schedule(SCHEDULE, TASK)
    a, b, c = (tvm.runtime.tensor(array) for array in arrays(0))
    made = plan.workload.buffers[packed_buffers(plan)[0]]
    packed = tvm.runtime.empty(made.shape, made.dtype)
    library["pack"](b, packed)
    library["main"](a, b, c, packed)
    np.testing.assert_allclose(c.numpy(), a.numpy() @ b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.system
def test_it_is_measured_without_the_packing() -> None:
    with Measurer(TASK, Protocol(threads=1, repeats=3)) as measurer:
        ((_, result),) = measurer.measure([SCHEDULE])
    assert isinstance(result, Measurement), result
