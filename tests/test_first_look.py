"""What is looked at before anything is measured: the same every time, in every way, within its bounds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.nn.algorithms import algorithms_of
from autosched.nn.registry import get_task
from autosched.search.evolution import DRAWN, Evolution
from autosched.search.first_look import CANDIDATES, first_look, rank_of
from autosched.search.space import Space
from autosched.spec.testing import workloads
from machines import AVX2
from pretended_bench import LARGE, SMALL
from shared_spaces import shared_space

if TYPE_CHECKING:
    from autosched.spec.task import Task

TRANSPOSED = get_task("conv_transpose1d", threads=2, N=1, C=32, L=64, K=32, R=5, stride=2)


class CountingSpace(Space):
    """Counts the points that are made into candidates."""

    made = 0

    def _made(self, point):  # type: ignore[no-untyped-def]
        self.made += 1
        return super()._made(point)


def space_of(task: Task) -> CountingSpace:
    return CountingSpace(task, AVX2, algorithms=algorithms_of(task, ("exact", "reassociated")))


@pytest.mark.system
def test_it_repeats_and_costs_no_more_than_it_says() -> None:
    space = space_of(TRANSPOSED)
    ways = space.near(space.ways)
    before = space.made
    found = first_look(space, ways)
    assert [each.point for each in first_look(space, ways)] == [each.point for each in found]
    assert space.made - before <= CANDIDATES
    assert len({each.point for each in found}) == len(found)
    assert [each.point for each in first_look(space_of(TRANSPOSED), ways)] == [each.point for each in found]


@pytest.mark.system
def test_every_sketch_is_known_by_its_standard_point() -> None:
    space = space_of(TRANSPOSED)
    found = {each.point for each in first_look(space, space.ways)}
    standard = [space.standard_point(number) for number in range(len(space.sketches))]
    legal = [point for point in standard if space.candidate(point) is not None]
    assert len(legal) > 0.8 * len(standard)
    assert found >= set(legal)
    assert {point[0] for point in found} == set(range(len(space.sketches))), "others by points that were drawn"


def test_each_way_is_climbed_from_its_best() -> None:
    space = space_of(TRANSPOSED)
    assert len(space.ways) > 1
    found = first_look(space, space.ways)
    for way in space.ways:
        assert any(each.point[0] in way for each in found)


def test_a_strategy_makes_only_what_it_draws_itself() -> None:
    space = space_of(LARGE)
    first_look(space, space.near(space.ways))
    before = space.made
    Evolution(space, random.Random(1))
    assert space.made - before <= DRAWN


def test_a_small_space_is_looked_at_whole() -> None:
    space = shared_space(SMALL, AVX2)
    legal = {point for point in space.points() if space.candidate(point) is not None}
    assert {each.point for each in first_look(space, space.ways)} == legal


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(workloads(), st.data())
def test_no_neighbour_of_the_best_that_was_climbed_to_is_better(workload, data):  # type: ignore[no-untyped-def]
    """Unless the candidates ran out: the best is a local one."""
    from autosched.spec.task import Task

    space = CountingSpace(Task(workload=workload, threads=data.draw(st.sampled_from([1, 2]))), AVX2)
    found = first_look(space, space.ways)
    if not found or space.made >= CANDIDATES - 10:
        return
    best = min(found, key=rank_of)
    for point in space.neighbours(best.point):
        other = space.candidate(point)
        assert other is None or other.predicted_s >= best.predicted_s
