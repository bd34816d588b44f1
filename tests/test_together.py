"""Stages done together, step by step of the axes they share: what is shared, what comes of it, that it is right."""

from __future__ import annotations

import functools
import operator
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.default import default_candidate
from autosched.search.hardware import hardware_from_machine
from autosched.search.rules import RULES, Together
from autosched.search.space import Space
from autosched.search.together import nests_together, shared_axes
from autosched.spec import builder
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.schedule import Schedule
from autosched.spec.task import Task
from autosched.spec.testing_lowering import assert_lowers_correctly
from machines import AVX2, AVX512
from shared_spaces import shared_space

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from autosched.search.space import Candidate
    from autosched.spec.builder import Tensor, Value

    Read: TypeAlias = Callable[[Value, Value], Value]
    from autosched.spec.workload import Workload

OPERATORS = {
    "softmax": {"N": 12, "K": 48},
    "softmax of a prime number of rows": {"N": 7, "K": 40},
    "layer_norm": {"N": 24, "K": 64},
    "layer_norm of a prime number of rows": {"N": 13, "K": 24},
    "variance": {"N": 12, "K": 40},
    "mean": {"N": 6, "K": 64},
    "gemv": {"N": 24, "K": 64},
    "gemm with a transposed factor": {"N": 6, "K": 32, "M": 20, "transposeB": True},
    "batch_gemm with a transposed factor": {"B": 3, "N": 6, "K": 32, "M": 10, "transposeB": True},
}
HARDWARE = hardware_from_machine(AVX2, 2)


def task_of(name: str, threads: int = 2) -> Task:
    return get_task(name.split(" ", maxsplit=1)[0], threads=threads, **OPERATORS[name])


def drawn_together(space: Space, seed: int) -> list[Candidate]:
    """Candidates drawn among those whose stages are done together, at most one of each draw."""
    rng = random.Random(seed)
    found = []
    for number, sketch in enumerate(space.sketches):
        names = [knob.name.rpartition("/")[2] for knob in sketch.knobs]
        if "together" in names:
            place = 1 + names.index("together")
            for _ in range(12):
                point = space.drawn(rng, number)
                found.append(space.candidate((*point[:place], 1, *point[place + 1 :])))
    return [candidate for candidate in found if candidate is not None]


def sums_of(rows: int, place: str) -> Workload:
    """``P[i, j] = X[i, j] + 1``, then sums of P over b, read at (a, b), at (b, a), or at (a + 1, b)."""
    x = builder.placeholder((8, 8), name="X")
    p = builder.compute((8, 8), lambda i, j: x[i, j] + 1.0, name="P")
    b = builder.reduce_axis(8, "b")
    read = {"straight": lambda a: p[a, b], "swapped": lambda a: p[b, a], "shifted": lambda a: p[a + 1, b]}[place]
    return builder.build([x, builder.compute((rows,), lambda a: builder.sum(read(a), axis=b), name="S")])


def test_axes_are_shared_that_every_reader_takes_step_by_step() -> None:
    softmax = task_of("softmax").workload
    assert shared_axes(softmax) == {"greatest": ("n",), "power": ("n",), "total": ("n",), "softmax": ("n",)}
    assert shared_axes(task_of("gemv").workload) == {"y": ("i",)}
    lstm = get_task("lstm_cell", N=3, C=16, K=8).workload
    assert shared_axes(lstm) == {}, "next_cell is a result too: no other stage can hold it"


def test_shared_axes_may_stand_elsewhere_but_not_be_shifted() -> None:
    assert shared_axes(sums_of(8, "straight")) == {"P": ("i",), "S": ("a",)}
    assert shared_axes(sums_of(8, "swapped")) == {"P": ("j",), "S": ("a",)}
    assert shared_axes(sums_of(7, "shifted")) == {}
    with pytest.raises(SpecError, match="share no axis"):
        nests_together(sums_of(7, "shifted"), {}, HARDWARE)


def added(reads: list[Read]) -> Read:
    return lambda row, column: functools.reduce(operator.add, (read(row, column) for read in reads)) + 0.5


def stage_of(name: str, rows: int, columns: int, kind: str, value: Read) -> tuple[Tensor, Read]:
    """A stage over rows: what it is called by, and how it is read at a row and a column."""
    if kind == "rows":
        by_rows = builder.compute((rows, columns), value, name=name, axes=("r", "c"))
        return by_rows, lambda row, column: by_rows[row, column]
    if kind == "columns":
        by_columns = builder.compute((columns, rows), lambda c, r: value(r, c), name=name)
        return by_columns, lambda row, column: by_columns[column, row]
    along = builder.reduce_axis(columns, "along")
    reducer = builder.sum if kind == "sum" else builder.max
    reduced = builder.compute((rows,), lambda r: reducer(value(r, along), axis=along), name=name)
    return reduced, lambda row, _: reduced[row]


