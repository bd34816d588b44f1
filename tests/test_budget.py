"""Budgets: what options say together, when a search stops early, and how one goes on from another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import autosched as at
from autosched.cli import main
from autosched.search.budget import EFFORTS, LIMIT, Budget, budget_of, is_settled
from autosched.search.tuner import Tuned, tune
from autosched.spec.convert import unstructure
from autosched.spec.errors import SpecError
from autosched.store.records import SearchState
from autosched.store.store import Store
from pretended_bench import LARGE, PretendedBench, Timing, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.claim import Failure
    from autosched.spec.schedule import Schedule

SPACE = shared_space(LARGE, MACHINE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def search(store: Store, bench: PretendedBench, budget: Budget = EFFORTS["full"]) -> Tuned:
    return tune(LARGE, store, budget, method="random", machine=MACHINE, space=SPACE, bench=bench)


def falling(steps: int, by: float) -> Timing:
    """Each of the first schedules takes less than the one before, the others as much as the last of these."""
    seen: dict[Schedule, float] = {}

    def first(schedule: Schedule) -> float | Failure:
        return seen.setdefault(schedule, 0.01 * (1 - by) ** min(len(seen), steps))

    return first


def test_options_say_a_budget() -> None:
    assert budget_of() == EFFORTS["normal"] == Budget(trials=64)
    assert budget_of(8, 2.5) == Budget(trials=8, seconds=2.5)
    assert budget_of(early_stopping=True) == EFFORTS["full"] == Budget(trials=LIMIT, early_stopping=True)
    assert budget_of(100, early_stopping=True) == Budget(trials=100, early_stopping=True)
    assert budget_of(effort="quick").seconds == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": "quick", "trials": 64}, "effort: found 'quick' beside trials=64, which are two budgets; give one"),
        ({"effort": "full", "seconds": 3.0}, "effort: found 'full' beside seconds=3.0, which are two budgets"),
        ({"effort": "normal", "early_stopping": True}, "effort: found 'normal' beside early_stopping=True"),
        ({"effort": "slow"}, "effort: unknown effort 'slow'; allowed: quick, normal, full"),
        ({"early_stopping": 3}, "early_stopping: found 3; allowed: True or False"),
    ],
)  # fmt: skip
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        budget_of(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("field", "value"), [("trials", 0), ("trials", True), ("trials", 2.0), ("seconds", 0), ("seconds", -1.0)]
)
def test_budgets_that_cannot_be(field: str, value: object) -> None:
    with pytest.raises(SpecError, match=f"{field}: found {value}; allowed: "):
        Budget(**{field: value})  # type: ignore[arg-type]


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_search_settles_after_half_of_its_trials_and_24_at_least(improved_at: int, more: int) -> None:
    trials = improved_at + more
    assert is_settled(improved_at, trials) == (more >= 24 and more >= improved_at)


def test_a_search_stops_when_nothing_improves(store: Store) -> None:
    tuned = search(store, PretendedBench(lambda _: 0.001))
    assert 25 <= tuned.state.trials <= 32, "the first is an improvement, then whole batches"
    assert (tuned.state.settled, tuned.state.finished) == (tuned.state.trials, 0)


@pytest.mark.system
def test_it_goes_on_while_it_improves_and_noise_is_no_improvement(tmp_path: Path) -> None:
    improving = search(Store(tmp_path / "a"), PretendedBench(falling(60, 0.02)))
    assert 120 <= improving.state.trials <= 132
    noisy = search(Store(tmp_path / "b"), PretendedBench(falling(20, 0.0001)))
    assert noisy.state.trials <= 32


@pytest.mark.system
def test_one_that_was_cut_short_stops_where_the_whole_one_does(tmp_path: Path) -> None:
    timing = falling(30, 0.02)
    whole = search(Store(tmp_path / "whole"), PretendedBench(timing))
    parts = Store(tmp_path / "parts")
    search(parts, PretendedBench(timing), Budget(trials=16))
    search(parts, PretendedBench(timing), Budget(trials=40))
    assert search(parts, PretendedBench(timing)).state.trials == whole.state.trials


@pytest.mark.system
def test_a_quick_search_is_gone_on_with_by_a_normal_one(tmp_path: Path, bench: PretendedBench) -> None:
    quick = at.lookup_or_tune(LARGE, tmp_path, effort="quick")
    assert (quick.source, len(set(bench.measured))) == ("search", 16)
    bench.measured.clear()
    assert at.lookup_or_tune(LARGE, tmp_path, effort="quick").source == "store"
    assert not bench.measured
    at.lookup_or_tune(LARGE, tmp_path, effort="normal")
    assert len(set(bench.measured)) == 49, "the default again, and the 48 that were left"
    assert at.lookup_or_tune(LARGE, tmp_path).source == "store"


@pytest.mark.system
def test_a_full_search_is_a_hit_for_another_and_not_for_more_trials(tmp_path: Path, bench: PretendedBench) -> None:
    bench.first = bench.final = lambda _: 0.001
    at.lookup_or_tune(LARGE, tmp_path, effort="full", method="random")
    bench.measured.clear()
    assert at.lookup_or_tune(LARGE, tmp_path, effort="full").source == "store"
    assert not bench.measured
    at.lookup_or_tune(LARGE, tmp_path, trials=40)
    assert bench.measured


def test_states_say_that_they_settled_only_where_they_did(store: Store) -> None:
    state = SearchState(strategy="random", trials=8, finished=8, seconds=1.0, date="2026-11-23T07:00:00.000000Z")
    assert "settled" not in unstructure(state), "an older autosched reads it"
    assert not state.covers(9, early_stopping=True)


@pytest.mark.system
def test_the_command_takes_an_effort_and_says_how_much_search_there_was(tmp_path: Path, bench: PretendedBench) -> None:
    words = ["tune", "gemm", "M=64", "N=64", "K=64", "--threads", "1", "--store", str(tmp_path), "--json", "-q"]
    found = CliRunner().invoke(main, [*words, "--effort", "quick", "--seed", "3", "--method", "random"])
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert {name: said[name] for name in ("trials", "method", "seed", "exhausted", "settled")} == {
        "trials": 16, "method": "random", "seed": 3, "exhausted": False, "settled": False,
    }  # fmt: skip
    assert said["search_s"] > 0
    bench.first = bench.final = lambda schedule: min(0.001, pretended_s(schedule))
    found = CliRunner().invoke(main, [*words, "--early-stopping"])
    assert json.loads(found.stdout)["settled"]
    found = CliRunner().invoke(main, [*words, "--effort", "quick", "--trials", "4"])
    assert found.exit_code == 2
    assert "two budgets; give one" in found.output
