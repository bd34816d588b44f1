"""Stores in files: what is exported comes back, what comes from others comes as a claim, what is bad is told."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autosched as at
from autosched.spec.errors import StoreError
from autosched.spec.json_text import read_json
from autosched.spec.spec_file import SpecFile, load_spec, save_spec
from autosched.spec.task import Argument, OperatorCall
from autosched.store.bundle import read_bundle
from autosched.store.claims import spec_from_record
from autosched.store.exporting import all_entries, export_store
from autosched.store.importing import import_files, rebuild_store
from autosched.store.records import CLAIMED, MEASURED, Record, SearchState
from autosched.store.speeds import Speeds
from autosched.store.store import Store
from store_cases import (
    EFFORT,
    MACHINE,
    OTHER_MACHINE,
    OTHER_PROTOCOL,
    STATE,
    failed,
    filled,
    gemm,
    record,
    tiled,
    timed,
)  # fmt: skip
from store_strategies import records, states

SPEEDS = Speeds(
    machine="ab" * 32, threads=2, flops=1e11, l2_bytes=1e11, l3_bytes=1e11, memory_bytes=2e10, region_s=1e-6,
    date="2026-11-23T07:00:00.000000Z",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def known(store: Store) -> list[object]:
    """All that a store knows, in an order of its own."""
    return [*(entry for _, task in store.tasks() for entry in all_entries(store, task)), *store.all_speeds()]


# --- all of a store ---------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(
    st.sampled_from(["all.jsonl", "all"]),
    st.lists(records, max_size=6),
    st.lists(st.tuples(records, states), max_size=3),
)
def test_a_full_export_makes_an_equal_store(
    name: str, put: list[Record], searched: list[tuple[Record, SearchState]]
) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        with filled(folder / "ours", put, searched) as ours, Store(folder / "again") as again:
            ours.put_speeds(SPEEDS)
            export_store(ours, folder / name, everything=True)
            done = rebuild_store(again, [folder / name])
            assert (done.refused, done.left_out) == ((), 0)
            assert known(again) == known(ours)
            for each in put:
                assert again.best(each.task, each.machine, each.protocol) == ours.best(
                    each.task, each.machine, each.protocol
                )
            rebuild_store(again, [folder / name])
            export_store(again, folder / f"again-{name}", everything=True)
            assert texts(folder / f"again-{name}") == texts(folder / name)


def texts(place: Path) -> dict[str, bytes]:
    """Name → content of each file in a folder, or of the one file."""
    if place.is_file():
        return {"": place.read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(place.iterdir())}


@settings(max_examples=3)
@given(st.permutations([record(timed(0.1 * n), schedule=tiled(factor=n)) for n in (1, 2, 4)]))
def test_the_order_of_putting_does_not_show(put: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder, filled(Path(folder, "store"), put) as store:
        export_store(store, Path(folder, "all.jsonl"), everything=True)
        lines = Path(folder, "all.jsonl").read_text().splitlines()
    assert len(lines) == 6
    values: list[Any] = [read_json(line) for line in lines]
    assert [next(iter(value)) for value in values] == ["format", "task", "slot", "record", "record", "record"]
    assert sorted(value["record"]["measurements"][0]["samples_s"] for value in values[3:]) == [[0.1], [0.2], [0.4]]


def test_a_folder_has_a_bundle_for_each_task(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.1)))
    store.put(record(failed=failed(), task=gemm(extent=32), schedule=tiled(extent=32)))
    store.put_speeds(SPEEDS)
    done = export_store(store, tmp_path / "all", everything=True)
    assert (done.files, done.records, done.tasks) == (3, 2, 2)
    names = [f"task-{key[:12]}.jsonl" for key, _ in store.tasks()]
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == sorted([*names, "speeds.jsonl"])


# --- the best ---------------------------------------------------------------------------------------------------------


def test_one_schedule_is_a_spec_file(store: Store, tmp_path: Path) -> None:
    best = record(timed(0.1, effort=EFFORT))
    store.put(best)
    store.put(record(timed(0.2), schedule=tiled(factor=4)))
    assert export_store(store, tmp_path / "x.json").records == 1
    assert load_spec(tmp_path / "x.json") == spec_from_record(best)
    export_store(store, tmp_path / "x.jsonl")
    assert list(read_bundle(tmp_path / "x.jsonl", pytest.fail)) == [best]


def test_several_are_a_bundle_or_a_folder(store: Store, tmp_path: Path) -> None:
    kept = [record(timed(0.1)), record(timed(0.3), machine=OTHER_MACHINE), record(timed(0.2), protocol=OTHER_PROTOCOL)]
    for each in kept:
        store.put(each)
    assert export_store(store, tmp_path / "x.json").records == 3
    found = list(read_bundle(tmp_path / "x.json", pytest.fail))
    assert sorted(found, key=repr) == sorted(kept, key=repr)
    done = export_store(store, tmp_path / "deep" / "specs")
    assert (done.files, done.records, done.tasks) == (3, 3, 1)
    specs = [load_spec(file) for file in (tmp_path / "deep" / "specs").iterdir()]
    assert sorted(specs, key=repr) == sorted(map(spec_from_record, kept), key=repr)


def test_a_better_schedule_has_the_name_of_the_one_before(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.1)))
    export_store(store, tmp_path / "specs")
    store.put(record(timed(0.05), schedule=tiled(factor=4)))
    export_store(store, tmp_path / "specs")
    (file,) = (tmp_path / "specs").iterdir()
    assert load_spec(file).schedule == tiled(factor=4)


def called(name: str) -> Any:
    return attrs.evolve(gemm(), op=OperatorCall(name=name, args=(Argument(name="M", value=64),)))


def test_only_the_operators_asked_for(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.1), task=called("gemm")))
    store.put(record(timed(0.1), task=gemm(extent=32), schedule=tiled(extent=32)))
    assert export_store(store, tmp_path / "x.jsonl", ops=["gemm"]).tasks == 1
    with pytest.raises(StoreError, match=r"nothing to export of conv2d; autosched tune finds what can be exported"):
        export_store(store, tmp_path / "y.jsonl", ops=["conv2d"])
    assert not (tmp_path / "y.jsonl").exists()


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x"])
def test_of_nothing_nothing_is_written(store: Store, tmp_path: Path, name: str, everything: bool) -> None:
    with pytest.raises(StoreError, match="nothing to export; autosched tune"):
        export_store(store, tmp_path / name, everything=everything)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../../up", "/etc/passwd", "a/b", "..", "con\\x", "é" * 300, "-o"])
def test_no_name_of_an_operator_leads_out_of_the_folder(store: Store, tmp_path: Path, name: str) -> None:
    store.put(record(timed(0.1), task=called(name)))
    export_store(store, tmp_path / "in" / "specs")
    export_store(store, tmp_path / "in" / "specs", everything=True)
    before = {tmp_path / "in", tmp_path / "in" / "specs", *tmp_path.glob("store/**/*"), tmp_path / "store"}
    made = set(tmp_path.rglob("*")) - before
    assert len(made) == 2
    assert {file.parent for file in made} == {tmp_path / "in" / "specs"}


def test_a_link_in_a_folder_is_not_followed(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.1)))
    export_store(store, tmp_path / "specs")
    (file,) = (tmp_path / "specs").iterdir()
    file.rename(tmp_path / "precious")
    file.symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("mine")
    export_store(store, tmp_path / "specs")
    assert (tmp_path / "precious").read_text() == "mine"
    assert not file.is_symlink()


def test_nobody_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "wolkenkuckuck.example.org")
    detail = f"{Path.home()}/kernels/x.cc:3: error on wolkenkuckuck"
    store.put(record(failed=failed(detail=detail)))
    export_store(store, tmp_path / "all.jsonl", everything=True)
    text = (tmp_path / "all.jsonl").read_text()
    assert str(Path.home()) + "/" not in text
    assert "x.cc:3: error" in text


# --- importing --------------------------------------------------------------------------------------------------------


def test_what_comes_from_elsewhere_is_a_claim(store: Store, tmp_path: Path) -> None:
    theirs = filled(
        tmp_path / "theirs",
        [record(timed(0.1)), record(failed=failed(), schedule=tiled(factor=4))],
        [(record(timed(0.1)), STATE)],
    )
    theirs.put_speeds(SPEEDS)
    export_store(theirs, tmp_path / "all.jsonl", everything=True)
    done = import_files(store, [tmp_path / "all.jsonl"])
    assert (done.files, done.records, done.left_out, done.refused) == (1, 1, 3, ())
    (found,) = store.records()
    assert (found.origin, found.latency_s) == (CLAIMED, 0.1)
    assert store.best(gemm(), MACHINE) == found
    assert list(store.searches()) == [], "a stranger's search must not keep us from searching"
    assert list(store.all_speeds()) == []


def test_a_claim_never_beats_a_time_of_ours(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.5)))
    theirs = filled(tmp_path / "theirs", [record(timed(1e-9), schedule=tiled(factor=4))])
    export_store(theirs, tmp_path / "x.json")
    assert import_files(store, [tmp_path / "x.json"]).records == 1
    best = store.best(gemm(), MACHINE)
    assert best is not None
    assert (best.origin, best.latency_s) == (MEASURED, 0.5)


def test_our_own_export_tells_us_nothing_new(store: Store, tmp_path: Path) -> None:
    store.put(record(timed(0.1), timed(0.2, date="2026-12-01")))
    export_store(store, tmp_path / "x.json")
    before = known(store)
    import_files(store, [tmp_path / "x.json"])
    assert known(store) == before


def test_the_bad_files_are_listed_and_all_others_taken(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    (folder / "deep").mkdir(parents=True)
    for number in range(30):
        spec = spec_from_record(record(timed(0.1 + number), schedule=tiled(factor=2 ** (number % 5))))
        save_spec(spec, folder / "deep" / f"{number:02}.json")
    for number in (3, 17):
        (folder / "deep" / f"{number:02}.json").write_text('{"format": "autosched/spec", "version": 1, "task": 3}')
    save_spec(SpecFile(task=gemm(), schedule=tiled()), folder / "none.json")
    (folder / "README.md").write_text("not looked at")
    (folder / ".hidden.json").write_text("not looked at")
    done = import_files(store, [folder, tmp_path / "absent.json"])
    assert (done.files, done.records) == (28, 28)
    assert [refused.text for refused in done.refused] == [
        f"{folder}/none.json: claims: claims nothing, so there is nothing to keep; autosched tune --spec times it",
        *(
            f"{folder}/deep/{number:02}.json: no key 'schedule' in {{'task': 3}}; allowed keys"[:40]
            + done.refused[place].text[40:]
            for place, number in ((1, 3), (2, 17))
        ),
        f"no file '{tmp_path}/absent.json'; check the name and the folder you are in",
    ]
    assert len(list(store.records())) == 5


def test_a_claim_with_other_threads_is_refused(store: Store, tmp_path: Path) -> None:
    spec = spec_from_record(record(timed(0.1)))
    claim = attrs.evolve(spec.claims[0], protocol=at.Protocol(threads=7))
    save_spec(attrs.evolve(spec, claims=(*spec.claims, claim)), tmp_path / "x.json")
    done = import_files(store, [tmp_path / "x.json"])
    assert [refused.reason for refused in done.refused] == [
        "claims[1].protocol.threads: measured with 7 threads, the task has 2; measure with the task's threads"
    ]
    assert list(store.records()) == []


def test_an_empty_folder_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = import_files(store, [tmp_path / "empty"])
    assert [r.text for r in done.refused] == [f"{tmp_path}/empty: holds no file that ends in .json or .jsonl"]


def test_a_liar_about_the_operator_comes_in_without_its_name(tmp_path: Path) -> None:
    for name in ("gemm", "my_own"):
        save_spec(spec_from_record(record(timed(0.1), task=called(name))), tmp_path / f"{name}.json")
    liar = at.import_specs(tmp_path / "gemm.json", store=tmp_path / "liar")
    other = at.import_specs(tmp_path / "my_own.json", store=tmp_path / "other")
    assert (liar.records, other.records) == (1, 1)
    assert [task.op for _, task in Store(tmp_path / "liar").tasks()] == [None]
    assert [task.op for _, task in Store(tmp_path / "other").tasks()] == [called("my_own").op]
