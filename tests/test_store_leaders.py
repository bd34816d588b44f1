"""Leaders stand in the store twice: in canonical names, and in those of the task, which most who ask have too."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store_cases import MACHINE, PROTOCOL, gemm, record, tiled, timed

from autosched.spec import testing
from autosched.spec.convert import unstructure
from autosched.spec.task import OperatorCall
from autosched.store.entries import seal
from autosched.store.leaders import best_record, entry_from_leaders, is_named_well, leader_from_stored
from autosched.store.records import Record
from autosched.store.store import Store
from autosched.store.stored import record_from_stored, stored_from_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from autosched.spec.task import Task


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def _leaders(store: Store) -> tuple[str, Any]:
    (key,) = store._entries.keys("best/")
    return key, store._entries.read(key, lambda entry: entry)


def _rewrite(store: Store, key: str, entry: Any) -> None:
    with store._entries.transaction():
        store._entries.write(key, entry)


def test_the_schedule_stands_there_in_the_names_of_the_task(store: Store) -> None:
    store.put(record(timed(0.1)))
    store.put(attrs.evolve(record(timed(0.05)), task=gemm("XYZmnr"), schedule=tiled("XYZmnr", factor=16)))
    _, (leader,) = _leaders(store)
    assert leader["named"]["schedule"] == unstructure(tiled(factor=16)), "the names of who put the task first"


def test_nothing_is_renamed_for_who_has_these_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(record(timed(0.1)))
    renamed = []
    monkeypatch.setattr("autosched.store.stored.schedule_from_canonical", lambda *names: renamed.append(names))
    best = store.best(attrs.evolve(gemm()), MACHINE)
    assert best is not None
    assert best.schedule == tiled()
    assert not renamed
    store.best(gemm("XYZmnr"), MACHINE)
    assert len(renamed) == 1


def test_a_leader_of_an_older_store_is_read(store: Store) -> None:
    put = store.put(record(timed(0.1)))
    key, (leader,) = _leaders(store)
    del leader["named"]
    _rewrite(store, key, [leader])
    assert store.check() == ()
    assert store.best(gemm(), MACHINE) == put


@pytest.mark.parametrize(
    "spoil",
    [
        lambda named: named.pop("schedule"),
        lambda named: named.update(schedule={"nests": 3}),
        lambda named: named.update(schedule=None),
        lambda named: named.update(schedule={"nests": [{"stage": "zzz"}]}),
    ],
    ids=["absent", "wrong", "null", "another task's"],
)
def test_a_spoiled_copy_is_a_warning_and_records_are_ranked(
    store: Store, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put = store.put(record(timed(0.1)))
    key, (leader,) = _leaders(store)
    spoil(leader["named"])
    _rewrite(store, key, [leader])
    with caplog.at_level(logging.WARNING):
        assert store.best(gemm(), MACHINE) == put
    assert f"entry {key} is damaged" in caplog.text
    assert store.best(gemm("XYZmnr"), MACHINE) is not None, "who has other names does not need it"


def test_a_copy_of_another_schedule_is_found_and_mended(store: Store) -> None:
    put = store.put(record(timed(0.1)))
    key, (leader,) = _leaders(store)
    leader["named"]["schedule"] = unstructure(tiled(factor=16))
    _rewrite(store, key, [leader])
    assert store.check() == (f"{key}: is not the best record",)
    store.check(repair=True)
    assert store.check() == ()
    assert store.best(gemm(), MACHINE) == put


@pytest.mark.parametrize("entry", [[3], [None], ["named"], 3, {"named": 3}])
def test_what_is_no_leader_is_told_of(store: Store, entry: Any, caplog: pytest.LogCaptureFixture) -> None:
    put = store.put(record(timed(0.1)))
    key, _ = _leaders(store)
    _rewrite(store, key, entry)
    assert any(key in line for line in store.check())
    with caplog.at_level(logging.WARNING):
        assert store.best(gemm(), MACHINE) == put
    store.delete(put)
    _rewrite(store, key, entry)
    store.check(repair=True)
    assert store.best(gemm(), MACHINE) is None


def test_a_record_that_does_not_fit_keeps_no_other_out(store: Store) -> None:
    """As a defect, or an enemy, may have left it there."""
    store.put(attrs.evolve(record(attrs.evolve(timed(0.1), accuracy="winograd")), schedule=tiled(factor=16)))
    (key,) = store._entries.keys("record/")
    strange: Any = store._entries.read(key, lambda entry: entry)
    strange["schedule"] = {"nests": [{"stage": "p9"}]}
    _rewrite(store, key, strange)
    leaders, entry = _leaders(store)
    entry[0]["record"] = strange
    _rewrite(store, leaders, entry)
    put = store.put(record(timed(0.2)))
    assert store.best(gemm(), MACHINE) == put
    store.check(repair=True)
    assert store.best(gemm(), MACHINE) == put


def test_a_task_that_learns_its_operator_under_other_names_leaves_its_leaders_right(store: Store) -> None:
    put = store.put(record(timed(0.1)))
    learned = attrs.evolve(gemm("XYZmnr"), op=OperatorCall(name="gemm"))
    protocol = attrs.evolve(PROTOCOL, repeats=3)
    store.put(attrs.evolve(record(timed(0.1)), task=learned, schedule=tiled("XYZmnr"), protocol=protocol))
    assert [task.op for _, task in store.tasks()] == [learned.op]
    assert store.check() == ()
    assert store.best(gemm(), MACHINE) == put
    assert store.best(learned, MACHINE) == attrs.evolve(put, task=learned, schedule=tiled("XYZmnr"))


@given(st.data(), testing.tasks())
def test_the_same_is_read_either_way(data: st.DataObject, task: Task) -> None:
    schedule = data.draw(testing.schedules(task))
    given_record = Record(
        task=task, schedule=schedule, machine=MACHINE, protocol=attrs.evolve(PROTOCOL, threads=task.threads),
        measurements=(timed(0.1),),
    )  # fmt: skip
    stored = stored_from_record(given_record)
    leader = leader_from_stored(stored, "0")
    assert leader is not None
    entries = [entry_from_leaders((leader,), names=names) for names in (None, task.names)]
    asked = (task, MACHINE, given_record.protocol)
    read = [best_record(asked, ("reassociated",), "k", seal("k", entry)) for entry in entries]
    assert read == [(record_from_stored(stored, *asked),)] * 2
    assert is_named_well(entries[1], task.names)
