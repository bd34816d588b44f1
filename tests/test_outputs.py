"""Stages of several outputs: accumulated, inlined, renamed, compared, searched, and lowered to right numbers."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autosched.search.default import default_schedule
from autosched.search.space import Space
from autosched.spec.canonical import canonical
from autosched.spec.check import WITHOUT_VECTORS, check_schedule
from autosched.spec.check_workload import check_workload
from autosched.spec.diff import compare_specs
from autosched.spec.errors import SpecError
from autosched.spec.expr import CALLS, const
from autosched.spec.expr_text import expr_from_text, text_from_expr
from autosched.spec.rename import schedule_digest, schedule_from_canonical, schedule_to_canonical
from autosched.spec.rewrite import rewrite
from autosched.spec.schedule import Accumulate, At, BindLoop, Inline, Nest, Pack, Schedule, Split
from autosched.spec.spec_file import SpecFile
from autosched.spec.task import Task
from autosched.spec.testing import assert_lowers_correctly, assert_rewrites_correctly, schedules, tasks, workloads
from autosched.spec.tvm_names import OPS, ir
from autosched.spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from store_cases import MACHINE

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)


def stage(name: str, axes: dict[str, int], outputs: dict[str, str], *body: str, **reduction: object) -> Stage:
    return Stage(
        name=name,
        axes=tuple(IterAxis(name=axis, extent=extent) for axis, extent in axes.items()),
        outputs=tuple(Output(name=output, dtype=dtype) for output, dtype in outputs.items()),
        body=tuple(map(expr_from_text, body)),
        **reduction,  # type: ignore[arg-type]
    )


def argmax(top: str = "top", at: str = "at") -> Stage:
    """``at[i]``, ``top[i]`` of X[i, k]: the place of the greatest value, the first of equal ones, and the value."""
    return stage(
        "best", {"i": 6}, {at: "int32", top: "float32"},
        "select(acc[1] >= X[i, k], acc[0], cast(int32, k))", "select(acc[1] >= X[i, k], acc[1], X[i, k])",
        reduce=(IterAxis(name="k", extent=8),),
        reducer=Reducer(op="custom", init=(const("int32", -1), const("float32", float("-inf")))),
    )  # fmt: skip


X = Buffer(name="X", shape=(6, 8), dtype="float32")
ARGMAX = Workload(inputs=(X,), stages=(argmax(),), params=("X", "at", "top"))
SCALED = Workload(
    inputs=(X,),
    stages=(argmax(), stage("Y", {"i": 6}, {"Y": "float32"}, "top[i] * cast(float32, at[i])")),
    params=("X", "Y"),
)
"""``Y[i]``: the greatest value times its place."""

HALVES = Split(axis="i", into=("io", "ii"), factors=(2, 3))
BLOCKS = Split(axis="k", into=("ko", "ki"), factors=(2, 4))
ACCUMULATED = Accumulate(stage="best", as_="best.acc", splits=(HALVES, BLOCKS), order=("ii", "io"))


def texts(made: Stage) -> list[str]:
    return [text_from_expr(body) for body in made.body]


# --- accumulate -------------------------------------------------------------------------------------------------------


def test_all_outputs_are_laid_out_and_copied() -> None:
    made, copy = rewrite(Schedule(stagings=(ACCUMULATED,)), ARGMAX).stages
    assert (made.name, made.outputs) == (
        "best.acc", (Output(name="best.acc.v0", dtype="int32"), Output(name="best.acc.v1", dtype="float32")),
    )  # fmt: skip
    assert made.extents == {"ii": 3, "io": 2, "ko": 2, "ki": 4}
    x = "X[io * 3 + ii, ko * 4 + ki]"
    assert texts(made) == [
        f"select(acc[1] >= {x}, acc[0], cast(int32, ko * 4 + ki))", f"select(acc[1] >= {x}, acc[1], {x})",
    ]  # fmt: skip
    assert (copy.name, copy.outputs, copy.reducer) == ("best", argmax().outputs, None)
    assert texts(copy) == ["best.acc.v0[i % 3, i // 3]", "best.acc.v1[i % 3, i // 3]"]


def test_what_was_made_is_accumulated_again() -> None:
    again = Accumulate(stage="best.acc", as_="inner", order=("io", "ii"))
    packed = Pack(stage="best", reads="best.acc.v1", as_="top.pack", dims=("a", "b"), order=("b", "a"))
    schedule = Schedule(stagings=(ACCUMULATED, again, packed))
    made = rewrite(schedule, ARGMAX)
    check_workload(made)
    assert list(made.buffers) == [
        "X", "inner.v0", "inner.v1", "best.acc.v0", "best.acc.v1", "top.pack", "at", "top",
    ]  # fmt: skip
    assert_rewrites_correctly(schedule, ARGMAX)


def test_values_that_are_not_reduced_are_padded_together() -> None:
    two = stage("two", {"i": 6, "k": 8}, {"a": "float32", "b": "float32"}, "X[i, k] * X[i, k]", "X[i, k] + X[0, k]")
    workload = Workload(inputs=(X,), stages=(two,), params=("X", "b", "a"))
    split = Split(axis="i", into=("io", "ii"), factors=(2, 4), tail="pad")
    schedule = Schedule(stagings=(Accumulate(stage="two", as_="wide", splits=(split,), order=("io", "k", "ii")),))
    made = rewrite(schedule, workload).stages[0]
    assert texts(made)[1] == "X[min(io * 4 + ii, 5), k] + X[0, k]"
    assert_lowers_correctly(schedule, Task(workload=workload, threads=1))


def attached(loop: str, *order: str) -> Schedule:
    """The accumulator in vectors of 3, the copy-out at one of its loops."""
    vectors = (BindLoop(loop="ii", to="vectorize"),) if order[-1] == "ii" else ()
    return Schedule(
        stagings=(attrs.evolve(ACCUMULATED, order=("io", "ii")),),
        nests=(
            Nest(stage="best.acc", order=order, bind=vectors, start="ko"),
            Nest(stage="best", at=At(stage="best.acc", loop=loop)),
        ),
    )


def test_the_copy_out_is_computed_where_its_values_are_whole() -> None:
    task = Task(workload=ARGMAX, threads=2)
    assert_lowers_correctly(attached("io", "io", "ko", "ki", "ii"), task)
    with pytest.raises(SpecError, match=r"laid out in pieces of 3, and only 1 of one are done inside the loop"):
        check_schedule(attached("ii", "ii", "io", "ko", "ki"), task)
    with pytest.raises(SpecError, match=r"loop 'ko' of 'best.acc' is a reduction and not done at 'ko'"):
        check_schedule(attached("ko", "io", "ko", "ki", "ii"), task)


# --- inline -----------------------------------------------------------------------------------------------------------


def test_a_copy_out_is_inlined_into_its_reader() -> None:
    schedule = Schedule(stagings=(ACCUMULATED, Inline(stage="best")))
    made = rewrite(schedule, SCALED)
    assert [each.name for each in made.stages] == ["best.acc", "Y"]
    assert texts(made.stages[1]) == ["best.acc.v1[i % 3, i // 3] * cast(float32, best.acc.v0[i % 3, i // 3])"]
    assert_lowers_correctly(schedule, Task(workload=SCALED, threads=1))


def test_a_stage_that_its_own_values_index_is_inlined() -> None:
    J = Buffer(name="J", shape=(4,), dtype="int32")
    S = stage("S", {"i": 4}, {"S": "int32"}, "J[i]")
    Y = stage("Y", {"i": 4}, {"Y": "int32"}, "S[min(max(S[i], 0), 3)]")
    workload = Workload(inputs=(J,), stages=(S, Y), params=("J", "Y"))
    (made,) = rewrite(Schedule(stagings=(Inline(stage="S"),)), workload).stages
    assert texts(made) == ["J[min(max(J[i], 0), 3)]"]


def test_outputs_are_not_inlined() -> None:
    workload = attrs.evolve(SCALED, params=("X", "at", "Y"))
    with pytest.raises(SpecError, match=r"stage 'best' is an output; only intermediate stages can be inlined"):
        rewrite(Schedule(stagings=(ACCUMULATED, Inline(stage="best"))), workload)


# --- names ------------------------------------------------------------------------------------------------------------

PACKED = Pack(stage="best", reads="best.acc.v1", as_="best.acc.v1.pack", dims=("a", "b"), order=("b", "a"))
NAMED = Schedule(stagings=(ACCUMULATED, PACKED), nests=(Nest(stage="best.acc", order=("io", "ii", "ko", "ki")),))


def test_buffers_follow_the_stage_that_fills_them() -> None:
    found = schedule_to_canonical(NAMED, ARGMAX)
    accumulated, packed = found.stagings
    assert isinstance(accumulated, Accumulate)
    assert isinstance(packed, Pack)
    assert (accumulated.stage, accumulated.as_) == ("s0", "s0.acc")
    assert (packed.stage, packed.reads, packed.as_) == ("s0", "s0.acc.v1", "s0.acc.v1.pack")
    check_schedule(found, canonical(ARGMAX))
    assert schedule_from_canonical(found, ARGMAX) == NAMED


def test_a_name_whose_buffers_are_taken_gets_an_underscore() -> None:
    other = Workload(inputs=(X,), stages=(argmax(at="best.acc.v0"),), params=("X", "best.acc.v0", "top"))
    found = schedule_from_canonical(schedule_to_canonical(NAMED, ARGMAX), other)
    assert [staging.as_ for staging in found.stagings if isinstance(staging, Accumulate)] == ["best.acc_"]
    assert [staging.reads for staging in found.stagings if isinstance(staging, Pack)] == ["best.acc_.v1"]
    check_schedule(found, other)
    assert schedule_to_canonical(found, other) == schedule_to_canonical(NAMED, ARGMAX)
    assert schedule_digest(found, other) == schedule_digest(NAMED, ARGMAX)


def test_an_inlined_stage_takes_its_buffers_with_it() -> None:
    reads = Pack(stage="Y", reads="top", as_="top.pack", dims=("a",), order=("a",))
    with pytest.raises(SpecError, match="names 'top', which this workload does not have"):
        schedule_to_canonical(Schedule(stagings=(ACCUMULATED, Inline(stage="best"), reads)), SCALED)


def test_specs_are_compared_by_the_buffers_that_they_read() -> None:
    other = attrs.evolve(NAMED, stagings=(ACCUMULATED, attrs.evolve(PACKED, reads="best.acc.v0")))
    specs = [SpecFile(task=Task(workload=ARGMAX, threads=1), schedule=schedule) for schedule in (NAMED, other)]
    assert [(change.place, change.before, change.after) for change in compare_specs(*specs).schedule][:2] == [
        ("pack best.acc.v1 for best as best.acc.v1.pack", "yes", None),
        ("pack best.acc.v0 for best as best.acc.v1.pack", None, "yes"),
    ]


# --- searched ---------------------------------------------------------------------------------------------------------


def test_a_task_of_several_values_has_a_default_schedule() -> None:
    two = stage("two", {"i": 6, "k": 8}, {"a": "float32", "b": "float32"}, "X[i, k] * X[i, k]", "X[i, k] + X[0, k]")
    task = Task(workload=Workload(inputs=(X,), stages=(two,), params=("X", "a", "b")), threads=2)
    assert_lowers_correctly(default_schedule(task, MACHINE), task)


def test_the_copy_out_of_several_accumulators_is_attached() -> None:
    wide = Buffer(name="X", shape=(64, 32), dtype="float32")
    rows = attrs.evolve(argmax(), axes=(IterAxis(name="i", extent=64),), reduce=(IterAxis(name="k", extent=32),))
    task = Task(workload=Workload(inputs=(wide,), stages=(rows,), params=("X", "at", "top")), threads=1)
    space = Space(task, MACHINE)
    found = [candidate.schedule for candidate in map(space.candidate, space.points()) if candidate is not None]
    attached = [each for each in found if any(nest.stage == "best" and nest.at for nest in each.nests)]
    assert attached
    assert_lowers_correctly(attached[0], task)


# --- lowered ----------------------------------------------------------------------------------------------------------


def test_the_calls_without_vectors_are_those_of_tvm() -> None:
    attribute = "TVectorizable"
    assert {name for name in CALLS if name in OPS and not ir.Op.get(OPS[name]).get_attr(attribute)} == WITHOUT_VECTORS


@pytest.mark.compiler
@SLOW
@given(st.data(), tasks(workloads(max_stages=2).filter(lambda w: any(len(s.outputs) > 1 for s in w.stages))))
def test_whatever_accumulates_several_outputs_computes_the_task(data: st.DataObject, task: Task) -> None:
    schedule = data.draw(schedules(task))
    made = {staging.as_ for staging in schedule.stagings if isinstance(staging, Accumulate)}
    several = {each.name for each in rewrite(schedule, task.workload).stages if len(each.outputs) > 1}
    assume(made & several)
    assert_lowers_correctly(schedule, task)
