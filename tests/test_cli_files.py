"""The command line on spec files: those of strangers, of liars and of other machines among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import autosched as at
from autosched.search import measure
from autosched.spec.claim import Failure
from autosched.spec.json_text import write_json
from autosched.spec.triple import this_arch
from cli_calls import call
from pretended_bench import PretendedBench

if TYPE_CHECKING:
    from pathlib import Path


def test_show(spec_file: Path) -> None:
    done = call("show", spec_file)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "gemm N=16 K=8 M=24 transposeA=False transposeB=False dtype=float32"
    assert any(line.startswith("for ") for line in lines)
    assert lines[-1].startswith("claimed on ")


def test_check_says_a_line_for_each_file(spec_file: Path, folder: Path) -> None:
    (folder / "bad.json").write_text('{"format": "autosched/spec", "version": 99}')
    done = call("check", spec_file, "bad.json", "none.json")
    assert done.exit_code == 2
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        f"{spec_file}: well formed, gemm N=16 K=8 M=24 transposeA=False transposeB=False dtype=float32; "
    )
    assert done.stderr.splitlines() == [
        (
            "bad.json: version: file is version 99, this autosched reads up to 2; "
            "upgrade autosched or ask for a version 2 file"
        ),
        "no file 'none.json'; check the name and the folder you are in",
    ]
    assert call("check", spec_file).exit_code == 0


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (None, "@T.prim_func"),
        ("--tir", "T.vectorized("),
        ("--asm", ".text"),
        ("--explain", "=== bind_loops"),
    ],
)
def test_lower(spec_file: Path, option: str | None, text: str) -> None:
    done = call("lower", spec_file, *([option] if option else []))
    assert done.exit_code == 0
    assert text in done.stdout


def test_run_says_what_failed(spec_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = PretendedBench(lambda _: Failure(kind="wrong_answer", detail="C[0, 0] is 1, expected 2"))
    monkeypatch.setattr(measure, "Measurer", bench)
    done = call("run", spec_file)
    assert done.exit_code == 1
    assert "wrong_answer: C[0, 0] is 1, expected 2" in done.stdout
    failure = json.loads(call("run", spec_file, "--json").stdout)["failure"]
    assert failure == {"kind": "wrong_answer", "detail": "C[0, 0] is 1, expected 2"}


def test_run_uses_no_more_threads_than_there_are(spec_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "Measurer", PretendedBench())
    content = json.loads(spec_file.read_text())
    content["task"]["threads"] = 4000
    for claim in content["claims"]:
        claim["protocol"]["threads"] = 4000
    spec_file.write_text(write_json(content))
    done = call("run", spec_file, "--json")
    assert done.exit_code == 0, done.stderr
    assert 1 <= json.loads(done.stdout)["threads"] < 4000


def test_a_strangers_file_runs_nothing(spec_file: Path, folder: Path) -> None:
    """Expressions are parsed by a grammar of our own: what looks like code is an error, in every command."""
    content = json.loads(spec_file.read_text())
    attack = f"__import__('pathlib').Path({str(folder / 'owned')!r}).touch()"
    content["task"]["workload"]["stages"][0]["body"] = attack
    spec_file.write_text(json.dumps(content))
    for command in ("run", "show", "check", "lower"):
        done = call(command, spec_file)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1
    assert call("tune", "--spec", spec_file).exit_code == 2
    assert not (folder / "owned").exists()


def test_factors_that_do_not_fit_are_named_by_their_place(spec_file: Path) -> None:
    content = json.loads(spec_file.read_text())
    content["schedule"] = {"nests": [{"stage": "C", "splits": [{"axis": "i", "into": ["a", "b"], "factors": [3, 3]}]}]}
    spec_file.write_text(json.dumps(content))
    done = call("check", spec_file)
    assert done.exit_code == 2
    assert "schedule.nests[0].splits[0]" in done.stderr
    assert "(3, 3)" in done.stderr


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        ("gemm", {"N": 512, "K": 512, "M": 512}, "gemm N=512 K=512 M=512 is another computation than its workload"),
        ("gemm", {"N": 16}, "no such gemm: gemm: missing: "),
        ("gemv", {"threads": 2}, "gemv takes no argument 'threads'"),
        ("gemv", {"N": 8, "K": 8, "constants": 5}, "gemv takes no argument 'constants'"),
    ],
)
def test_a_file_that_lies_about_its_operator_is_told(
    spec_file: Path, folder: Path, op: str, args: dict[str, int], message: str
) -> None:
    content = json.loads(spec_file.read_text())
    content["task"] |= {"op": op, "args": args}
    liar = folder / "liar.json"
    liar.write_text(json.dumps(content))
    outcome = call("check", liar)
    assert outcome.exit_code == 0
    assert outcome.stderr.startswith(f"warning: {liar}: task.op: {message}")
    assert "the workload counts, op and args are left out" in outcome.stderr
    assert outcome.stdout.startswith(f"{liar}: well formed, C; ")
    assert call("show", liar).stdout.splitlines()[0] != f"{op} N=512 K=512 M=512"
    found = call("lookup", "--spec", liar, "--json")
    assert found.exit_code == 0, "the key is made of the workload"
    assert json.loads(found.stdout)["op"] is None


def test_an_operator_that_nobody_knows_is_no_lie(spec_file: Path) -> None:
    content = json.loads(spec_file.read_text())
    content["task"] |= {"op": "my_gemm", "args": {"size": 3}}
    spec_file.write_text(json.dumps(content))
    outcome = call("check", spec_file)
    assert outcome.stderr == ""
    assert "well formed, my_gemm size=3" in outcome.stdout


def test_a_file_is_timed_here_once_after_a_finished_search(
    spec_file: Path, folder: Path, bench: PretendedBench
) -> None:
    content = json.loads(spec_file.read_text())
    content["schedule"] = {}
    plain = folder / "plain.json"
    plain.write_text(json.dumps(content))
    bench.measured.clear()
    assert call("tune", "--spec", plain, "--trials", 3, "-q").exit_code == 0
    assert at.Schedule() in bench.measured
    bench.measured.clear()
    outcome = call("tune", "--spec", plain, "--trials", 3, "-q", "--json")
    assert bench.measured == []
    assert json.loads(outcome.stdout)["source"] == "store"


def test_what_a_stranger_writes_does_not_reach_the_terminal(spec_file: Path, folder: Path) -> None:
    content = json.loads(spec_file.read_text())
    content["task"]["args"]["N"] = "\x1b[2J"
    named = folder / "\x1b[31m.json"
    named.write_text(json.dumps(content))
    for command in ("check", "show", "lower", "run"):
        outcome = call(command, named)
        assert outcome.exit_code == 2
        assert "found the control character U+001B" in outcome.stderr
        assert "\x1b" not in outcome.stdout + outcome.stderr
    named.write_text(spec_file.read_text())
    assert "\x1b" not in call("check", named).output


@pytest.mark.system
@pytest.mark.parametrize("command", ["lower", "run"])
def test_torch_is_not_imported_beside_tvm(spec_file: Path, tmp_path: Path, command: str) -> None:
    """Where it is installed that takes two seconds; here is one that tells when it is imported."""
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "torch.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    words = [sys.executable, "-m", "autosched.cli", command, str(spec_file)]
    subprocess.run(words, env=environment, check=True, capture_output=True, timeout=60)
    assert not (tmp_path / "imported").exists()


@pytest.mark.system
def test_run_gives_up_in_time(spec_file: Path) -> None:
    outcome = call("run", spec_file, "--timeout", "0.01")
    assert outcome.exit_code == 1
    assert "it did not end in time and was killed; --timeout gives it longer" in outcome.stdout


def test_a_file_for_another_machine_is_lowered_but_not_run(spec_file: Path) -> None:
    content = json.loads(spec_file.read_text())
    other = "aarch64-linux-gnu" if this_arch() == "x86_64" else "x86_64-linux-gnu"
    content["task"]["target"] = {"kind": "llvm", "mtriple": other}
    spec_file.write_text(json.dumps(content))
    assert "main" in call("lower", spec_file, "--asm").stdout
    for words in (("run", spec_file), ("tune", "--spec", spec_file)):
        outcome = call(*words)
        assert outcome.exit_code == 2
        assert outcome.stderr.startswith(f"autosched: target.mtriple: found {other!r}; only code for {this_arch()}")
