"""Bundles made to do harm, and such as are wrong by mistake: what is refused is told, and all else is read."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from autosched.spec.errors import SpecError
from autosched.spec.json_text import compact_json, read_json
from autosched.store import bundle
from autosched.store.bundle import HEADER, read_bundle
from autosched.store.exporting import export_store
from autosched.store.importing import import_files
from autosched.store.store import Store
from store_cases import MACHINE, PROTOCOL, STATE, filled, gemm, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


HEAD = compact_json(HEADER)


def written(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "x.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def good_lines(folder: Path) -> list[str]:
    store = filled(folder / "good", [record(timed(0.1)), record(timed(0.2), schedule=tiled(factor=4))])
    store.finish_search(gemm(), STATE, MACHINE, PROTOCOL)
    export_store(store, folder / "good.jsonl", everything=True)
    return (folder / "good.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task":{},"task":{}}', "line 2: key 'task' stands twice in one object; keep one of them"),
        ('{"search":{"seconds":NaN}}', "line 2: NaN is not JSON"),
        ('{"task":' + "[" * 10**6, "line 2: brackets nest deeper than 64"),
        ("[" * 100 + "]" * 100, "line 2: brackets nest deeper than 64"),
        (pickle.dumps({"task": 1}), "line 2: not UTF-8: byte 0 cannot be read"),
        ("3", "line 2: found the number 3; a line of a bundle is an object"),
        ("{}", "line 2: found the keys nothing; allowed: one of task, slot, search, record, speeds, and spec"),
        ('{"exec":"rm"}', "line 2: found the keys exec; allowed: one of task"),
        ('{"task":{},"slot":{}}', "line 2: found the keys task, slot; allowed: one of"),
        ('{"task":{},"spec":99}', "line 2.version: file is version 99, this autosched reads up to"),
        ('{"task":{},"spec":true}', "line 2.version: found true; allowed: a whole number from 1 to"),
        ('{"record":{}}', "line 2.record: no task and slot above it says what it is about; put the line where it"),
        ('{"slot":{}}', "line 2.slot: no task above it says what it is about"),
        ('{"speeds":{"machine":"x"}}', "line 2.speeds: key 'threads' is missing"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_told_and_the_others_are_read(tmp_path: Path, line: str | bytes, message: str) -> None:
    good = good_lines(tmp_path)
    told: list[SpecError] = []
    found = list(read_bundle(written(tmp_path, HEAD, line, *good[1:]), told.append))
    (error,) = told
    assert str(error).startswith(message)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("record", {"measurements": []}, "measurements: neither a time nor a failure; give one"),
        ("record", {"schedule": {"nests": [{"stage": "Z"}]}}, "schedule"),
        ("record", {"origin": "measured here"}, "record"),
        ("search", {"date": "x\x1b[31m"}, "search.date: 'x\\x1b[31m' is no date"),
        ("search", {"strategy": "x\x1b[31m"}, "search.strategy: found the control character U+001B"),
        ("search", {"trials": "9"}, "search.trials"),
    ],
)
def test_what_a_line_says_is_checked(tmp_path: Path, kind: str, change: dict[str, Any], message: str) -> None:
    lines = good_lines(tmp_path)
    number, value = next((n, v) for n, line in enumerate(lines) if kind in (v := read_value(line)))
    lines[number] = compact_json({**value, kind: {**value[kind], **change}})
    told: list[SpecError] = []
    assert len(list(read_bundle(written(tmp_path, *lines), told.append))) == 2
    (error,) = told
    assert str(error).startswith(f"line {number + 1}: ") or str(error).startswith(f"line {number + 1}.")
    assert message in str(error)


def read_value(line: str) -> Any:
    return read_json(line)


def test_what_depends_on_a_refused_line_is_left_out_in_silence(tmp_path: Path) -> None:
    lines = good_lines(tmp_path)
    lines[1] = '{"task":{"op":"gemm"}}'
    told: list[SpecError] = []
    assert list(read_bundle(written(tmp_path, *lines), told.append)) == []
    assert len(told) == 1


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('{"format":"autosched/bundle","version":2}', "line 1.version: bundle is version 2, this autosched reads"),
        ('{"format":"autosched/bundle"}', "line 1.version: found null; allowed: a whole number from 1 to 1"),
        ('{"format":"other"}', "line 1: found an object; a bundle begins with the line"),
        ("", "line 1: not JSON at line"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_bundle(tmp_path: Path, head: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        list(read_bundle(written(tmp_path, head), pytest.fail))
    assert str(caught.value).startswith(message)


def test_a_pickle_is_not_loaded(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(pickle.dumps(record(timed(0.1))))
    (refused,) = import_files(store, [path]).refused
    assert "not UTF-8: byte 0 cannot be read" in refused.reason


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(HEAD.encode() + b"\n")
        file.truncate(2**30)  # a gigabyte of nothing, in one line
    told: list[SpecError] = []
    assert list(read_bundle(path, told.append)) == []
    assert [str(error) for error in told] == ["line 2: 8388609 bytes; at most 8388608 are read"]
    with pytest.raises(SpecError, match=r"line 102: more than 100 lines are wrong; the rest is not read"):
        list(read_bundle(written(tmp_path, HEAD, *["x"] * 200), told.append))
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(SpecError, match="a bundle of more than 1000 bytes; at most that many are read"):
        list(read_bundle(written(tmp_path, HEAD, "1" * 990), told.append))
    store = filled(tmp_path / "store", [record(timed(0.1))])
    with pytest.raises(SpecError, match="more than 1000 bytes, which a bundle may hold; name a folder instead"):
        export_store(store, tmp_path / "y.jsonl")
    assert not (tmp_path / "y.jsonl").exists()


def test_a_pipe_is_not_waited_for(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (refused,) = import_files(store, [tmp_path]).refused
    assert "is a pipe or a device" in refused.text
