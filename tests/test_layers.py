"""Layers: which of them answers, under which label, and that none of them outranks what was timed here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.spec.claim import Claim
from autosched.spec.errors import StoreError
from autosched.spec.schedule import Schedule
from autosched.spec.spec_file import SpecFile, save_spec
from autosched.store import files as files_module
from autosched.store import layers as layers_module
from autosched.store import near as near_module
from autosched.store.exporting import export_store
from autosched.store.files import SpecFiles
from autosched.store.layers import MARKER, Layers, project_folder
from autosched.store.records import CLAIMED
from autosched.store.store import Store
from store_cases import MACHINE, OTHER_MACHINE, OTHER_PROTOCOL, PROTOCOL, failed, gemm, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path

NEAR = attrs.evolve(MACHINE, cores=64)
FAR = attrs.evolve(MACHINE, isa=("avx2",))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    return tmp_path / "specs"


def spec(*samples_s: float, factor: int = 8, names: str = "ABCijk", **changes: object) -> SpecFile:
    """A file that claims samples on MACHINE, but for `changes`; none where there are no samples."""
    given: dict[str, object] = {
        "machine": MACHINE, "protocol": PROTOCOL, "samples_s": samples_s, "verified": True,
    }  # fmt: skip
    claims = (Claim(**{**given, **changes}),) if samples_s else ()  # type: ignore[arg-type]
    return SpecFile(task=gemm(names), schedule=tiled(names, factor), claims=claims)


def test_what_was_timed_here_outranks_every_claim(store: Store, project: Path) -> None:
    save_spec(spec(1e-9, factor=16), project / "a.json")
    layers = Layers(store=store, project=project)
    found = layers.best(gemm(), MACHINE)
    assert found is not None
    assert (found.layer, found.match, found.record.origin) == ("project", "exact", CLAIMED)
    store.put(record(timed(0.5)))
    found = layers.best(gemm(), MACHINE)
    assert found is not None
    assert (found.layer, found.record.schedule) == ("user", tiled())


def test_what_failed_here_is_not_served_by_a_project(store: Store, project: Path) -> None:
    save_spec(spec(0.1), project / "a.json")
    layers = Layers(store=store, project=project)
    assert layers.best(gemm(), MACHINE) is not None
    store.put(record(failed=failed()))
    assert layers.best(gemm(), MACHINE) is None


def test_layers_are_asked_in_order(
    store: Store, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(layers_module, "SHIPPED_FOLDER", tmp_path / "shipped")
    layers = Layers(store=store, project=project)
    assert layers.best(gemm(), MACHINE) is None
    answers = []
    save_spec(spec(0.001, factor=4), tmp_path / "shipped" / "x.json")
    answers.append(layers.best(gemm(), MACHINE))
    store.put(record(timed(0.5, origin=CLAIMED)))
    answers.append(layers.best(gemm(), MACHINE))
    save_spec(spec(0.9, factor=16), project / "x.json")
    answers.append(layers.best(gemm(), MACHINE))
    assert [answer and answer.layer for answer in answers] == ["shipped", "user", "project"]
    assert [layer.name for layer in layers.all()] == ["project", "user", "shipped"]


def test_a_file_fits_whoever_uses_other_names(store: Store, project: Path) -> None:
    save_spec(spec(0.001, names="XYZabc"), project / "x.json")
    found = Layers(store=store, project=project).best(gemm(), MACHINE)
    assert found is not None
    assert (found.record.task, found.record.schedule) == (gemm(), tiled())


def test_only_claims_of_this_machine_and_protocol_answer(store: Store, project: Path) -> None:
    save_spec(spec(0.001, machine=OTHER_MACHINE), project / "machine.json")
    save_spec(spec(0.001, factor=4, protocol=OTHER_PROTOCOL), project / "protocol.json")
    save_spec(spec(0.001, factor=16, verified=False), project / "unverified.json")
    save_spec(spec(factor=32), project / "no_claim.json")
    layers = Layers(store=store, project=project)
    assert layers.best(gemm(), MACHINE) is None
    assert layers.best(gemm(), MACHINE, OTHER_PROTOCOL) is not None
    assert set(layers.starts(gemm(), MACHINE)) == {tiled(factor=f) for f in (4, 8, 16, 32)}, "all are worth a try"
    assert layers.starts(gemm(extent=32), MACHINE) == ()


def test_other_machines_answer_only_where_asked_for(store: Store, project: Path) -> None:
    store.put(record(timed(0.001), schedule=tiled(factor=4), machine=FAR))
    store.put(record(timed(0.009), schedule=tiled(factor=16), machine=NEAR))
    layers = Layers(store=store, project=project)
    assert layers.best(gemm(), MACHINE) is None
    assert layers.best(gemm(), OTHER_MACHINE, match="model") is None
    found = layers.best(gemm(), MACHINE, match="portable")
    assert found is not None
    assert (found.match, found.record.machine, found.record.schedule) == ("model", NEAR, tiled(factor=16))
    save_spec(spec(0.001, machine=NEAR), project / "x.json")
    found = layers.best(gemm(), MACHINE, match="isa")
    assert found is not None
    assert (found.layer, found.match) == ("project", "model")
    starts = layers.starts(gemm(), MACHINE)
    assert starts == (tiled(), tiled(factor=16), tiled(factor=4)), "the project's, then the nearest"


def test_what_others_claim_of_such_a_machine_is_tried_before_what_they_claim_of_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "SHIPPED_FOLDER", tmp_path)
    save_spec(spec(0.001, factor=4, machine=NEAR), tmp_path / "a.json")
    save_spec(spec(0.9), tmp_path / "b.json")
    assert Layers(store=store).starts(gemm(), MACHINE) == (tiled(), tiled(factor=4))


def test_files_are_found_by_content_and_followed(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = SpecFiles("project", project)
    (project / "notes.txt").write_text("{")
    (project / ".hidden.json").write_text("{")
    (project / "deep").mkdir()
    save_spec(spec(0.001), project / "deep" / "any name.json")
    save_spec(SpecFile(task=gemm(extent=32), schedule=Schedule()), project / "other.json")
    assert files.schedules(gemm()) == (tiled(),)
    assert files.status() == "2 spec files"
    (project / "bad.json").write_text('{"format": "autosched/spec", "version": 1, "task": {}}')
    (project / "worse.json").write_bytes(b"\xff")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert files.schedules(gemm()) == (tiled(),)
    assert [line.split(": ")[1] for line in caplog.messages] == [
        "bad.json is passed over", "worse.json is passed over",
    ]  # fmt: skip
    save_spec(spec(factor=16), project / "deep" / "any name.json")
    assert files.schedules(gemm()) == (tiled(factor=16),), "a file that changed is read again"
    (project / "deep" / "any name.json").unlink()
    assert files.schedules(gemm()) == ()


@pytest.mark.parametrize("name", ["all.jsonl", "all.json"])
def test_bundles_are_read_as_files_are(store: Store, project: Path, name: str) -> None:
    best = record(timed(0.002), schedule=tiled(factor=16))
    store.put(best)
    store.put(record(timed(0.003)))
    store.put(record(timed(0.001), schedule=tiled(factor=4), machine=OTHER_MACHINE))
    store.put(record(failed=failed(), schedule=tiled(factor=32)))
    other = record(timed(0.004), task=gemm(extent=32), schedule=tiled(extent=32))
    store.put(other)
    export_store(store, project / name, everything=True)
    save_spec(spec(0.009, factor=2), project / "one.json")
    elsewhere = Layers(store=Store(project.parent / "elsewhere"), project=project)
    found = elsewhere.best(gemm("XYZpqr"), MACHINE)
    assert found is not None
    assert (found.layer, found.match, found.record.origin) == ("project", "exact", CLAIMED)
    assert found.record.schedule == tiled("XYZpqr", 16)
    assert found.record.latency_s == best.latency_s
    found = elsewhere.best(gemm(extent=32), MACHINE)
    assert found is not None
    assert found.record.schedule == other.schedule
    files = SpecFiles("project", project)
    assert set(files.schedules(gemm())) == {tiled(factor=f) for f in (2, 4, 8, 16)}, "none that failed"
    assert files.status() == "1 spec file, 1 bundle"
    assert len(files.near(gemm(threads=1), MACHINE, 5)) == 3


def test_wrong_lines_of_a_bundle_are_told_once(
    store: Store, project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(record(timed(0.001)))
    store.put(record(timed(0.002), schedule=tiled(factor=16)))
    path = project / "all.jsonl"
    export_store(store, path, everything=True)
    lines = path.read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines) if '"factors":[4,16]' in line)
    lines[number] = lines[number].replace(",16]", ",17]")
    path.write_text("\n".join([*lines, '{"task": {}}', "{"]))
    files = SpecFiles("project", project)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert files.schedules(gemm()) == (tiled(),)
    told = [line.partition(": a line of all.jsonl is passed over: ")[2] for line in caplog.messages]
    places = (f"line {number + 1}.record.schedule", f"line {len(lines) + 1}.task", f"line {len(lines) + 2}")
    assert len(told) == len(places)
    assert all(line.startswith(place) for line, place in zip(told, places, strict=True))
    caplog.clear()
    monkeypatch.setattr(files_module, "MOST_BUNDLE_BYTES", 100)
    with caplog.at_level(logging.WARNING):
        assert SpecFiles("project", project).schedules(gemm()) == ()
    assert "a folder's bundles have 100 at most; give it to autosched import" in caplog.text


def test_a_schedule_that_does_not_fit_is_passed_over(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_spec(spec(0.001), project / "x.json")
    path = project / "x.json"
    path.write_text(path.read_text().replace('"factors": [8, 8]', '"factors": [8, 9]'))
    with caplog.at_level(logging.WARNING):
        assert SpecFiles("project", project).schedules(gemm()) == ()
    assert "x.json is passed over: schedule.stagings[0]" in caplog.text


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    files = SpecFiles("shipped", tmp_path / "none")
    assert files.best(gemm(), MACHINE, PROTOCOL, ("exact",)) is None
    assert files.machines(gemm(), PROTOCOL) == ()
    assert files.status() == "0 spec files"


def test_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert project_folder() is None
    (tmp_path / MARKER).mkdir()
    assert project_folder() == tmp_path / MARKER
    (tmp_path / "a" / ".git").mkdir()
    assert project_folder() is None, "not above the repository"
    (tmp_path / "a" / MARKER).mkdir()
    assert project_folder() == tmp_path / "a" / MARKER
    assert project_folder("") is None
    monkeypatch.setenv("AUTOSCHED_PROJECT", str(tmp_path))
    assert project_folder() == tmp_path
    assert project_folder(inner) == inner
    monkeypatch.setenv("AUTOSCHED_PROJECT", "")
    assert project_folder() is None
    with pytest.raises(StoreError, match="project 'none': no such folder; make it, or mend --project"):
        project_folder("none")


def test_the_nearest_entries_say_what_differs(store: Store, project: Path) -> None:
    store.put(record(timed(0.001), machine=NEAR))
    store.put(record(timed(0.001), task=gemm(threads=1), protocol=attrs.evolve(PROTOCOL, threads=1)))
    store.put(record(timed(0.001), task=gemm(extent=32), schedule=tiled(extent=32)))
    store.put(record(timed(0.001)))
    save_spec(spec(), project / "x.json")
    (user,) = (layer for layer in Layers(store=store).all() if layer.name == "user")
    found = user.near(gemm(), MACHINE, 5)
    assert [[difference.field for difference in near.differences] for near in found] == [
        ["threads"], ["machine"], ["workload"],
    ]  # fmt: skip
    assert [near.match for near in found] == ["exact", "model", "exact"]
    assert len(user.near(gemm(), MACHINE, 2)) == 2
    assert len(SpecFiles("project", project).near(gemm(threads=1), MACHINE, 5)) == 1


def test_the_same_task_with_other_threads_is_near_in_a_store_of_any_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_module, "MOST_LOOKED_AT", 0)
    weights = attrs.evolve(gemm(threads=1), constants=("B",))
    store.put(record(timed(0.001), task=gemm(threads=1), protocol=attrs.evolve(PROTOCOL, threads=1)))
    store.put(record(timed(0.001), task=weights, protocol=attrs.evolve(PROTOCOL, threads=1)))
    found = near_module.near_in_store(store, gemm(threads=96), MACHINE, 5)
    assert [[difference.field for difference in near.differences] for near in found] == [["threads"]]
    found = near_module.near_in_store(store, attrs.evolve(weights, threads=96), MACHINE, 5)
    fields = [[difference.field for difference in near.differences] for near in found]
    assert fields == [["threads"], ["threads", "constants"]]
