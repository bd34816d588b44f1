"""Schedules with an algorithm: another workload in the place of the task's, with its names, its proof and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec import builder as te
from autosched.spec.algorithm import Algorithm
from autosched.spec.canonical import canonical, identity
from autosched.spec.check import check_schedule
from autosched.spec.check_algorithm import starting_workload
from autosched.spec.claim import Claim, Machine, Protocol
from autosched.spec.diff import compare_specs
from autosched.spec.errors import SpecError
from autosched.spec.rename import fitted, schedule_digest, schedule_from_canonical, schedule_to_canonical
from autosched.spec.rewrite import rewrite
from autosched.spec.schedule import Accumulate, BindLoop, Nest, Schedule, Split
from autosched.spec.show import text_from_schedule
from autosched.spec.spec_file import SpecFile, check_spec, spec_from_text, text_from_spec
from autosched.spec.task import Task
from autosched.spec.testing import assert_lowers_correctly, assert_rewrites_correctly, schedules
from autosched.spec.tolerance import accuracy_of, tolerance
from autosched.spec.versions import version_needed

if TYPE_CHECKING:
    from autosched.spec.workload import Workload


def at_once(i: int = 6, j: int = 5, k: int = 4, m: int = 7, *, names: str = "ABCD") -> Workload:
    """``D[i, j] += A[i, k] * B[k, m] * C[m, j]``."""
    A, B, C = (te.placeholder(shape, name=n) for shape, n in zip([(i, k), (k, m), (m, j)], names, strict=False))
    rk, rm = te.reduce_axis(k, name="k"), te.reduce_axis(m, name="m")
    D = te.compute((i, j), lambda a, b: te.sum(A[a, rk] * B[rk, rm] * C[rm, b], axis=[rk, rm]), name=names[3])
    return te.build([A, B, C, D])


def in_two(i: int = 6, j: int = 5, k: int = 4, m: int = 7, *, names: str = "ABCD", wrong: bool = False) -> Workload:
    """The same by way of ``T[i, m] += A[i, k] * B[k, m]``; `wrong` leaves a factor out."""
    A, B, C = (te.placeholder(shape, name=n) for shape, n in zip([(i, k), (k, m), (m, j)], names, strict=False))
    rk, rm = te.reduce_axis(k, name="k"), te.reduce_axis(m, name="m")
    T = te.compute((i, m), lambda a, b: te.sum(A[a, rk] if wrong else A[a, rk] * B[rk, b], axis=rk), name="T")
    last = te.compute((i, j), lambda a, b: te.sum(T[a, rm] * C[rm, b], axis=rm), name=names[3])
    return te.build([A, B, C, last])


TASK = Task(workload=at_once(), threads=2)
TWO = Algorithm(name="in two", workload=in_two())
TILED = Schedule(
    algorithm=TWO,
    stagings=(
        Accumulate(
            stage="T",
            as_="T.acc",
            splits=(Split(axis="b", into=("bo", "bi"), factors=(2, 4), tail="pad"),),
            order=("bo", "a", "bi"),
        ),
    ),
    nests=(Nest(stage="T.acc", order=("bo", "a", "k", "bi"), bind=(BindLoop(loop="bi", to="vectorize"),)),),
)
"""A schedule of the second way."""


def test_stagings_begin_with_the_workload_of_the_algorithm() -> None:
    assert starting_workload(TILED, TASK.workload) is TWO.workload
    assert starting_workload(Schedule(), TASK.workload) is TASK.workload
    assert [stage.name for stage in rewrite(TILED, TASK.workload).stages] == ["T.acc", "T", "D"]
    assert check_schedule(TILED, TASK).workload == rewrite(TILED, TASK.workload)


def test_what_it_computes_is_compared_with_the_task() -> None:
    assert_rewrites_correctly(TILED, TASK)
    wrong = attrs.evolve(TILED, algorithm=Algorithm(name="short", workload=in_two(wrong=True)))
    with pytest.raises(AssertionError):
        assert_rewrites_correctly(wrong, TASK)


def test_it_lowers_to_the_task_of_its_parameters() -> None:
    assert_lowers_correctly(TILED, TASK)


@given(st.data())
def test_any_schedule_of_an_algorithm_computes_the_task(data: st.DataObject) -> None:
    drawn = data.draw(schedules(attrs.evolve(TASK, workload=TWO.workload)))
    assert_rewrites_correctly(attrs.evolve(drawn, algorithm=drawn.algorithm or TWO), TASK)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_stored_schedule_fits_an_equal_task_with_other_names() -> None:
    other = Task(workload=at_once(names=("T", "a", "p1", "s0")), threads=2)  # type: ignore[arg-type] # as good as letters
    there = schedule_from_canonical(schedule_to_canonical(TILED, TASK.workload), other.workload)
    assert there.algorithm is not None
    assert there.algorithm.workload.params == ("T", "a", "p1", "s0")
    assert [stage.name for stage in there.algorithm.workload.stages] == ["T_", "s0"]
    assert_rewrites_correctly(there, other)
    assert schedule_digest(there, other.workload) == schedule_digest(TILED, TASK.workload)
    back = schedule_from_canonical(schedule_to_canonical(there, other.workload), TASK.workload)
    assert back == TILED


@given(st.data())
def test_any_schedule_of_an_algorithm_comes_back_from_its_canonical_names(data: st.DataObject) -> None:
    drawn = data.draw(schedules(attrs.evolve(TASK, workload=TWO.workload)))
    drawn = attrs.evolve(drawn, algorithm=drawn.algorithm or TWO)
    there = schedule_to_canonical(drawn, TASK.workload)
    check_schedule(there, canonical(TASK.workload))
    assert schedule_from_canonical(there, TASK.workload) == drawn
    assert schedule_digest(there, canonical(TASK.workload)) == schedule_digest(drawn, TASK.workload)


def test_a_digest_counts_the_algorithm_but_not_its_names() -> None:
    digests = {
        schedule_digest(schedule, TASK.workload)
        for schedule in (
            Schedule(),
            Schedule(algorithm=TWO),
            Schedule(algorithm=attrs.evolve(TWO, accuracy="winograd")),
            Schedule(algorithm=attrs.evolve(TWO, workload=at_once())),
        )
    }
    assert len(digests) == 4
    renamed = attrs.evolve(TWO, name="other words", workload=canonical(TWO.workload))
    again = Schedule(algorithm=fitted(renamed, TASK.workload.params))
    assert schedule_digest(again, TASK.workload) == schedule_digest(Schedule(algorithm=TWO), TASK.workload)


def test_an_algorithm_is_fitted_to_the_parameters_of_a_task() -> None:
    found = fitted(TWO, ("T", "B", "C", "Z"))
    assert found.workload.params == ("T", "B", "C", "Z")
    assert [stage.name for stage in found.workload.stages] == ["T_", "Z"]
    assert identity(found.workload) == identity(TWO.workload)


# --- what people see --------------------------------------------------------------------------------------------------


def test_a_file_holds_its_algorithm_and_needs_version_2() -> None:
    spec = SpecFile(task=TASK, schedule=TILED)
    text = text_from_spec(spec)
    assert '"version": 2' in text
    assert version_needed(Schedule()) == 1
    assert spec_from_text(text) == spec


def test_show_and_diff_name_the_algorithm() -> None:
    assert "\nalgorithm in two, reassociated\n" in text_from_schedule(TILED, TASK)
    assert "algorithm" not in text_from_schedule(Schedule(), TASK)
    plain, two = SpecFile(task=TASK, schedule=Schedule()), SpecFile(task=TASK, schedule=Schedule(algorithm=TWO))
    (change,) = compare_specs(plain, two).schedule
    assert (change.place, change.before, change.after) == ("algorithm", "the task's own", "in two, reassociated")
    named = SpecFile(task=TASK, schedule=Schedule(algorithm=attrs.evolve(TWO, name="halves")))
    assert compare_specs(two, named).is_same
    other = compare_specs(two, SpecFile(task=TASK, schedule=TILED))
    assert any(change.place == "accumulate T as T.acc" for change in other.schedule)


# --- accuracy ---------------------------------------------------------------------------------------------------------


def test_the_class_of_an_algorithm_loosens_the_tolerance() -> None:
    loose = attrs.evolve(TWO, accuracy="winograd")
    assert accuracy_of(TASK.workload) == accuracy_of(TASK.workload, TWO) == "reassociated"
    assert accuracy_of(TASK.workload, loose) == "winograd"
    assert tolerance(TASK.workload, "D", "winograd")[0] == 8 * tolerance(TASK.workload, "D")[0]


def test_a_claim_is_not_stricter_than_the_algorithm() -> None:
    machine = Machine(
        arch="x86_64", vendor="v", family=1, model=1, isa=(), cores=2, l1d_bytes=0, l2_bytes=0, l3_bytes=0
    )
    claim = Claim(machine=machine, protocol=Protocol(threads=2), samples_s=(0.1,), verified=True)
    loose = Schedule(algorithm=attrs.evolve(TWO, accuracy="winograd"))
    check_spec(SpecFile(task=TASK, schedule=Schedule(algorithm=TWO), claims=(claim,)))
    check_spec(SpecFile(task=TASK, schedule=loose, claims=(attrs.evolve(claim, accuracy="winograd"),)))
    with pytest.raises(SpecError) as caught:
        check_spec(SpecFile(task=TASK, schedule=loose, claims=(claim,)))
    wanted = "claims[0].accuracy: found 'reassociated', and the algorithm's results are 'winograd'; write that"
    assert str(caught.value) == wanted
