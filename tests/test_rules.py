"""Rules of the space: a user's own, what the built-in ones make, and what any space promises."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autosched as at
from autosched.nn.registry import get_task
from autosched.search.budget import Budget
from autosched.search.knobs import Knob
from autosched.search.layouts import Layout
from autosched.search.rule import BUILT_IN, SPACE, Rule, space_name
from autosched.search.rules import RULES, PartialSums, Tiles, Vectors
from autosched.search.space import Space
from autosched.search.tuner import tune
from autosched.spec.check import check_schedule
from autosched.spec.task import Task
from autosched.spec.testing import workloads
from autosched.spec.testing_lowering import assert_rewrites_correctly
from autosched.store.store import Store
from pretended_bench import LARGE, SMALL, PretendedBench
from store_cases import MACHINE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from autosched.search.knobs import KnobValue
    from autosched.search.rule import Reduction
    from autosched.spec.schedule import Schedule


class UnrollLimit(Rule):
    def knobs(self, reduction: Reduction, layout: Layout | None, found: tuple[Knob, ...]) -> tuple[Knob, ...]:
        return (*found, Knob(name="unroll_limit", values=(0, 16, 64)))

    def schedule(self, task: Task, values: Mapping[str, KnobValue], made: Schedule) -> Schedule:
        limit = max(int(v) for n, v in values.items() if n.endswith("/unroll_limit"))  # type: ignore[arg-type]
        return attrs.evolve(made, nests=tuple(attrs.evolve(nest, unroll_limit=limit) for nest in made.nests))


class PlainLayout(Rule):
    """Vectors along the first axis, whatever is read; nothing staged."""

    name = "plain"

    def layouts(self, reduction: Reduction, found: tuple[Layout, ...]) -> tuple[Layout, ...]:
        first, *others = reduction.stage.axes
        rows = tuple(axis.name for axis in others[:1])
        return (*found, Layout(vector=(first.name,), rows=rows, staged=tuple(reduction.stage.reads)))


class Nonsense(Rule):
    def schedule(self, task: Task, values: Mapping[str, KnobValue], made: Schedule) -> Schedule:
        return attrs.evolve(made, nests=made.nests + made.nests)


def test_the_built_in_rules_are_few_and_named() -> None:
    assert tuple(rule.name for rule in RULES) == BUILT_IN
    assert all(type(rule).__doc__ for rule in RULES)
    assert space_name(None) == space_name(RULES) == SPACE


def test_each_built_in_rule_is_a_part_of_the_space() -> None:
    space = Space(SMALL, MACHINE)
    assert len(Space(SMALL, MACHINE, (Vectors(), Tiles())).sketches) < len(space.sketches)
    partial = Space(SMALL, MACHINE, (PartialSums(), Tiles()))
    assert all("partial sums" in sketch.text for sketch in partial.sketches)
    assert {sketch.text for sketch in partial.sketches} <= {sketch.text for sketch in space.sketches}
    bare = Space(SMALL, MACHINE, ())
    assert [bare.candidate(point) is not None for point in bare.points()] == [True], "plain loops"


def test_a_knob_of_ones_own_multiplies_the_space_and_reaches_the_schedule() -> None:
    space, own = Space(SMALL, MACHINE), Space(SMALL, MACHINE, (*RULES, UnrollLimit()))
    assert own.size == 3 * space.size
    found = {
        n.unroll_limit for p in own.sampled(30, random.Random(0)) if (c := own.candidate(p)) for n in c.schedule.nests
    }
    assert found == {0, 16, 64}


def test_a_layout_of_ones_own_is_a_sketch_whose_candidates_are_right() -> None:
    own = Space(LARGE, MACHINE, (*RULES, PlainLayout()))
    (number,) = [n for n, sketch in enumerate(own.sketches) if "vectors along i, rows j, A and B staged" in sketch.text]
    point = next(p for p in own.points() if p[0] == number)
    candidate = own.candidate(point)
    assert candidate is not None
    assert_rewrites_correctly(candidate.schedule, LARGE)


def test_what_the_checks_refuse_is_left_out() -> None:
    space = Space(SMALL, MACHINE, (*RULES, Nonsense()))
    assert {space.candidate(point) for point in space.sampled(20, random.Random(0))} == {None}


def test_an_exhausted_space_says_nothing_of_other_rules(tmp_path: Path) -> None:
    store, own = Store(tmp_path / "store"), (*RULES, UnrollLimit())
    tune(SMALL, store, Budget(trials=10**6), machine=MACHINE, bench=PretendedBench())
    state = store.search_state(SMALL, MACHINE)
    assert state is not None
    assert state.covers(10**7, space_name(None))
    assert not state.covers(10**7, space_name(own))
    bench = PretendedBench()
    space = Space(SMALL, MACHINE, own)
    again = tune(
        SMALL, store, Budget(trials=state.trials + 9), method="random", machine=MACHINE, space=space, bench=bench
    )
    assert (again.state.space, again.state.exhausted) == (space_name(own), False)
    assert space_name(own).endswith("test_rules.UnrollLimit")
    assert len(bench.measured) == 10


def test_rules_are_handed_on(tmp_path: Path, bench: PretendedBench) -> None:
    result = at.lookup_or_tune(SMALL, tmp_path, trials=40, method="random", rules=(*RULES, UnrollLimit()))
    assert result.source == "search"
    limits = {n.unroll_limit for r in Store(tmp_path).records(SMALL) for n in r.schedule.nests}
    assert limits == {0, 16, 64}


@settings(deadline=None)
@given(workloads(max_stages=3), st.integers(0, 2**16))
def test_any_space_is_counted_sampled_once_each_and_legal(workload, seed):  # type: ignore[no-untyped-def]
    task = Task(workload=workload, threads=2)
    space = Space(task, MACHINE)
    points = space.sampled(5, random.Random(seed))
    assert points == Space(task, MACHINE).sampled(5, random.Random(seed))
    assert len(set(points)) == len(points) == min(5, space.size)
    for point in points:
        for other in space.neighbours(point):
            assert sum(a != b for a, b in zip(point, other, strict=True)) == 1
        candidate = space.candidate(point)
        if candidate is not None:
            check_schedule(candidate.schedule, task)


def test_ranks_are_the_order_of_points() -> None:
    space = Space(SMALL, MACHINE)
    points = list(space.points())
    assert [space.point_at(rank) for rank in range(space.size)] == points
    assert sorted(space.sampled(10**9, random.Random(1))) == sorted(points)
    with pytest.raises(IndexError):
        space.point_at(space.size)


def test_sampling_points_is_uniform() -> None:
    space, rng = Space(get_task("gemv", N=32, K=32, threads=1), MACHINE), random.Random(0)
    counts = dict.fromkeys(range(len(space.sketches)), 0)
    for _ in range(400):
        counts[space.sampled(1, rng)[0][0]] += 1
    for number, sketch in enumerate(space.sketches):
        assert abs(counts[number] / 400 - sketch.size / space.size) < 0.1
