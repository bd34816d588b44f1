"""The tuner on a pretended bench: what fails is counted, never wins, and is tried again with other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from autosched.search import journal
from autosched.spec.claim import Failure, Tool
from autosched.store.store import Store
from pretended_bench import PretendedBench, pretended_s
from tuner_runs import CRASH, default, records, run

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.schedule import Schedule


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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
    bench = PretendedBench(lambda s: CRASH if s != default() and pretended_s(s) < 0.0015 else pretended_s(s))
    run(store, bench, 12, method="random")
    failed = {record.schedule for record in records(store) if record.failure is not None}
    assert failed

    same = PretendedBench()
    run(store, same, 16, method="random")
    assert not failed & set(same.measured)

    monkeypatch.setattr(journal, "tools", lambda _: (Tool(name="apache-tvm", version="9.9"),))
    other = PretendedBench()
    tuned = run(store, other, 20, method="random")
    assert set(other.measured) - failed - {default()} == {r.schedule for r in records(store)} - {
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
    tuned = run(store, PretendedBench(lambda s: CRASH if s != default() else 0.001), 6)
    assert dict(tuned.failures) == {"crash": 5}
    monkeypatch.setattr(journal, "tools", lambda _: (Tool(name="apache-tvm", version="9.9"),))
    again = run(store, PretendedBench(lambda s: CRASH if s != default() else 0.001), 6)
    assert dict(again.failures) == {"crash": 5}
    failed = [record.failed for record in records(store) if record.failed is not None]
    assert {failure.tools for failure in failed} == {(Tool(name="apache-tvm", version="9.9"),)}
    assert tuned.record is not None
    assert again.record is not None
    assert again.record.schedule == tuned.record.schedule == default()


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
