"""The command that tries spec files on other versions of TVM: what it hears, and what its page says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import check_compat
from autosched.spec.tvm_versions import PAIRS
from check_compat import BEGIN, END, KNOWN, PAGE, Outcome, cells_of, page_text, table, try_files
from corpus import FILES

ABC = [Path(f"{name}.json") for name in "abc"]


class Interpreter:
    """Says of each file what the trial of it would print, and dies at one."""

    def __init__(self, dies_at: str) -> None:
        self.dies_at = dies_at
        self.asked: list[list[str]] = []

    def __call__(self, _: Path, script: str, *files: str) -> subprocess.CompletedProcess[str]:
        assert Path(script).name == "corpus.py"
        self.asked.append(list(files))
        said = []
        for name in files:
            said.append(json.dumps({"begins": name}))
            if Path(name).stem == self.dies_at:
                return subprocess.CompletedProcess([], -11, "\n".join(said), "Segmentation fault")
            said.append(json.dumps({"file": name, "lowers": True, "right": name != "c.json", "problem": ""}))
        return subprocess.CompletedProcess([], 0, "\n".join(said), "")


def test_a_file_that_ends_the_process_is_named_and_the_others_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = Interpreter(dies_at="b")
    monkeypatch.setattr(check_compat, "answer", interpreter)
    found = try_files(Path("python"), ABC)
    assert found["a"] == Outcome(lowers=True, right=True)
    assert found["b"].problem == "the process ended with -11: Segmentation fault"
    assert found["c"] == Outcome(lowers=True, right=False)
    assert interpreter.asked == [["a.json", "b.json", "c.json"], ["c.json"]]


def test_an_environment_that_says_nothing_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = subprocess.CompletedProcess([], 1, "", "No module named 'autosched'")
    monkeypatch.setattr(check_compat, "answer", lambda *_: silent)
    with pytest.raises(SystemExit, match="nothing was tried with python\nNo module named 'autosched'"):
        try_files(Path("python"), ABC)


def test_the_table_says_what_came_of_each_file() -> None:
    right, wrong, none = (
        Outcome(lowers=True, right=True),
        Outcome(lowers=True, right=False),
        Outcome(lowers=False, right=False),
    )
    made = table(ABC, {"TVM 1": {"a": right, "b": wrong, "c": none}, "TVM 2": dict.fromkeys("abc", right)}, {})
    assert made.splitlines() == [
        "| feature | TVM 1 | TVM 2 |",
        "| --- | --- | --- |",
        "| `a` | right | right |",
        "| `b` | lowers, wrong | right |",
        "| `c` | does not lower | right |",
        "| **right, of all** | **1 of 3** | **3 of 3** |",
    ]


def test_what_this_cpu_cannot_run_keeps_what_another_one_said() -> None:
    lacks = Outcome(lowers=True, right=False, problem="intrinsic x needs y, which the target lacks: z")
    found = {"TVM 1": dict.fromkeys("abc", lacks)}
    pairs = "| apache-tvm | |\n| --- | --- |\n| 1 | x |\n"
    page = pairs + "\n| feature | TVM 1 |\n| --- | --- |\n| `a` | right |\n| `c` | lowers, wrong |\n"
    assert table(ABC, found, cells_of(page)).splitlines()[2:] == [
        "| `a` | right |",
        "| `b` | lowers, needs another CPU |",
        "| `c` | lowers, wrong |",
        "| **right, of all** | **1 of 3** |",
    ]


def test_only_the_table_of_the_page_is_written() -> None:
    once = page_text(f"# Page\n\n{BEGIN}\nold\n{END}\n\nafter\n", "| new |")
    assert once.startswith(f"# Page\n\n{BEGIN}\n\n| apache-tvm |")
    assert once.endswith(f"| new |\n\n{END}\n\nafter\n")
    assert "old" not in once
    assert page_text(once, "| new |") == once


def test_the_page_is_of_the_pairs_and_files_that_there_are() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    (heads,) = (row[1:] for row in rows if row[0] == "feature")
    assert heads == [f"TVM {tvm}, FFI {ffi}" for tvm, ffis in PAIRS.items() for ffi in ffis]
    tried = {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`")}
    assert tried.keys() <= {path.stem for path in FILES}
    others = {
        (head.split()[1].rstrip(","), name)
        for name, row in tried.items()
        for head, cell in zip(heads, row, strict=True)
        if cell != "right"
    }
    assert others == KNOWN
