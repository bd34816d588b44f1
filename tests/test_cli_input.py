"""The command line without a task: the lists it prints, and bad input, which is one line and status 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from autosched.cli import COMMANDS
from cli_calls import GEMM, call

if TYPE_CHECKING:
    from pathlib import Path

    from pretended_bench import PretendedBench


def test_tasks_lists_operators() -> None:
    done = call("tasks")
    assert "gemm  N, K, M, transposeA=False, transposeB=False, dtype=float32" in done.stdout.splitlines()
    only = call("tasks", "--op", "gemv").stdout.splitlines()
    assert [line.split()[0] for line in only if line] == ["gemv", "Matrix", "suites", "gemv"]
    assert call("tasks", "--op", "gemn").stderr.startswith("autosched: no operator 'gemn' (did you mean 'gem")


def test_wrong_versions_of_tvm_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from autosched import cli_doctor

    assert list(cli_doctor.wrong_versions()) == []
    monkeypatch.setattr(cli_doctor, "installed", lambda name: "0.1" if name == "apache-tvm-ffi" else "0.27.0.post1")
    (line,) = cli_doctor.wrong_versions()
    assert line.startswith("apache-tvm-ffi is 0.1, needs 0.")


def test_help_names_every_command_and_each_has_its_own() -> None:
    listed = call("--help").stdout
    for command in COMMANDS:
        assert f"  {command} " in listed
        text = call(command, "--help").stdout
        assert text.startswith(f"Usage: main {command}")
        assert "\\b" not in text, "click's mark for lines to keep, printed instead of obeyed"
    assert "\n  autosched tune --spec received.json\n" in call("tune", "--help").stdout
    assert call().exit_code == 2


# --- errors: status 2, one line, nothing written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune", "gem", "N=1"], "no operator 'gem' (did you mean 'gem"),
        (
            ["tune", "gemm", "N=1", "K=1"],
            "gemm: missing: M; arguments: N, K, M, transposeA=False, transposeB=False, dtype=float32",
        ),
        (["tune", *GEMM, "Z=1"], "gemm: no argument 'Z'"),
        (["tune", "gemm", "N=0", "K=1", "M=1"], "gemm.N: found 0; allowed: a whole number from 1"),
        (["tune", "gemm", "N"], "gemm: found 'N'; write KEY=VALUE"),
        (["tune", *GEMM, "--target", "cuda"], "target.kind: found 'cuda'; only 'llvm' can be measured so far"),
        (["tune", *GEMM, "--target", "!"], "target: '!' is no target; write a kind"),
        (["tune", *GEMM, "--target", '{"kind": "llvm", "bogus": 1}'], "target: TVM "),
        (["tune", *GEMM, "--target", "{"], "not JSON"),
        (["tune", *GEMM, "--threads", "4000"], "threads: found 4000; this process may use "),
        (["tune", *GEMM, "--threads", "0"], "Invalid value for '--threads': 0 is not in the range x>=1"),
        (["tune", *GEMM, "--trials", "x"], "Invalid value for '--trials': 'x' is not a valid integer"),
        (["tune", *GEMM, "--seconds", "0"], "Invalid value for '--seconds': 0.0 is not in the range x>0"),
        (
            ["tune", *GEMM, "--method", "luck"],
            "method: unknown method 'luck'; allowed: auto, evolutionary, annealing, q, random, grid",
        ),
        (["tune", *GEMM, "--spec", "x.json"], "found 'gemm' and --spec x.json; give one of them"),
        (["tune", *GEMM, "--store", "mine.py"], "found a file, need a folder; name another folder with --store"),
        (["tune", *GEMM, "--store", "/proc/none"], "store /proc/none: cannot be made"),
        (["tune", *GEMM, "--bogus"], "No such option '--bogus'"),
        (["tune"], "nothing to work on; give OP KEY=VALUE..., SUITE/NAME, FILE.py:FUNCTION ARG..., or --spec FILE"),
        (["tune", "--spec", "none.json"], "no file 'none.json'"),
        (["tune", "mine.py:none"], "mine.py: no function 'none'; functions there: gemm, func, three, broken"),
        (["tune", "mine.py:number"], "mine.py: 'number' is a int, not a function"),
        (["tune", "mine.py:three"], "found a int; pass a list of TE tensors"),
        (["tune", "mine.py:broken", "3"], "mine.py:broken failed at line 15: ZeroDivisionError: "),
        (["tune", "mine.py:refused"], "mine.py:refused failed at line 16: OwnError: not today"),
        (["tune", "mine.py:ended"], "mine.py:ended failed at line 17: SystemExit"),
        (["tune", "mine.py:primfunc", "3"], "mine.py:primfunc is a TensorIR function, which takes no arguments; leave"),
        (["tune", "mine.py:gemm", "3"], "mine.py:gemm failed: TypeError: gemm() missing 2 required"),
        (["tune", "mine.py:gemm", "N=3", "4"], "found '4' after KEY=VALUE; give words without a key first"),
        (["tune", "none.py:gemm", "3"], "no file 'none.py'"),
        (["tune", "syntax.py:gemm"], "syntax.py cannot be imported at line 1: SyntaxError: "),
        (["lookup", *GEMM, "--key", "abcdef"], "found --key and a task; give one of them"),
        (["lookup", "--key", "xyz"], "'xyz' is not a task's key; allowed: 6 to 64 digits"),
        (["show", "mine.py"], "mine.py: not JSON at line 2, column 1"),
        (["run", "later.json"], "later.json: version: file is version 99, this autosched reads up to 2"),
        (["lower", "later.json"], "later.json: version: "),
        (["show", "unknown.json"], "unknown.json: "),
        (["bogus"], "No such command 'bogus'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(folder: Path, functions: Path, words: list[str], message: str) -> None:
    (folder / "later.json").write_text('{"format": "autosched/spec", "version": 99}')
    (folder / "unknown.json").write_text('{"format": "autosched/spec", "version": 1, "job": {}}')
    (folder / "syntax.py").write_text("def gemm(:\n")
    before = sorted(folder.rglob("*"))
    done = call(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("autosched: ")
    assert message in line
    assert sorted(folder.rglob("*")) == before
    assert functions.exists()


def test_a_store_that_is_not_writable(folder: Path, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    from autosched.store import folder as store_folder

    monkeypatch.setattr(store_folder, "is_writable", lambda _: False)  # root may write everywhere
    done = call("tune", *GEMM)
    assert done.exit_code == 2
    assert "not writable for this user" in done.stderr
    assert bench.measured == []