@st.composite
def chains(draw: st.DrawFn) -> Workload:
    """Two to five stages over the same rows: maps and reductions of earlier ones, laid out by rows or by columns."""
    rows, columns, count = draw(st.integers(1, 9)), draw(st.integers(1, 20)), draw(st.integers(2, 5))
    x = builder.placeholder((rows, columns), name="X")
    reads: list[Read] = [lambda row, column: x[row, column]]
    unread: set[int] = set()
    for number in range(1, count + 1):
        sources = {draw(st.integers(0, number - 1)), *(unread if number == count else ())}
        kind = draw(st.sampled_from(["rows", "columns", "sum", "max"]))
        made, read = stage_of(f"S{number}", rows, columns, kind, added([reads[source] for source in sorted(sources)]))
        unread = unread - sources | {number}
        reads.append(read)
    return builder.build([x, made])


@given(chains())
@settings(deadline=None)
def test_a_step_of_a_shared_axis_needs_that_step_of_the_other_stages_alone(workload: Workload) -> None:
    shared = shared_axes(workload)
    assert set(shared) == {stage.name for stage in workload.stages}, "rows at least"
    plan = check_schedule(Schedule(nests=tuple(nests_together(workload, {}, HARDWARE).values())), workload)
    for nest in plan.nests:
        if nest.at is not None:
            assert {axis.extent for axis in nest.axes if axis.name in shared[nest.stage.name]} == {1}


@pytest.mark.parametrize("name", OPERATORS)
def test_all_stages_but_the_last_run_at_a_loop_of_the_last_one(name: str) -> None:
    found = drawn_together(shared_space(task_of(name), AVX2), 3)
    assert found, "the rule offers it"
    for candidate in found:
        *others, last = candidate.plan.nests
        assert last.at is None
        assert {nest.at for nest in others} == {others[0].at}
        assert others[0].at is not None
        assert others[0].at.stage == last.stage.name


@pytest.mark.compiler
@pytest.mark.parametrize("name", OPERATORS)
def test_stages_done_together_give_the_right_numbers(name: str) -> None:
    task = task_of(name)
    found = {each.schedule for machine in (AVX2, AVX512) for each in drawn_together(shared_space(task, machine), 5)}
    for schedule in random.Random(1).sample(sorted(found, key=str), min(4, len(found))):
        assert_lowers_correctly(schedule, task)


@pytest.mark.compiler
@given(chains(), st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_chains_of_any_stages_done_together_give_the_right_numbers(workload: Workload, seed: int) -> None:
    task = Task(workload=workload, threads=2)
    schedules = [Schedule(nests=tuple(nests_together(workload, {}, HARDWARE).values()))]
    schedules += [candidate.schedule for candidate in drawn_together(Space(task, AVX2), seed)]
    assert_lowers_correctly(schedules[seed % len(schedules)], task)


def test_what_a_step_makes_and_reads_again_is_near() -> None:
    """Rows of 16 KiB: apart, each stage reads 64 MiB from memory; together, X comes once, and nothing else comes."""
    task = get_task("layer_norm", N=4096, K=4096, threads=2)
    apart = default_candidate(Space(task, AVX2, [rule for rule in RULES if not isinstance(rule, Together)]))
    together = default_candidate(Space(task, AVX2))
    assert together.predicted_s < 0.75 * apart.predicted_s
    x_bytes = 4096 * 4096 * 4
    memory = {cost.stage: cost.moved_bytes[2] for cost in together.costs}
    first, *between, last = memory
    assert memory[first] >= x_bytes
    assert sum(memory[stage] for stage in between) < 0.01 * x_bytes
    assert x_bytes <= memory[last] < 1.1 * x_bytes, "what it writes"


def test_a_step_that_no_cache_holds_keeps_nothing_near() -> None:
    task = get_task("layer_norm", N=4, K=2**24, threads=2)
    found = drawn_together(Space(task, AVX2), 0)
    assert found
    for candidate in found:
        memory = {cost.stage: cost.moved_bytes[2] for cost in candidate.costs}
        assert memory["squares.part"] >= 4 * 2**24 * 4
