"""The default method: begins as evolution does, learns, and never loses to luck; what it knew before helps."""

from __future__ import annotations

import functools
import math
import random
import statistics
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.nn.registry import get_task
from autosched.search.auto import Auto
from autosched.search.budget import Budget
from autosched.search.features import as_mapping, features_of
from autosched.search.history import PastTask
from autosched.search.methods import strategy_named
from autosched.search.past_file import trees_path
from autosched.search.tuner import tune
from autosched.spec.claim import Failure, Protocol
from autosched.store.store import Store
from pretended_bench import LARGE, PretendedBench
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from autosched.search.space import Candidate, Space
    from autosched.search.strategy import Outcome, Strategy

SPACE = shared_space(LARGE, MACHINE)
CRASH = Failure(kind="crash", detail="")


def searched(strategy: Strategy, outcome: Callable[[Candidate], Outcome], batches: int) -> list[Candidate]:
    found = []
    for _ in range(batches):
        for candidate in strategy.propose(8):
            strategy.learn(candidate, outcome(candidate))
            found.append(candidate)
    return found


@functools.cache
def by_features(candidate: Candidate, space: Space = SPACE) -> float:
    """What the analytic model does not know: few accumulators and long strides cost more than it says."""
    found = as_mapping(features_of(candidate, space.task, space.hardware))
    return candidate.predicted_s * math.exp(abs(found["accumulators"] - 12) / 8 + found["widest_stride"] / 8)


@functools.cache
def past_of(N: int, M: int, K: int, count: int = 120) -> PastTask:
    space = shared_space(get_task("gemm", threads=1, N=N, M=M, K=K), MACHINE)
    rng = random.Random(1)
    made = {c.schedule: c for c in (space.candidate(space.sample(rng)) for _ in range(count)) if c is not None}
    trials = tuple((schedule, by_features(candidate, space)) for schedule, candidate in made.items())
    return PastTask(task=space.task, trials=tuple(sorted(trials, key=lambda trial: trial[1])))


def test_it_begins_as_evolution_does() -> None:
    begun = [strategy_named(method, SPACE, 3).propose(len(SPACE.sketches)) for method in ("auto", "evolutionary")]
    assert [c.point for c in begun[0]] == [c.point for c in begun[1]]


def mean_best(strategies: Sequence[Strategy], batches: int) -> float:
    return statistics.mean(min(map(by_features, searched(strategy, by_features, batches))) for strategy in strategies)


@pytest.mark.system
def test_it_finds_more_than_luck_and_as_much_as_evolution() -> None:
    found = {
        method: mean_best([strategy_named(method, SPACE, seed) for seed in range(12)], batches=6)
        for method in ("auto", "evolutionary", "random")
    }
    assert found["auto"] < 1.03 * found["evolutionary"]
    assert found["auto"] < found["random"]


@pytest.mark.system
def test_what_other_tasks_taught_helps_from_the_first_trial() -> None:
    past = (past_of(64, 64, 128), past_of(96, 96, 96))
    cold, warm = ([strategy_named("auto", SPACE, seed, known) for seed in range(4)] for known in ((), past))
    proposed = [
        [by_features(c) for s in strategies for c in searched(s, by_features, 1)] for strategies in (cold, warm)
    ]
    assert statistics.mean(proposed[1]) < statistics.mean(proposed[0])


def test_other_tasks_and_seed_decide_all() -> None:
    past = (past_of(64, 64, 128, count=40),)
    first, second = (searched(strategy_named("auto", SPACE, 2, past), by_features, 4) for _ in range(2))
    assert [c.point for c in first] == [c.point for c in second]
    other = searched(strategy_named("auto", SPACE, 2), by_features, 4)
    assert [c.point for c in first] != [c.point for c in other]


def test_failures_are_learned_of() -> None:
    """All of some tiles crash: in the end hardly any is proposed."""

    def outcome(candidate: Candidate) -> Outcome:
        found = as_mapping(features_of(candidate, LARGE, SPACE.hardware))
        return CRASH if found["rows"] >= 2 else candidate.predicted_s

    found = searched(strategy_named("auto", SPACE, 1), outcome, 8)
    failed = [isinstance(outcome(candidate), Failure) for candidate in found]
    assert sum(failed[-24:]) < sum(failed[:24])


def test_what_was_taught_is_kept(tmp_path: Path) -> None:
    past = (past_of(64, 64, 128, count=40),)
    kept = tmp_path / "models" / "trees.txt"
    first = Auto(SPACE, random.Random(2), past, kept)
    text = kept.read_text()
    again = Auto(SPACE, random.Random(2), past, kept)
    assert kept.read_text() == text
    one, other = (searched(strategy, by_features, 3) for strategy in (first, again))
    assert [c.point for c in one] == [c.point for c in other]


def test_a_default_of_plain_loops_is_learned_of_too() -> None:
    strategy = Auto(SPACE, random.Random(0))
    candidate = SPACE.candidate(next(p for p in SPACE.points() if SPACE.candidate(p) is not None))
    assert candidate is not None
    strategy.learn(attrs.evolve(candidate, point=()), 0.001)
    assert len(strategy.propose(8)) == 8


@pytest.mark.system
def test_the_second_task_begins_with_what_the_first_taught(tmp_path: Path) -> None:
    """What was learned is beside the store, and damage to it is no error."""
    store = Store(tmp_path / "store")
    tasks = [get_task("gemm", N=16, M=8, K=k, threads=1) for k in (24, 48, 72)]
    kept = trees_path(store.path, MACHINE, Protocol(threads=1))
    for number, task in enumerate(tasks):
        assert kept.exists() == (number > 1)
        if kept.exists():
            kept.write_text("damaged")
        space = shared_space(task, MACHINE)
        tune(task, store, Budget(trials=12), machine=MACHINE, space=space, bench=PretendedBench())
    assert kept.read_text().startswith('{"')
    assert len(list(store.records())) == 36
