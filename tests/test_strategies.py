"""Strategies without hardware: never the same twice, the same again for the same seed, and better than luck."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.search.annealing import Annealing
from autosched.search.default import default_candidate, default_schedule
from autosched.search.evolution import NEAR
from autosched.search.first_look import first_look
from autosched.search.methods import METHODS, strategy_named
from autosched.search.q_learning import QLearning
from autosched.search.space import Candidate, Space
from autosched.spec.claim import Failure
from autosched.spec.errors import SpecError
from pretended_bench import LARGE, SMALL, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from autosched.search.strategy import Outcome

SPACE = shared_space(LARGE, MACHINE)  # it remembers the candidates it made, so one for all
CRASH = Failure(kind="crash", detail="")

methods = pytest.mark.parametrize("method", METHODS)


def trajectory(
    method: str, seed: int, sizes: list[int], outcome: Callable[[Candidate], Outcome], space: Space = SPACE
) -> list[Candidate]:
    strategy = strategy_named(method, space, seed)
    found = []
    for size in sizes:
        proposed = strategy.propose(size)
        assert len(proposed) <= size
        for candidate in proposed:
            strategy.learn(candidate, outcome(candidate))
        found += proposed
    return found


def by_text(candidate: Candidate) -> float:
    return pretended_s(candidate.schedule)


@methods
@settings(max_examples=6)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 9), max_size=5), failing=st.integers(1, 3))
def test_same_seed_and_outcomes_give_the_same_proposals_each_once(
    method: str, seed: int, sizes: list[int], failing: int
) -> None:
    def outcome(candidate: Candidate) -> Outcome:
        return CRASH if sum(candidate.point) % failing == 1 else by_text(candidate)

    first = trajectory(method, seed, sizes, outcome)
    assert [c.point for c in trajectory(method, seed, sizes, outcome)] == [c.point for c in first]
    assert len({c.schedule for c in first}) == len(first) == sum(sizes)


@methods
@pytest.mark.usefixtures("few_draws")
def test_what_a_space_remembers_changes_nothing(method: str) -> None:
    cold = Space(LARGE, MACHINE)
    trajectory(method, 2, [4, 4], by_text)  # and what all other tests have made
    one, other = (trajectory(method, 1, [4, 4], by_text, space) for space in (SPACE, cold))
    assert [c.point for c in one] == [c.point for c in other]
    assert [c.schedule for c in one] == [c.schedule for c in other]


@pytest.mark.parametrize("method", [method for method in METHODS if method != "grid"])
def test_seeds_differ(method: str) -> None:
    one, other = (trajectory(method, seed, [8, 8], by_text) for seed in (1, 2))
    assert {c.schedule for c in one} != {c.schedule for c in other}


@methods
def test_outcomes_matter_only_to_those_who_look(method: str) -> None:
    one, other = (trajectory(method, 0, [16, 16], f) for f in (by_text, lambda c: 0.01 / by_text(c)))
    assert [c.point for c in one[:16]] == [c.point for c in other[:16]]
    assert ([c.point for c in one] == [c.point for c in other]) == (method in ("random", "grid"))


@methods
def test_all_of_a_small_space_is_proposed_and_then_nothing(method: str) -> None:
    space = Space(SMALL, MACHINE)
    everything = {c.schedule for c in map(space.candidate, space.points()) if c is not None}
    strategy = strategy_named(method, space, 0)
    found = []
    while batch := strategy.propose(7):
        found += batch
    assert {c.schedule for c in found} == everything
    assert len(found) == len(everything)


@methods
def test_what_was_learned_of_is_not_proposed(method: str) -> None:
    first = trajectory(method, 0, [10], by_text)
    strategy = strategy_named(method, SPACE, 0)
    for candidate in first[:5]:
        strategy.learn(candidate, 0.001)
    assert not {c.schedule for c in first[:5]} & {c.schedule for c in strategy.propose(20)}


def test_evolution_tries_every_sketch_first_that_is_near_the_best() -> None:
    least: dict[int, float] = {}
    for candidate in first_look(SPACE, SPACE.ways):
        least[candidate.point[0]] = min(candidate.predicted_s, least.get(candidate.point[0], math.inf))
    near = {sketch for sketch, s in least.items() if s <= NEAR * min(least.values())}
    first = trajectory("evolutionary", 0, [len(near)], by_text)
    assert {c.point[0] for c in first} == near
    assert len(near) > 1


def test_evolution_beats_luck_where_the_model_errs_by_sketch() -> None:
    """Measured is predicted times a factor of the sketch that the model does not know."""

    def measured(candidate: Candidate) -> float:
        return (
            candidate.predicted_s * (1 + candidate.point[0]) * (1 + 0.05 * random.Random(str(candidate.point)).random())
        )

    best = {
        method: min(measured(c) for c in trajectory(method, 3, [8] * 6, measured))
        for method in ("random", "evolutionary")
    }
    assert best["evolutionary"] < best["random"]


def knob_by_knob(candidate: Candidate) -> float:
    """Each knob is best at two thirds of its values, and the nearer the better."""
    sizes = [len(knob.values) for knob in SPACE.sketches[candidate.point[0]].knobs]
    places = zip(candidate.point[1:], sizes, strict=True)
    return 0.001 * (1 + sum(abs(place / (size - 1) - 2 / 3) for place, size in places if size > 1))


@pytest.mark.system
@pytest.mark.parametrize("method", ["annealing", "q"])
def test_steps_lead_to_better_candidates_than_luck(method: str) -> None:
    """Over many seeds: one may be lucky."""

    def best(name: str) -> float:
        return statistics.mean(min(map(knob_by_knob, trajectory(name, s, [8] * 16, knob_by_knob))) for s in range(8))

    assert best(method) < best("random")


def test_annealing_cools_down() -> None:
    strategy = Annealing(SPACE, random.Random(0))
    hot = strategy.temperature
    for candidate in strategy.propose(20):
        strategy.learn(candidate, by_text(candidate))
    assert 0 < strategy.temperature < hot


def test_a_step_is_valued_by_what_it_gained() -> None:
    """One knob decides, the others do nothing: steps of it, in the right direction, are worth most in the end."""

    def first_knob(candidate: Candidate) -> float:
        return 0.001 * 2.0 ** -candidate.point[1]

    strategy = QLearning(SPACE, random.Random(2))
    for _ in range(12):
        for candidate in strategy.propose(8):
            strategy.learn(candidate, first_knob(candidate))
    up = [strategy.value(sketch, (1, 1)) for sketch in range(len(SPACE.sketches))]
    down = [strategy.value(sketch, (1, -1)) for sketch in range(len(SPACE.sketches))]
    assert max(up) > 0 >= min(down)
    assert sum(up) > sum(down)


def test_the_grid_is_in_order() -> None:
    found = trajectory("grid", 0, [5, 5], by_text)
    assert [c.point for c in found] == sorted(c.point for c in found)
    assert found[0].point == next(p for p in SPACE.points() if SPACE.candidate(p) is not None)


def test_unknown_method() -> None:
    with pytest.raises(
        SpecError, match="method: unknown method 'anneal'; allowed: auto, evolutionary, annealing, q, random, grid"
    ):
        strategy_named("anneal", SPACE, 0)


def test_the_default_of_a_small_space_is_the_least_predicted() -> None:
    space = Space(SMALL, MACHINE)
    least = min(c.predicted_s for c in map(space.candidate, space.points()) if c is not None)
    assert default_candidate(space).predicted_s == least


def test_the_default_is_always_the_same_and_better_than_a_sample() -> None:
    default = default_candidate(SPACE)
    assert default.schedule == default_schedule(LARGE, MACHINE) == default_candidate(Space(LARGE, MACHINE)).schedule
    rng = random.Random(1)
    sample = [c for c in (SPACE.candidate(SPACE.sample(rng)) for _ in range(50)) if c is not None]
    assert default.predicted_s <= min(c.predicted_s for c in sample)


@pytest.mark.system
def test_optuna_learns_of_the_whole_search_and_finds_more_than_luck() -> None:
    def measured(candidate: Candidate) -> float:
        return 1e-3 * (1 + sum(candidate.point[1:]))

    def best(name: str) -> float:
        return statistics.mean(min(map(measured, trajectory(name, s, [8] * 6, measured))) for s in range(4))

    assert best("optuna") < best("random")


def test_a_missing_optuna_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"needs Optuna, which is not installed; pip install 'autosched\[optuna\]'"):
        strategy_named("optuna", SPACE, 0)
