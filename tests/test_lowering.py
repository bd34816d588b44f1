"""Rewriting and lowering as a compiler is tested: whatever passes the checks computes what was asked for."""

from __future__ import annotations

import tvm_ffi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.check import check_schedule
from autosched.spec.check_workload import check_workload
from autosched.spec.expr import Axis, Load
from autosched.spec.schedule import Schedule
from autosched.spec.task import Task, ValueRange
from autosched.spec.testing import assert_lowers_correctly, assert_rewrites_correctly, schedules, tasks, workloads
from autosched.spec.tvm_lower import lower
from autosched.spec.workload import Buffer, IterAxis, Output, Stage, Workload

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@SLOW
@given(st.data(), workloads(max_stages=3))
def test_stagings_keep_the_numbers(data, workload):
    schedule = data.draw(schedules(workload))
    assert_rewrites_correctly(schedule, workload)


@SLOW
@given(st.data(), workloads(max_stages=3))
def test_what_stagings_make_is_a_workload(data, workload):
    check_workload(check_schedule(data.draw(schedules(workload)), workload).workload)


@SLOW
@given(st.data(), tasks(workloads(max_stages=3)))
def test_lowered_schedules_compute_the_task(data, task):
    assert_lowers_correctly(data.draw(schedules(task)), task)


@SLOW
@given(st.data(), workloads(max_stages=2))
def test_lowering_is_deterministic(data, workload):
    schedule = data.draw(schedules(workload))
    first, second = lower(schedule, workload).mod["main"], lower(schedule, workload).mod["main"]
    assert tvm_ffi.structural_equal(first, second)


def test_inputs_stay_in_the_ranges_of_the_task():
    """``Y[i] = X[I[i]]``: in bounds because the task says what I holds, so other values prove nothing."""
    gather = Stage(
        name="Y",
        axes=(IterAxis(name="i", extent=6),),
        outputs=(Output(name="Y", dtype="float32"),),
        body=(Load("X", (Load("I", (Axis("i"),)),)),),
    )
    inputs = (Buffer(name="X", shape=(4,), dtype="float32"), Buffer(name="I", shape=(6,), dtype="int32"))
    workload = Workload(inputs=inputs, stages=(gather,), params=("X", "I", "Y"))
    task = Task(workload=workload, threads=1, ranges=(ValueRange(buffer="I", low=0, high=3),))
    for seed in range(3):
        assert_rewrites_correctly(Schedule(), task, seed)
        assert_lowers_correctly(Schedule(), task, seed)
