"""What the README shows is what there is: its schedule is legal, its code runs, its commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from autosched.cli import main
from autosched.nn.registry import get_task
from autosched.spec.convert import structure
from autosched.spec.schedule import Schedule
from autosched.spec.tvm_lower import lower

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order; odd pieces between fences are the blocks."""
    pieces = re.split(r"^```", README, flags=re.MULTILINE)[1::2]
    return [piece.partition("\n")[2] for piece in pieces if piece.partition("\n")[0] == language]


def test_the_schedule_shown_lowers():
    (text,) = blocks("json")
    schedule = structure(json.loads("{" + text + "}"), Schedule)
    sch = lower(schedule, get_task("gemm", N=1024, K=1024, M=1024))
    assert sch.get_sblock("C.acc_update") is not None


@pytest.mark.system
def test_the_example_tunes_calls_and_hits(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSCHED_STORE", str(tmp_path / "store"))
    example = next(block for block in blocks("python") if "lookup_or_tune" in block)
    small = example.replace("1024", "64").replace("trials=64", "trials=2")
    scope: dict[str, object] = {}
    exec(compile(small, "README.md", "exec"), scope)  # noqa: S102 # the README's own code
    a, b, c = scope["a"], scope["b"], scope["c"]
    assert abs(c - a @ b).max() < 1e-3  # type: ignore[operator, attr-defined] # NumPy arrays
    exec(compile(small, "README.md", "exec"), scope)  # noqa: S102
    assert scope["result"].source in ("store", "default")  # type: ignore[attr-defined]


def test_the_commands_shown_exist():
    shown = set(re.findall(r"^autosched (\w+)", "\n".join(blocks("")), flags=re.MULTILINE))
    assert {"tune", "lookup", "show", "check", "run", "lower", "doctor"} <= shown
    for command in sorted(shown):
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0, command
