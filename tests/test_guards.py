"""Conditions on vectors: which loops are cut there, and that numbers stay right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.spec import builder
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.guards import cut_loops
from autosched.spec.schedule import At, BindLoop, Nest, Partial, Schedule, Split
from autosched.spec.task import Task
from autosched.spec.testing_lowering import assert_lowers_correctly
from autosched.spec.tvm_lower import lower

if TYPE_CHECKING:
    from collections.abc import Sequence


def task_of(params: Sequence[builder.Tensor]) -> Task:
    return Task(workload=builder.build(params), threads=2)


def doubled(length: int, rows: int = 3) -> Task:
    x = builder.placeholder((rows, length), name="X")
    return task_of([x, builder.compute((rows, length), lambda i, j: x[i, j] * 2.0, name="Y")])


def padded(length: int) -> Task:
    x = builder.placeholder((length,), name="X")
    y = builder.compute(
        (length + 3,),
        lambda j: builder.if_then_else(builder.all(j >= 1, j < length + 1), x[j - 1], 0.0),
        name="Y",
    )
    return task_of([x, y])


def summed(rows: int, length: int) -> Task:
    """``P = X * X``, then the sums of its rows."""
    x = builder.placeholder((rows, length), name="X")
    p = builder.compute((rows, length), lambda i, j: x[i, j] * x[i, j], name="P")
    k = builder.reduce_axis(length, "k")
    return task_of([x, builder.compute((rows,), lambda i: builder.sum(p[i, k], axis=k), name="S")])


def vector_of(stage: str, axis: str, steps: int, width: int, **nest: object) -> Nest:
    """A nest whose last loop is a vector of `width` elements of an axis, its tail skipped."""
    split = Split(axis=axis, into=("o", "v"), factors=(steps, width), tail="predicate")
    return Nest(stage=stage, splits=(split,), bind=(BindLoop(loop="v", to="vectorize"),), **nest)  # type: ignore[arg-type]


def loops_cut(schedule: Schedule, task: Task) -> dict[str, tuple[str, ...]]:
    return {nest.stage.name: cut_loops(nest) for nest in check_schedule(schedule, task).nests}


def test_a_loop_is_cut_where_its_last_vector_skips_a_tail() -> None:
    task = doubled(21)
    schedule = Schedule(nests=(vector_of("Y", "j", 3, 8, order=("i", "o", "v")),))
    assert loops_cut(schedule, task) == {"Y": ("o",)}
    assert_lowers_correctly(schedule, task)
    whole = Schedule(nests=(vector_of("Y", "j", 3, 7, order=("i", "o", "v")),))
    assert loops_cut(whole, task) == {"Y": ()}, "no tail"
    single = attrs.evolve(schedule.nests[0], bind=())
    assert loops_cut(Schedule(nests=(single,)), task) == {"Y": ()}, "no vector"
    parallel = attrs.evolve(schedule.nests[0], bind=(BindLoop(loop="o", to="parallel"), *schedule.nests[0].bind))
    parallel = attrs.evolve(parallel, order=("o", "i", "v"))
    assert loops_cut(Schedule(nests=(parallel,)), task) == {"Y": ("o",)}
    assert_lowers_correctly(Schedule(nests=(parallel,)), task)
    alone = Schedule(nests=(vector_of("Y", "j", 1, 24),))
    assert loops_cut(alone, task) == {"Y": ()}, "no loop but the vector"


def test_a_loop_is_cut_at_both_ends_of_padding() -> None:
    task = padded(30)
    split = Split(axis="j", into=("o", "v"), factors=(3, 11))
    schedule = Schedule(nests=(Nest(stage="Y", splits=(split,), bind=(BindLoop(loop="v", to="vectorize"),)),))
    assert loops_cut(schedule, task) == {"Y": ("o",)}
    assert_lowers_correctly(schedule, task)


def test_conditions_that_a_vector_does_not_move_cut_nothing() -> None:
    x = builder.placeholder((6, 16), name="X")
    y = builder.compute((8, 16), lambda i, j: builder.if_then_else(i < 6, x[i, j], 0.0), name="Y")
    task = task_of([x, y])
    schedule = Schedule(nests=(Nest(stage="Y", bind=(BindLoop(loop="j", to="vectorize"),)),))
    assert loops_cut(schedule, task) == {"Y": ()}


def test_the_innermost_loop_of_a_map_without_vectors_is_cut() -> None:
    """By conditions on that loop alone, and on what is unrolled inside of it; the compiler makes its vectors then."""
    task = padded(30)
    assert loops_cut(Schedule(), task) == {"Y": ("j",)}
    assert_lowers_correctly(Schedule(), task)

    def in_steps(last: int, to: str) -> Schedule:
        split = Split(
            axis="j", into=("o", "p"), factors=(-(-33 // last), last), tail="none" if 33 % last == 0 else "pad"
        )
        return Schedule(nests=(Nest(stage="Y", splits=(split,), bind=(BindLoop(loop="p", to=to),)),))

    unrolled = in_steps(3, "unroll")
    assert loops_cut(unrolled, task) == {"Y": ("o",)}
    assert_lowers_correctly(unrolled, task)
    assert loops_cut(in_steps(11, "unroll"), task) == {"Y": ()}, "too long to be written out three times"
    assert loops_cut(in_steps(3, "serial"), task) == {"Y": ()}, "what is left would differ from step to step"


def test_a_sum_of_guarded_values_is_not_cut() -> None:
    x = builder.placeholder((20,), name="X")
    k = builder.reduce_axis(3, "k")
    y = builder.compute((20,), lambda j: builder.sum(builder.if_then_else(j + k < 20, x[j + k], 0.0), axis=k), name="Y")
    assert loops_cut(Schedule(), task_of([x, y])) == {"Y": ()}


def test_what_is_cut_is_said_in_the_program() -> None:
    text = lower(Schedule(nests=(vector_of("Y", "j", 3, 8, order=("i", "o", "v")),)), doubled(21)).mod.script()
    assert text.count("pragma_loop_partition_hint") == 1


@given(st.integers(1, 3), st.integers(1, 60), st.integers(1, 20), st.booleans())
@settings(deadline=None, max_examples=40)
@pytest.mark.compiler
def test_tails_of_any_length_are_right(rows: int, length: int, width: int, parallel: bool) -> None:
    task = doubled(length, rows)
    bind = (BindLoop(loop="i", to="parallel"),) if parallel else ()
    nest = vector_of("Y", "j", -(-length // width), width, order=("i", "o", "v"))
    assert_lowers_correctly(Schedule(nests=(attrs.evolve(nest, bind=(*bind, *nest.bind)),)), task)


def parts(rows: int, length: int, width: int, at: At) -> Schedule:
    """Sums in parts of `width`, the last part padded, row by row, each row's values made at its loop."""
    steps = -(-length // width)
    cut = Split(axis="k", into=("ko", "ki"), factors=(steps, width), tail="pad")
    return Schedule(
        stagings=(Partial(stage="S", as_="S.part", splits=(cut,), keep=("ki",)),),
        nests=(
            vector_of("P", "j", steps, width, at=at, order=("i", "o", "v")),
            Nest(
                stage="S.part", at=at, order=("i", "ko", "ki"), bind=(BindLoop(loop="ki", to="vectorize"),), start="ko"
            ),
            Nest(stage="S"),
        ),
    )


@given(st.integers(1, 5), st.integers(2, 60), st.integers(2, 16))
@settings(deadline=None, max_examples=40)
@pytest.mark.compiler
def test_a_row_with_tails_is_made_where_its_sum_is(rows: int, length: int, width: int) -> None:
    """Read under the condition of a padded part, and with a tail of its own: the row is whole, so both are allowed."""
    task, schedule = summed(rows, length), parts(rows, length, width, At(stage="S", loop="i"))
    assert_lowers_correctly(schedule, task)


def test_a_part_of_an_axis_that_a_condition_shortens_cannot_be_attached() -> None:
    task = summed(4, 21)
    schedule = parts(4, 21, 8, At(stage="S", loop="i"))
    check_schedule(schedule, task)
    inside = attrs.evolve(schedule.nests[0], at=At(stage="S.part", loop="ko"), splits=(), order=(), bind=())
    with pytest.raises(SpecError, match="under a condition"):
        check_schedule(attrs.evolve(schedule, nests=(inside, *schedule.nests[1:])), task)
