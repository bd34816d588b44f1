"""The tuner on a pretended bench: what is measured, in which order, and what the store knows at every instant."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.search.progress import Event, FinalistsTimed, SearchEnded, SearchStarted, TrialEnded
from autosched.spec.errors import SpecError
from autosched.spec.task import Target, TargetOption
from autosched.store.store import Store
from pretended_bench import LARGE, SMALL, PretendedBench, pretended_s
from shared_spaces import shared_default, shared_space
from store_cases import MACHINE
from tuner_runs import default, records, run

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.schedule import Schedule


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_the_default_is_measured_first_and_last(store: Store) -> None:
    bench = PretendedBench()
    run(store, bench, 6)
    assert bench.measured[0] == default()
    assert all(finalists[0] == default() for finalists in bench.retimed)
    assert len(bench.retimed) >= 1


def test_what_the_bench_prepares_is_waited_for_before_any_trial(store: Store) -> None:
    bench = PretendedBench()
    run(store, bench, 3, seconds=60.0)
    assert bench.waited == [0], "else it counts as the time of a trial, and fewer are thought to fit into the seconds"


def test_trials_are_a_total_and_each_is_a_record(store: Store) -> None:
    bench = PretendedBench()
    tuned = run(store, bench, 11)
    assert len(set(bench.measured)) == 11
    assert len([schedule for schedule in bench.measured if schedule != default()]) == 10
    assert len(records(store)) == 11
    assert (tuned.state.trials, tuned.state.finished, tuned.state.exhausted) == (11, 11, False)
    assert store.search_state(LARGE, MACHINE) == tuned.state


def three_digits(seconds: float) -> str:
    """What tells two latencies apart: equal ones are a tie, which goes to the simpler schedule."""
    return f"{seconds:.3g}"


def test_the_winner_is_the_fastest_and_what_a_lookup_finds(store: Store) -> None:
    bench = PretendedBench()
    tuned = run(store, bench, 20)
    assert tuned.record is not None
    assert three_digits(pretended_s(tuned.record.schedule)) == three_digits(min(map(pretended_s, bench.measured)))
    found = store.best(LARGE, MACHINE)
    assert found is not None
    assert found.schedule == tuned.record.schedule
    assert found.last is not None
    assert found.last.baseline_s == (pretended_s(tuned.default),) * 11
    assert found.last.effort is not None
    assert found.last.effort.trials == 20


def test_nothing_beats_the_default_is_stored_as_a_fact(store: Store) -> None:
    bench = PretendedBench(lambda schedule: 0.001 if schedule == default() else 0.002)
    tuned = run(store, bench, 6)
    assert tuned.record is not None
    assert tuned.record.schedule == tuned.default == default()
    assert tuned.record.baseline == (0.001,) * 11


def test_ties_go_to_the_default_where_it_is_simpler(store: Store) -> None:
    tuned = run(store, PretendedBench(lambda _: 0.001), 6)
    assert tuned.record is not None
    lengths = {len(repr(record.schedule)) for record in records(store)}
    assert len(repr(tuned.record.schedule)) == min(lengths)


def test_who_was_lucky_once_does_not_win(store: Store) -> None:
    lucky: list[Schedule] = []

    def first(schedule: Schedule) -> float:
        if schedule != default() and len(lucky) < 7:
            lucky.append(schedule)
            return 0.0001
        return pretended_s(schedule)

    bench = PretendedBench(first, lambda schedule: 0.005 if schedule in lucky else pretended_s(schedule))
    tuned = run(store, bench, 12)
    assert tuned.record is not None
    assert len(lucky) == 7, "more than fit into the first finals"
    assert tuned.record.schedule not in lucky
    assert tuned.record.latency_s == pytest.approx(min(map(pretended_s, set(bench.measured) - set(lucky))))


@pytest.mark.system
def test_a_search_goes_on_as_if_it_had_not_ended(tmp_path: Path) -> None:
    # Finals say the opposite of first times: what a strategy is told again must be what it was told at first.
    whole, parts = (PretendedBench(pretended_s, lambda s: 0.003 - pretended_s(s)) for _ in range(2))
    run(Store(tmp_path / "whole"), whole, 30)
    for trials in (5, 13, 30):
        run(Store(tmp_path / "parts"), parts, trials)
    default = whole.measured[0]
    assert [s for s in parts.measured if s != default] == [s for s in whole.measured if s != default]
    assert Counter(parts.measured)[default] == 5, "first in each session, and last where it was a longer one"


@pytest.mark.parametrize("stop_after", [0, 1, 4, 12])
def test_ctrl_c_loses_nothing_that_ended(tmp_path: Path, stop_after: int) -> None:
    store = Store(tmp_path / "store")
    bench = PretendedBench(stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        run(store, bench, 20)
    assert not bench.open
    assert {record.schedule for record in records(store)} == set(bench.measured)
    state = store.search_state(LARGE, MACHINE)
    assert (state is None) == (stop_after == 0)
    assert state is None or (state.trials, state.finished) == (stop_after, 0)
    assert (store.best(LARGE, MACHINE) is None) == (stop_after == 0)

    again, whole = PretendedBench(), PretendedBench()
    run(store, again, 20)
    run(Store(tmp_path / "whole"), whole, 20)
    assert {*bench.measured, *again.measured} == set(whole.measured)
    assert set(bench.measured) & set(again.measured) <= {whole.measured[0]}


def test_a_request_that_was_reached_measures_only_the_anchors(store: Store) -> None:
    run(store, PretendedBench(), 9)
    bench = PretendedBench()
    tuned = run(store, bench, 9)
    assert bench.measured == [tuned.default]
    assert tuned.state.trials == 9


def test_what_another_tuner_has_timed_meanwhile_is_not_timed_again(store: Store) -> None:
    """The other one has the same seed, and is ahead by a few trials whenever this one is about to time."""
    other, seen = PretendedBench(), []

    def first(schedule: Schedule) -> float:
        seen.append(schedule)
        if len(seen) in (2, 5):
            run(store, other, 2 * len(seen) + 1)
        return pretended_s(schedule)

    bench = PretendedBench(first)
    tuned = run(store, bench, 16)
    trials = [schedule for schedule in bench.measured if schedule != default()]
    assert len(set(trials)) == len(trials)
    both = set(bench.measured) & set(other.measured)
    assert both == {default(), bench.measured[1], bench.measured[4]}, "the anchor, and what was under way"
    assert {*bench.measured, *other.measured} == {record.schedule for record in records(store)}
    assert tuned.state.trials == 16
    alone = PretendedBench()
    with tempfile.TemporaryDirectory() as folder:
        assert run(Store(folder), alone, 16).record.schedule == tuned.record.schedule  # type: ignore[union-attr]
    assert set(alone.measured) == {*bench.measured, *other.measured}


@pytest.mark.parametrize("method", ["random", "evolutionary"])
def test_a_small_space_is_exhausted(store: Store, method: str) -> None:
    space = shared_space(SMALL, MACHINE)
    everything = {c.schedule for c in map(space.candidate, space.points()) if c is not None}
    bench = PretendedBench()
    tuned = run(store, bench, 10**6, SMALL, method=method)
    assert set(bench.measured) == everything
    again = [schedule for schedule, times in Counter(bench.measured).items() if times > 1]
    assert set(again) <= {shared_default(SMALL, MACHINE)}, "which is timed again and again"
    assert tuned.state.exhausted
    assert tuned.state.covers(10**9)
    assert tuned.record is not None
    assert tuned.record.schedule == min(everything, key=pretended_s)


@pytest.mark.system
def test_a_time_limit_ends_a_search_that_then_goes_on(store: Store) -> None:
    def slow(schedule: Schedule) -> float:
        time.sleep(0.02)
        return pretended_s(schedule)

    bench = PretendedBench(slow)
    begin = time.monotonic()
    tuned = run(store, bench, 10**6, seconds=1.0)
    assert time.monotonic() - begin < 4.0
    assert 1 <= tuned.state.trials < 10**4
    assert tuned.state.finished == 0
    assert bench.retimed, "time is kept for the finals"
    assert run(store, PretendedBench(), tuned.state.trials + 1).state.finished == tuned.state.trials + 1


def test_finals_end_with_the_time_there_is(store: Store) -> None:
    """Kernels of a fifth of a second: four of them, a dozen times each, would take longer than the whole search."""
    bench = PretendedBench(lambda schedule: 200 * pretended_s(schedule))
    run(store, bench, 40, seconds=4.0)
    first, *_ = bench.retimed
    leader = min(bench.measured, key=pretended_s)
    assert first[:1] == [default()]
    assert leader in first
    assert len(first) < 6
    assert len(bench.retimed) == 1, "and none are held again"


def test_without_a_limit_finals_are_of_all_who_are_near(store: Store) -> None:
    bench = PretendedBench(lambda schedule: 200 * pretended_s(schedule))
    run(store, bench, 40)
    near = sorted(bench.measured, key=pretended_s)[:6]
    assert set(bench.retimed[0]) == {default(), *near}


def test_a_time_limit_does_not_make_a_space_look_exhausted(store: Store) -> None:
    """Towards the end fewer are measured than were proposed: those left out were not tried."""

    def slow(schedule: Schedule) -> float:
        time.sleep(0.03)
        return pretended_s(schedule)

    everything = {
        c.schedule
        for c in map(shared_space(SMALL, MACHINE).candidate, shared_space(SMALL, MACHINE).points())
        if c is not None
    }
    bench = PretendedBench(slow)
    tuned = run(store, bench, 10**6, SMALL, seconds=0.03 * len(everything))
    assert set(bench.measured) < everything
    assert not tuned.state.exhausted
    again = PretendedBench()
    assert run(store, again, 10**6, SMALL).state.exhausted
    assert {*bench.measured, *again.measured} == everything


def test_what_is_watched(store: Store) -> None:
    events: list[Event] = []
    bench = PretendedBench()
    run(store, bench, 5, watch=events.append)
    assert events[0] == SearchStarted(known=0, total=5)
    trials = [event for event in events if isinstance(event, TrialEnded)]
    assert [(t.number, t.total, t.schedule) for t in trials] == [(n + 1, 5, s) for n, s in enumerate(bench.measured)]
    assert [t.outcome for t in trials] == list(map(pretended_s, bench.measured))
    bests = [t.best_s for t in trials]
    assert bests == [min(map(pretended_s, bench.measured[: n + 1])) for n in range(5)]
    *_, finals, ended = events
    assert isinstance(finals, FinalistsTimed)
    assert finals.default_s == pretended_s(bench.measured[0])
    assert isinstance(ended, SearchEnded)
    assert ended.busy_s == 0 < ended.wall_s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": Target(kind="cuda")}, "target.kind: found 'cuda'; only 'llvm' can be measured so far"),
        ({"threads": 4096}, "threads: found 4096; this process may use"),
        ({"target": Target(options=(TargetOption(name="bogus", value=1),))}, "'bogus'"),
    ],
    ids=["kind", "threads", "option"],
)
def test_what_cannot_be_timed_is_refused_before_anything_is_written(
    store: Store, change: dict[str, object], message: str
) -> None:
    task = attrs.evolve(LARGE, **change)
    with pytest.raises(SpecError, match=message):
        run(store, PretendedBench(), 4, task)
    assert not store.path.exists()


def test_an_unknown_method_is_refused(store: Store) -> None:
    with pytest.raises(
        SpecError, match="method: unknown method 'luck'; allowed: auto, evolutionary, annealing, q, random, grid"
    ):
        run(store, PretendedBench(), 4, method="luck")
    assert not store.path.exists()
