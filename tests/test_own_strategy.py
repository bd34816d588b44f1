"""Strategies of a user's own: what the tuner takes from them, and what becomes of those that misbehave."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner

from autosched.cli import main
from autosched.cli_function import method_from_text
from autosched.search.budget import Budget
from autosched.search.default import default_candidate
from autosched.search.methods import check_method, name_of, strategy_named
from autosched.search.strategy import Outcome, Untried
from autosched.search.tuner import Tuned, tune
from autosched.spec.errors import SpecError
from autosched.store.store import Store
from pretended_bench import LARGE, SMALL, PretendedBench
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from autosched.search.space import Candidate, Space

SPACES = {task: shared_space(task, MACHINE) for task in (SMALL, LARGE)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


class Drawing:
    """Draws new candidates; what `propose` is given replaces what it proposes."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self.space = space
        self.untried = Untried(space, rng)
        self.told: list[tuple[Candidate, Outcome]] = []

    def propose(self, count: int) -> Any:
        return self.untried.proposals(count, self.untried.drawn)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        self.told.append((candidate, outcome))
        self.untried.note(candidate)


def proposing(propose: Callable[[Drawing, int], Any]) -> Callable[[Space, random.Random], Drawing]:
    """What makes a strategy that proposes as `propose` says."""

    class Own(Drawing):
        def propose(self, count: int) -> Any:
            return propose(self, count)

    return Own


def search(
    store: Store, method: Any, trials: int = 12, task: Any = LARGE, bench: PretendedBench | None = None
) -> Tuned:
    bench = bench or PretendedBench()
    return tune(task, store, Budget(trials=trials), method=method, machine=MACHINE, space=SPACES[task], bench=bench)


def test_an_own_strategy_searches_and_records_name_it(store: Store) -> None:
    tuned = search(store, Drawing)
    assert tuned.state.strategy == f"{__name__}.Drawing"
    assert (tuned.state.trials, tuned.state.finished) == (12, 12)
    assert tuned.record is not None
    assert tuned.record.last is not None
    assert tuned.record.last.effort is not None
    assert tuned.record.last.effort.strategy == f"{__name__}.Drawing"


def test_it_learns_of_the_default_and_of_all_it_proposed(store: Store) -> None:
    made: list[Drawing] = []

    def own(space: Space, rng: random.Random) -> Drawing:
        made.append(Drawing(space, rng))
        return made[-1]

    bench = PretendedBench()
    search(store, own, bench=bench)
    told = [candidate.schedule for candidate, _ in made[0].told]
    assert told == list(dict.fromkeys(bench.measured))
    assert told[0] == default_candidate(SPACES[LARGE]).schedule


def test_a_search_of_its_own_goes_on_where_it_ended(store: Store) -> None:
    first, second = PretendedBench(), PretendedBench()
    search(store, Drawing, 6, bench=first)
    search(store, Drawing, 12, bench=second)
    assert set(first.measured) & set(second.measured) == {first.measured[0]}
    assert len({*first.measured, *second.measured}) == 12


def test_what_it_repeats_is_left_out_and_what_is_too_much_waits(store: Store) -> None:
    first: list[Candidate] = []

    def propose(own: Drawing, count: int) -> list[Candidate]:
        first.extend(Drawing.propose(own, 3 * count))
        return first

    bench = PretendedBench()
    assert search(store, proposing(propose), 20, bench=bench).state.trials == 20
    assert len(set(bench.measured)) == 20


def test_who_repeats_himself_for_ever_ends_the_search(store: Store) -> None:
    tuned = search(store, proposing(lambda own, _: [default_candidate(own.space)]))
    assert (tuned.state.trials, tuned.state.finished, tuned.state.exhausted) == (1, 0, False)
    assert tuned.record is not None


def test_who_ends_early_has_not_exhausted_the_space(store: Store) -> None:
    tuned = search(store, proposing(lambda own, n: [] if len(own.told) > 4 else Drawing.propose(own, n)), 40)
    assert 4 < tuned.state.trials < 40
    assert (tuned.state.finished, tuned.state.exhausted) == (0, False)
    assert search(store, "random", 40).state.trials == 40


def test_a_small_space_is_exhausted_by_who_ends_after_all_of_it(store: Store) -> None:
    tuned = search(store, Drawing, 10**6, SMALL)
    assert tuned.state.exhausted


def other_space(own: Drawing, count: int) -> list[Candidate]:
    found = Drawing.propose(own, count)
    return [attrs.evolve(candidate, schedule=found[0].schedule) for candidate in found]


@pytest.mark.parametrize(
    ("propose", "message"),
    [
        (lambda own, n: None, "proposed None; propose a list of candidates; an empty one ends the search"),
        (lambda own, n: [(0, 1)], "proposed (0, 1); propose what space.candidate(point) gives, unless None"),
        (lambda own, n: [None], "proposed None; propose what space.candidate(point) gives, unless None"),
        (lambda own, n: 1 / 0, "failed in propose(): ZeroDivisionError: division by zero; mend it and search again"),
        (other_space, "of another space; propose of the one given"),
    ],
)  # fmt: skip
def test_who_misbehaves_is_named_and_nothing_is_lost(
    propose: Callable[[Drawing, int], Any], message: str, store: Store
) -> None:
    well = lambda own, n: Drawing.propose(own, 4) if len(own.told) < 2 else propose(own, n)  # noqa: E731
    with pytest.raises(SpecError) as caught:
        search(store, proposing(well))
    assert f"the strategy {__name__}.proposing.<locals>.Own" in str(caught.value)
    assert message in str(caught.value)
    state = store.search_state(LARGE, MACHINE)
    assert state is not None
    assert (state.trials, state.finished) == (5, 0)
    assert len(list(store.records(LARGE, MACHINE))) == 5
    assert search(store, "auto").state.finished == 12


def test_who_fails_in_learning_or_making_is_named(store: Store) -> None:
    class Deaf(Drawing):
        def learn(self, candidate: Candidate, outcome: Outcome) -> None:
            raise RuntimeError

    with pytest.raises(SpecError, match=r"Deaf failed in learn\(\): RuntimeError; mend it"):
        search(store, Deaf)
    with pytest.raises(SpecError, match=r"failed in making it: TypeError"):
        search(store, lambda space: Drawing(space, random.Random(0)))
    with pytest.raises(SpecError, match=r"gave a object without propose\(\); return an object with propose"):
        search(store, lambda space, rng: object())


@pytest.mark.parametrize("method", ["none", 7, None])
def test_what_is_no_method_is_refused(method: Any) -> None:
    with pytest.raises(SpecError, match=r"unknown method .*; allowed: auto, .*, or a function \(space, rng\)"):
        check_method(method)


def test_the_same_seed_gives_the_same_strategy() -> None:
    one, other, third = (strategy_named(Drawing, SPACES[LARGE], seed).propose(4) for seed in (1, 1, 2))
    assert one == other != third


OWN = """
from autosched.search.random_search import RandomSearch
def mine(space, rng):
    return RandomSearch(space, rng)
"""


def test_the_command_line_takes_a_function_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my search.py"
    path.write_text(OWN, encoding="utf-8")
    method = method_from_text(f"{path}:mine")
    assert name_of(method) == "my_search.mine"
    assert strategy_named(method, SPACES[LARGE], 0).propose(2)
    found = CliRunner().invoke(main, ["tune", "gemm", "M=8", "N=8", "K=8", "--method", f"{path}:other"])
    assert found.exit_code == 2
    assert "no function 'other'; functions there: mine" in found.output
