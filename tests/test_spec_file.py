"""Spec files: what is written is read back, byte for byte; saving is all or nothing; old and later versions."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec import versions
from autosched.spec.errors import SpecError
from autosched.spec.json_text import read_json, write_json
from autosched.spec.schedule import Inline, Schedule
from autosched.spec.spec_file import SpecFile, load_spec, save_spec, spec_from_text, text_from_spec
from schedule_strategies import claims, tuples_of
from strategies import tasks

GOOD = sorted((Path(__file__).parent / "data" / "specs").glob("*.json"))
GEMM = Path(__file__).parent / "data" / "specs" / "gemm_packed.json"


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_file_of_ours_is_written_again_byte_for_byte(path: Path, tmp_path: Path) -> None:
    spec = load_spec(path)
    save_spec(spec, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert load_spec(tmp_path / "again.json") == spec


@given(task=tasks(), claimed=tuples_of(claims, 2))
def test_any_task_survives_its_text(task: Any, claimed: tuple[Any, ...]) -> None:
    spec = SpecFile(task=task, schedule=Schedule(), claims=claimed)
    text = text_from_spec(spec)
    assert spec_from_text(text) == spec
    assert spec_from_text(text.encode()) == spec
    assert text_from_spec(spec_from_text(text)) == text
    assert spec_from_text(text).task.identity == task.identity


@given(seed=st.randoms(use_true_random=False))
def test_the_order_of_keys_and_the_blanks_do_not_matter(seed: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            seed.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(entry) for entry in value] if isinstance(value, list) else value

    text = GEMM.read_text(encoding="utf-8")
    value: Any = read_json(text)
    args = value["task"].pop("args")  # the order of arguments is what the user wrote
    other = shuffled(value)
    other["task"]["args"] = args
    assert text_from_spec(spec_from_text(write_json(other).replace("  ", "\t"))) == text


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"no file {str(path)!r}; check the name and the folder you are in"


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is a folder; name a spec file in it"):
        load_spec(tmp_path)
    with pytest.raises(SpecError, match="is a folder; name a file in it"):
        save_spec(load_spec(GEMM), tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SpecError, match="cannot be read: Permission denied; check its permissions"):
        load_spec(GEMM)


def test_an_endless_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(2**40)  # a hole: nothing of it is on the disk
    with pytest.raises(SpecError, match="8388609 bytes; at most 8388608 are read"):
        load_spec(large)


@pytest.mark.parametrize("name", ["fifo", "/dev/zero", "link to /dev/zero"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    place = tmp_path / name.replace("/", "_") if not name.startswith("/") else Path(name)
    if name == "fifo":
        os.mkfifo(place)
    elif name.startswith("link"):
        place.symlink_to("/dev/zero")
    with pytest.raises(SpecError, match="is a pipe or a device; save what comes from it in a file"):
        load_spec(place)


def test_saving_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="make it first"):
        save_spec(load_spec(GEMM), tmp_path / "none" / "a.json")


@pytest.mark.parametrize("fails", ["fsync", "replace", "write"])
def test_an_existing_file_survives_a_failed_save(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("precious", encoding="utf-8")
    spec = load_spec(GEMM)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "replace":
        monkeypatch.setattr(Path, "replace", full)
    elif fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "open", full)
    with pytest.raises(SpecError, match="cannot be written: No space left on device"):
        save_spec(spec, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_what_would_not_load_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("precious", encoding="utf-8")
    spec = load_spec(GEMM)
    with pytest.raises(SpecError, match=r"task\.threads: 0 threads"):
        save_spec(attrs.evolve(spec, task=attrs.evolve(spec.task, threads=0)), path)
    with pytest.raises(SpecError, match=r"schedule\.stagings"):
        save_spec(attrs.evolve(spec, schedule=Schedule(stagings=(Inline(stage="C"),))), path)
    assert path.read_bytes() == b"precious"


def test_saving_replaces_a_file_and_writes_through_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old", encoding="utf-8")
    link.symlink_to(real)
    save_spec(load_spec(GEMM), link)
    assert link.is_symlink()
    assert real.read_bytes() == GEMM.read_bytes()


def test_a_saved_file_can_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        save_spec(load_spec(GEMM), tmp_path / "a.json")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_an_old_version_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def name_threads(content: dict[str, Any]) -> dict[str, Any]:
        task = dict(content["task"])
        task["threads"] = task.pop("cores")
        return {**content, "task": task}

    def drop_notes(content: dict[str, Any]) -> dict[str, Any]:
        return {key: entry for key, entry in content.items() if key != "notes"}

    value: Any = read_json(GEMM.read_bytes())
    value["notes"] = "none"
    value["task"]["cores"] = value["task"].pop("threads")
    monkeypatch.setattr(versions, "VERSION", 3)
    monkeypatch.setattr(versions, "UPGRADES", {1: name_threads, 2: drop_notes})
    assert spec_from_text(write_json(value)) == load_spec_as(3)
    value["version"] = 2  # without the first step
    with pytest.raises(SpecError, match="unknown key 'cores'"):
        spec_from_text(write_json(value))


def load_spec_as(version: int) -> SpecFile:
    value: Any = read_json(GEMM.read_bytes())
    return spec_from_text(write_json({**value, "version": version}))


def test_every_older_version_has_its_upgrade() -> None:
    assert sorted(versions.UPGRADES) == list(range(1, versions.VERSION))


def test_a_file_is_written_in_the_lowest_version_that_can_say_it() -> None:
    value: Any = read_json(GEMM.read_bytes())
    assert value["version"] == 1
    assert text_from_spec(load_spec_as(versions.VERSION)) == GEMM.read_text(encoding="utf-8")
