"""The tuner on a pretended bench: what is measured, in which order, and what the store knows at every instant."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.search import journal
from autosched.search.budget import Budget
from autosched.search.default import default_candidate
from autosched.search.progress import Event, FinalistsTimed, SearchEnded, SearchStarted, TrialEnded
from autosched.search.space import Space
from autosched.search.tuner import Tuned, tune
from autosched.spec.claim import Failure, Protocol, Tool
from autosched.spec.errors import SpecError
from autosched.spec.rename import schedule_digest
from autosched.spec.schedule import Schedule
from autosched.spec.task import Target, TargetOption, Task
from autosched.store.records import CLAIMED, MEASURED, Record
from autosched.store.store import Store
from pretended_bench import LARGE, SMALL, PretendedBench, pretended_s
from store_cases import MACHINE, timed

if TYPE_CHECKING:
    from pathlib import Path

SPACES = {task: Space(task, MACHINE) for task in (SMALL, LARGE)}  # they remember the candidates they made
DEFAULT = default_candidate(SPACES[LARGE]).schedule
CRASH = Failure(kind="crash", detail="on purpose")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, bench: PretendedBench, trials: int, task: Task = LARGE, **options: object) -> Tuned:
    budget = Budget(trials=trials, seconds=options.pop("seconds", None))  # type: ignore[arg-type]
    return tune(task, store, budget, machine=MACHINE, space=SPACES.get(task), bench=bench, **options)  # type: ignore[arg-type]


def records(store: Store, task: Task = LARGE) -> list[Record]:
    return list(store.records(task, MACHINE))


def test_the_default_is_measured_first_and_last(store: Store) -> None:
    bench = PretendedBench()
    run(store, bench, 6)
    assert bench.measured[0] == DEFAULT
    assert all(finalists[0] == DEFAULT for finalists in bench.retimed)
    assert len(bench.retimed) >= 1


def test_trials_are_a_total_and_each_is_a_record(store: Store) -> None:
    bench = PretendedBench()
    tuned = run(store, bench, 11)
    assert len(set(bench.measured)) == 11
    assert len([schedule for schedule in bench.measured if schedule != DEFAULT]) == 10
    assert len(records(store)) == 11
    assert (tuned.state.trials, tuned.state.finished, tuned.state.exhausted) == (11, 11, False)
    assert store.search_state(LARGE, MACHINE) == tuned.state


def test_the_winner_is_the_fastest_and_what_a_lookup_finds(store: Store) -> None:
    bench = PretendedBench()
    tuned = run(store, bench, 20)
    assert tuned.record is not None
    assert tuned.record.schedule == min(bench.measured, key=pretended_s)
    found = store.best(LARGE, MACHINE)
    assert found is not None
    assert found.schedule == tuned.record.schedule
    assert found.last is not None
    assert found.last.baseline_s == (pretended_s(tuned.default),) * 11
    assert found.last.effort is not None
    assert found.last.effort.trials == 20


def test_nothing_beats_the_default_is_stored_as_a_fact(store: Store) -> None:
    bench = PretendedBench(lambda schedule: 0.001 if schedule == DEFAULT else 0.002)
    tuned = run(store, bench, 6)
    assert tuned.record is not None
    assert tuned.record.schedule == tuned.default == DEFAULT
    assert tuned.record.baseline == (0.001,) * 11


def test_ties_go_to_the_default_where_it_is_simpler(store: Store) -> None:
    tuned = run(store, PretendedBench(lambda _: 0.001), 6)
    assert tuned.record is not None
    lengths = {len(repr(record.schedule)) for record in records(store)}
    assert len(repr(tuned.record.schedule)) == min(lengths)


def test_who_was_lucky_once_does_not_win(store: Store) -> None:
    lucky: list[Schedule] = []

    def first(schedule: Schedule) -> float:
        if schedule != DEFAULT and len(lucky) < 7:
            lucky.append(schedule)
            return 0.0001
        return pretended_s(schedule)

    bench = PretendedBench(first, lambda schedule: 0.005 if schedule in lucky else pretended_s(schedule))
    tuned = run(store, bench, 12)
    assert tuned.record is not None
    assert len(lucky) == 7, "more than fit into the first finals"
    assert tuned.record.schedule not in lucky
    assert tuned.record.latency_s == pytest.approx(min(map(pretended_s, set(bench.measured) - set(lucky))))


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


def test_failures_are_counted_and_never_win(store: Store) -> None:
    def first(schedule: Schedule) -> float | Failure:
        time_s = pretended_s(schedule)
        return CRASH if time_s < 0.0015 else time_s

    bench = PretendedBench(first)
    tuned = run(store, bench, 16)
    failed = sum(isinstance(first(schedule), Failure) for schedule in bench.measured)
    assert failed > 0
    assert dict(tuned.failures) == {"crash": failed}
    assert tuned.record is not None
    assert tuned.record.failure is None
    assert tuned.state.trials == 16


def test_a_failure_counts_with_the_tools_it_was_seen_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = PretendedBench(lambda s: CRASH if s != DEFAULT and pretended_s(s) < 0.0015 else pretended_s(s))
    run(store, bench, 12, method="random")
    failed = {record.schedule for record in records(store) if record.failure is not None}
    assert failed

    same = PretendedBench()
    run(store, same, 16, method="random")
    assert not failed & set(same.measured)

    monkeypatch.setattr(journal, "tools", lambda _: (Tool(name="apache-tvm", version="9.9"),))
    other = PretendedBench()
    tuned = run(store, other, 20, method="random")
    assert set(other.measured) - failed - {DEFAULT} == {r.schedule for r in records(store)} - {
        *bench.measured, *same.measured
    }, "what has a time is not measured again"  # fmt: skip
    assert failed <= set(other.measured)
    assert tuned.failures == ()
    assert tuned.state.trials == 20
    assert tuned.record is not None
    assert tuned.record.schedule == min((r.schedule for r in records(store)), key=pretended_s)


def test_a_failure_with_other_tools_is_not_forgotten_before_it_is_mended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = run(store, PretendedBench(lambda s: CRASH if s != DEFAULT else 0.001), 6)
    assert dict(tuned.failures) == {"crash": 5}
    monkeypatch.setattr(journal, "tools", lambda _: (Tool(name="apache-tvm", version="9.9"),))
    again = run(store, PretendedBench(lambda s: CRASH if s != DEFAULT else 0.001), 6)
    assert dict(again.failures) == {"crash": 5}
    failed = [record.failed for record in records(store) if record.failed is not None]
    assert {failure.tools for failure in failed} == {(Tool(name="apache-tvm", version="9.9"),)}
    assert tuned.record is not None
    assert again.record is not None
    assert again.record.schedule == tuned.record.schedule == DEFAULT


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
    trials = [schedule for schedule in bench.measured if schedule != DEFAULT]
    assert len(set(trials)) == len(trials)
    both = set(bench.measured) & set(other.measured)
    assert both == {DEFAULT, bench.measured[1], bench.measured[4]}, "the anchor, and what was under way"
    assert {*bench.measured, *other.measured} == {record.schedule for record in records(store)}
    assert tuned.state.trials == 16
    alone = PretendedBench()
    with tempfile.TemporaryDirectory() as folder:
        assert run(Store(folder), alone, 16).record.schedule == tuned.record.schedule  # type: ignore[union-attr]
    assert set(alone.measured) == {*bench.measured, *other.measured}


def test_nothing_can_be_measured(store: Store) -> None:
    bench = PretendedBench(lambda _: CRASH)
    tuned = run(store, bench, 5)
    assert tuned.record is None
    assert dict(tuned.failures) == {"crash": 5}
    assert bench.retimed == []
    assert tuned.state.finished == 5


def test_a_finalist_that_fails_is_no_longer_served(store: Store) -> None:
    best: list[Schedule] = []

    def final(schedule: Schedule) -> float | Failure:
        if not best:
            best.append(min(bench.measured, key=pretended_s))
        return CRASH if schedule == best[0] else pretended_s(schedule)

    bench = PretendedBench(pretended_s, final)
    tuned = run(store, bench, 10)
    assert tuned.record is not None
    assert tuned.record.schedule == sorted(bench.measured, key=pretended_s)[1]
    assert dict(tuned.failures) == {"crash": 1}


def test_finals_in_which_all_fail_are_nobodys_fault(store: Store) -> None:
    bench = PretendedBench(pretended_s, lambda _: CRASH)
    tuned = run(store, bench, 6)
    assert tuned.record is not None
    assert tuned.record.schedule == min(bench.measured, key=pretended_s)
    assert tuned.failures == ()


def test_schedules_that_agreed_with_a_wrong_output_are_withdrawn(store: Store) -> None:
    bench = PretendedBench()

    def first(schedule: Schedule) -> float:
        if len(bench.measured) == 5:
            bench.retracted = tuple(bench.measured[1:4])
        return pretended_s(schedule)

    bench.first = first
    tuned = run(store, bench, 10)
    assert dict(tuned.failures) == {"wrong_answer": 3}
    assert tuned.record is not None
    assert tuned.record.schedule not in bench.retracted


@pytest.mark.parametrize("method", ["random", "evolutionary"])
def test_a_small_space_is_exhausted(store: Store, method: str) -> None:
    space = SPACES[SMALL]
    everything = {c.schedule for c in map(space.candidate, space.points()) if c is not None}
    bench = PretendedBench()
    tuned = run(store, bench, 10**6, SMALL, method=method)
    assert set(bench.measured) == everything
    assert len(bench.measured) == len(everything)
    assert tuned.state.exhausted
    assert tuned.state.covers(10**9)
    assert tuned.record is not None
    assert tuned.record.schedule == min(everything, key=pretended_s)


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


def test_a_time_limit_does_not_make_a_space_look_exhausted(store: Store) -> None:
    """Towards the end fewer are measured than were proposed: those left out were not tried."""

    def slow(schedule: Schedule) -> float:
        time.sleep(0.03)
        return pretended_s(schedule)

    everything = {c.schedule for c in map(SPACES[SMALL].candidate, SPACES[SMALL].points()) if c is not None}
    bench = PretendedBench(slow)
    tuned = run(store, bench, 10**6, SMALL, seconds=0.03 * len(everything))
    assert set(bench.measured) < everything
    assert not tuned.state.exhausted
    again = PretendedBench()
    assert run(store, again, 10**6, SMALL).state.exhausted
    assert {*bench.measured, *again.measured} == everything


def test_claims_are_timed_here_before_they_may_win(store: Store) -> None:
    space = SPACES[LARGE]
    claimed = next(c.schedule for c in map(space.candidate, space.points()) if c is not None)
    claim = Record(
        task=LARGE, schedule=claimed, machine=MACHINE, protocol=Protocol(threads=1),
        measurements=(timed(1e-9, origin=CLAIMED),),
    )  # fmt: skip
    store.put(claim)
    bench = PretendedBench()
    tuned = run(store, bench, 8)
    assert bench.measured[1] == claimed, "right after the default"
    assert tuned.record is not None
    assert tuned.record.schedule == min(bench.measured, key=pretended_s)
    record = store.get(LARGE, claimed, MACHINE)
    assert record is not None
    assert record.origin == MEASURED


def test_a_schedule_from_elsewhere_is_tried_at_the_start(store: Store) -> None:
    bench = PretendedBench()
    run(store, bench, 5, starts=(Schedule(),))
    assert bench.measured[1] == Schedule()
    assert len(bench.measured) == 5
    efforts = [m.effort for record in store.records(LARGE) for m in record.measurements]
    assert {effort.started_from for effort in efforts if effort is not None} == {
        (schedule_digest(Schedule(), LARGE.names),)
    }


def test_a_schedule_from_elsewhere_is_timed_once_after_a_finished_search(store: Store) -> None:
    run(store, PretendedBench(), 6)
    claimed = Schedule()
    assert claimed not in {record.schedule for record in records(store)}
    fast = PretendedBench(lambda schedule: 0.0001 if schedule == claimed else pretended_s(schedule))
    tuned = run(store, fast, 6, starts=[claimed])
    assert fast.measured == [DEFAULT, claimed]
    assert tuned.record is not None
    assert tuned.record.schedule == claimed
    again = PretendedBench()
    run(store, again, 6, starts=[claimed])
    assert again.measured == [DEFAULT]


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
