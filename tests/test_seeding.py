"""Where a search begins: points recovered from schedules, and what other shapes give a new task."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.analytic import predict_s
from autosched.search.budget import Budget
from autosched.search.default import default_candidate
from autosched.search.hardware import hardware_from_machine
from autosched.search.history import PastTask, history_of
from autosched.search.seeding import MOST, near_shapes, recovered
from autosched.search.space import Space
from autosched.search.tuner import tune
from autosched.spec.check import check_schedule
from autosched.store.store import Store
from pretended_bench import PretendedBench, Timing, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE, PROTOCOL, gemm, tiled

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.search.space import Candidate
    from autosched.spec.task import Task

SPACES = {
    task: shared_space(task, MACHINE)
    for task in (
        gemm(extent=48),
        get_task("gemv", N=64, K=128, threads=2),
        get_task("conv2d", N=1, C=8, H=14, W=14, K=32, R=3, S=3, stride=1, padding=1, threads=2),
    )
}


def some_candidate(space: Space, seed: int) -> Candidate:
    points = space.sampled(64, random.Random(seed))
    return next(candidate for candidate in map(space.candidate, points) if candidate is not None)


def past(task: Task, seed: int = 0) -> PastTask:
    return PastTask(task=task, trials=((some_candidate(shared_space(task, MACHINE), seed).schedule, 0.001),))


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(list(SPACES)), st.integers(0, 2**16))
def test_a_recovered_point_gives_the_very_schedule(task: Task, seed: int) -> None:
    space = SPACES[task]
    schedule = some_candidate(space, seed).schedule
    point = recovered(space, schedule)
    if point is not None:
        candidate = space.candidate(point)
        assert candidate is not None
        assert candidate.schedule == schedule


@pytest.mark.system
@pytest.mark.parametrize("task", SPACES, ids=["gemm", "gemv", "conv2d"])
def test_most_points_are_recovered(task: Task) -> None:
    space = SPACES[task]
    schedules = [some_candidate(space, seed).schedule for seed in range(12)]
    assert sum(recovered(space, schedule) is not None for schedule in schedules) >= 9


def test_what_no_point_gives_is_not_recovered() -> None:
    assert recovered(SPACES[gemm(extent=48)], tiled(extent=48)) is None


@pytest.mark.system
def test_the_same_shape_under_other_names_gives_the_same_choice() -> None:
    task = gemm("XYZuvw", extent=48)
    known = past(gemm(extent=48))
    (candidate,) = near_shapes(Space(task, MACHINE), [known])
    theirs = recovered(SPACES[gemm(extent=48)], known.trials[0][0])
    assert candidate.point == theirs


@pytest.mark.system
def test_near_shapes_come_first_and_are_few() -> None:
    space = SPACES[gemm(extent=48)]
    others = [past(gemm(extent=extent), seed) for seed, extent in enumerate((512, 64, 32, 96, 40, 56, 128))]
    found = near_shapes(space, others)
    assert 1 <= len(found) <= MOST
    assert len({candidate.schedule for candidate in found}) == len(found)
    nearest = near_shapes(space, sorted(others, key=lambda each: abs(each.task.workload.stages[0].points - 48**3)))
    assert nearest == found


def test_other_operators_give_nothing() -> None:
    task = get_task("gemv", N=64, K=128, threads=2)
    assert near_shapes(SPACES[gemm(extent=48)], [past(task)]) == ()
    assert near_shapes(SPACES[gemm(extent=48)], []) == ()


@pytest.mark.system
def test_a_search_measures_them_right_after_the_default_and_trusts_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    other, task = gemm(extent=64), gemm(extent=48)
    tune(other, store, Budget(trials=12), machine=MACHINE, bench=PretendedBench(), method="random", seed=2)
    (expected,) = near_shapes(SPACES[task], history_of(store, MACHINE, PROTOCOL, but=task))
    bench = PretendedBench()
    tuned = tune(task, store, Budget(trials=12), machine=MACHINE, bench=bench, method="random")
    assert bench.measured[:2] == [default_candidate(SPACES[task]).schedule, expected.schedule]
    assert tuned.state.trials == 12
    assert tuned.record is not None
    assert tuned.record.latency_s is not None
    assert tuned.record.latency_s <= 1.01 * min(map(pretended_s, bench.measured)), "a tie goes to the simpler one"


def hidden(task: Task) -> Timing:
    """Times that the analytic model has the wrong way round: what it likes best is slowest."""
    hardware = hardware_from_machine(MACHINE, task.threads)
    return functools.cache(lambda schedule: 1e-9 / predict_s(check_schedule(schedule, task), hardware))


@pytest.mark.system
def test_what_other_shapes_taught_saves_trials(tmp_path: Path) -> None:
    other, task = gemm(extent=64), gemm(extent=96)
    store = Store(tmp_path / "store")
    tune(other, store, Budget(trials=150), machine=MACHINE, bench=PretendedBench(hidden(other)), method="random")

    def best_s(folder: Path) -> float:
        bench = PretendedBench(hidden(task))
        tune(task, Store(folder), Budget(trials=6), machine=MACHINE, bench=bench, method="random")
        return min(map(hidden(task), bench.measured))

    assert best_s(tmp_path / "store") < 0.8 * best_s(tmp_path / "alone")
