"""The tuner on a pretended bench: schedules and claims from elsewhere are timed here before they may win."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from autosched.spec.claim import Protocol
from autosched.spec.rename import schedule_digest
from autosched.spec.schedule import Schedule
from autosched.store.records import CLAIMED, MEASURED, Record
from autosched.store.store import Store
from pretended_bench import LARGE, PretendedBench, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE, timed
from tuner_runs import default, records, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_claims_are_timed_here_before_they_may_win(store: Store) -> None:
    space = shared_space(LARGE, MACHINE)
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
    assert fast.measured == [default(), claimed]
    assert tuned.record is not None
    assert tuned.record.schedule == claimed
    again = PretendedBench()
    run(store, again, 6, starts=[claimed])
    assert again.measured == [default()]
