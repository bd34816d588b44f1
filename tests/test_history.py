"""What a store holds of other tasks: which of it a search is told, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search import history
from autosched.search.history import PastTask, even_shares, history_of, structure_of
from autosched.spec.schedule import Nest, Schedule
from autosched.spec.task import Target, TargetOption, Task
from autosched.store.records import CLAIMED
from autosched.store.store import Store
from store_cases import MACHINE, OTHER_MACHINE, OTHER_PROTOCOL, PROTOCOL, failed, gemm, record, timed

if TYPE_CHECKING:
    from pathlib import Path

HERE = gemm(extent=32)
"""The task that is about to be searched for."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def schedule(number: int, stage: str = "C") -> Schedule:
    return Schedule(nests=(Nest(stage=stage, unroll_limit=number),))


def put(store: Store, task: Task, *times_s: float, **changes: object) -> None:
    for number, time_s in enumerate(times_s):
        changed = {"task": task, "schedule": schedule(number, task.workload.stages[-1].name), **changes}
        store.put(record(timed(time_s), **changed))


def past(store: Store, but: Task = HERE) -> tuple[PastTask, ...]:
    return history_of(store, MACHINE, PROTOCOL, but=but)


def test_an_empty_store_has_no_history(store: Store) -> None:
    assert past(store) == ()


def test_trials_of_other_tasks_come_fastest_first(store: Store) -> None:
    put(store, HERE, 0.5)
    put(store, gemm(), 0.3, 0.1, 0.2)
    (found,) = past(store)
    assert found.task == gemm()
    assert found.trials == ((schedule(1), 0.1), (schedule(2), 0.2), (schedule(0), 0.3))


def test_what_was_measured_first_counts(store: Store) -> None:
    again = timed(0.2, date="2026-11-24T07:00:00.000000Z", baseline_s=(0.3,))
    store.put(record(timed(0.1), schedule=schedule(0)))
    store.put(record(again, schedule=schedule(0)))
    assert past(store)[0].trials == ((schedule(0), 0.1),)


def test_other_machines_protocols_and_targets_play_no_part(store: Store) -> None:
    put(store, gemm(), 0.1, machine=OTHER_MACHINE)
    put(store, gemm(), 0.1, protocol=OTHER_PROTOCOL)
    other = Target(options=(TargetOption(name="mcpu", value="znver5"),))
    put(store, attrs.evolve(gemm(), target=other), 0.1)
    assert past(store) == ()


def test_claims_and_failures_play_no_part(store: Store) -> None:
    store.put(record(timed(0.1, origin=CLAIMED), schedule=schedule(0)))
    store.put(record(failed=failed(), schedule=schedule(1)))
    assert past(store) == ()


def test_damaged_entries_are_skipped(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    put(store, gemm(), 0.1, 0.2, 0.3)
    put(store, gemm(extent=48), 0.4)
    keys = store._entries.keys("record/")
    with store._entries.transaction():
        for key in keys:
            if "[0.2]" in (store._entries.read(key, str) or ""):
                store._entries._cache.set(key, "not what was sealed")  # type: ignore[union-attr]
    found = past(Store(store.path))
    assert sorted(seconds for each in found for _, seconds in each.trials) == [0.1, 0.3, 0.4]
    assert "counts as absent" in caplog.text


def test_tasks_of_the_same_structure_come_first(store: Store) -> None:
    others = [get_task("gemv", N=n, K=32, threads=2) for n in (32, 48, 64, 80)]
    for task in (*others, gemm(extent=48), gemm("XYZuvw", extent=80)):
        put(store, task, 0.1)
    found = past(store)
    assert {each.task.op is None for each in found[:2]} == {True}
    assert len(found) == 6
    assert past(Store(store.path)) == found


def test_structure_is_all_but_names_and_sizes() -> None:
    assert structure_of(gemm()) == structure_of(gemm("XYZuvw", extent=48))
    assert structure_of(gemm()) != structure_of(get_task("gemv", N=32, K=32))
    shape = {"N": 1, "C": 4, "H": 8, "W": 8, "K": 8, "R": 3, "S": 3}
    wide = get_task("conv2d", **{**shape, "H": 16, "W": 16}, padding=1, stride=1)
    assert structure_of(wide) == structure_of(get_task("conv2d", **shape, padding=1, stride=1))


def test_only_so_much_is_read_and_the_best_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_RECORDS", 6)
    monkeypatch.setattr(history, "MOST_TASKS", 2)
    for extent in (48, 64, 80):
        put(store, gemm(extent=extent), *(0.1 + n / 100 for n in range(8)))
    found = past(store)
    assert [len(each.trials) in (3, 4) for each in found] == [True, True]
    assert {each.trials[0][1] for each in found} == {0.1}


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 200))
def test_shares_are_even_and_lose_nothing(counts: list[int], most: int) -> None:
    shares = even_shares(counts, most)
    assert sum(shares) == min(most, sum(counts))
    assert all(0 <= share <= count for share, count in zip(shares, counts, strict=True))
    cut = [share for share, count in zip(shares, counts, strict=True) if share < count]
    assert not cut or max(shares) - min(cut) <= 1
