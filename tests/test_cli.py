"""The command line: what each command prints and with which status it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import autosched as at
from autosched.spec.claim import Failure
from cli_calls import GEMM, call
from pretended_bench import PretendedBench, pretended_s

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {
    "op", "args", "target", "key", "source", "latency_s", "gflops", "default_latency_s", "speedup", "trials",
    "failures", "wall_s", "spec",
}  # fmt: skip
"""What ``tune --json`` prints at least."""


def test_a_file_that_cannot_be_written_is_refused_before_the_search(folder: Path) -> None:
    outcome = call("tune", *GEMM, "--trials", 10**6, "-o", folder / "no" / "x.json")
    assert outcome.exit_code == 2
    assert "found no folder for" in outcome.stderr
    assert "make it first, or name another file" in outcome.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A store, the object printed and the progress of a real search in a process of its own."""
    store = tmp_path_factory.mktemp("measured")
    done = in_process("tune", *GEMM, "--trials", "3", "--json", "--store", str(store))
    assert done.returncode == 0, done.stderr
    return store, json.loads(done.stdout), done.stderr


def in_process(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from autosched.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words], capture_output=True, text=True, check=False, timeout=120
    )


# --- tune and lookup, really measured ---------------------------------------------------------------------------------


@pytest.mark.system
def test_tune_prints_one_object(measured: tuple[Path, dict[str, Any], str]) -> None:
    _, printed, _ = measured
    assert printed.keys() >= FIELDS
    assert printed["op"] == "gemm"
    assert printed["args"] == {"N": 16, "K": 8, "M": 24, "transposeA": False, "transposeB": False, "dtype": "float32"}
    assert printed["target"] == {"kind": "llvm"}
    assert printed["source"] in ("search", "default")
    assert printed["trials"] == 3
    assert printed["failures"].keys() <= {"noise"}, "which a neighbour of the machine may make"
    assert 0 < printed["latency_s"] <= printed["default_latency_s"] < 1
    interval = printed["speedup_interval"]
    assert interval["low"] <= printed["speedup"] <= interval["high"]
    assert 0.9 < interval["confidence"] < 1
    assert printed["drift"] == []
    assert 0 < printed["busy_s"] < printed["wall_s"]
    assert printed["gflops"] == 2 * 16 * 8 * 24 / printed["latency_s"] / 1e9
    assert printed["wall_s"] > 0


@pytest.mark.system
def test_a_lookup_imports_only_what_a_hit_needs(measured: tuple[Path, dict[str, Any], str]) -> None:
    code = f"""
        import sys
        from autosched.cli import main
        try:
            main(["lookup", *{GEMM!r}, "--store", {str(measured[0])!r}])
        except SystemExit as end:
            assert not end.code, end.code
        print(*sorted(name.removeprefix("autosched.") for name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    outside = {"email", "importlib.metadata", "select", "socket", "zipfile"}
    search = {"search.hardware", "search.progress", "search.rule", "search.space", "search.tuner"}
    other = {"cli_progress", "cli_tune", "nn.windows", "nn.zeros", "spec.check", "spec.nest"}
    rooms = {"spec.rewrite", "spec.tolerance", "store.files", "store.server", "store.why"}
    assert (outside | search | other | rooms) & set(done.stdout.split()) == set()


@pytest.mark.system
def test_progress_is_for_standard_error(measured: tuple[Path, dict[str, Any], str]) -> None:
    lines = measured[2].splitlines()
    assert lines[0] == "searching: 3 trials"
    assert lines[1].startswith("trial 1/3  ")
    assert any(line.startswith("finals of ") for line in lines[2:-1])
    assert re.fullmatch(r"searched for [\d.]+ m?s, \d+% of it building and running", lines[-1])


@pytest.mark.system
def test_what_was_found_is_found_again_without_numpy_or_tvm(measured: tuple[Path, dict[str, Any], str]) -> None:
    store, printed, _ = measured
    code = f"""
        import sys
        from autosched.cli import main
        words = {[*GEMM, "--store", str(store), "--json"]!r}
        for command in (["tune", *words, "--trials", "3"], ["lookup", *words]):
            try:
                main(command)
            except SystemExit as end:
                assert not end.code, end.code
        heavy = {{"numpy", "tvm", "rich", "torch", "psutil", "subprocess"}} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    tuned, found = _objects(done.stdout)
    for again in (tuned, found):
        assert again["source"] == "store"
        assert {key: again[key] for key in FIELDS - {"source", "wall_s"}} == {
            key: printed[key] for key in FIELDS - {"source", "wall_s"}
        }


def _objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object of a text."""
    decoder, found = json.JSONDecoder(), []
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


@pytest.mark.system
def test_run_agrees_with_the_reference(measured: tuple[Path, dict[str, Any], str], folder: Path) -> None:
    store, printed, _ = measured
    assert call("lookup", "--key", printed["key"][:8], "--store", store).exit_code == 0
    result = at.lookup(at.get_task("gemm", N=16, K=8, M=24), store=store)
    assert result is not None
    at.save_spec(result, folder / "best.json")
    ran = call("run", "best.json", "--json")
    assert ran.exit_code == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["verified"]
    assert said["failure"] is None
    assert said["latency_s"] > 0
    assert said["default_latency_s"] > 0
    assert len(said["claimed_s"]) == len(result.spec.claims)
    assert not (folder / "store").exists(), "running stores nothing"


# --- tune and lookup, pretended ---------------------------------------------------------------------------------------


@pytest.mark.system
def test_tune_for_people(folder: Path, bench: PretendedBench) -> None:
    done = call("tune", *GEMM, "--trials", 4, "--threads", 1)
    assert done.exit_code == 0
    head, rest = done.stdout.splitlines()
    assert head == "gemm N=16 K=8 M=24 transposeA=False transposeB=False dtype=float32 on llvm, 1 thread"
    assert " times the default (" in rest
    assert " after 4 trials in " in rest
    assert done.stderr.splitlines()[0] == "searching: 4 trials"
    assert call("tune", *GEMM, "--trials", 6, "--threads", 1, "-q").stderr == ""
    assert "searching: 7 trials, 6 of them made before" in call("tune", *GEMM, "--trials", 7, "--threads", 1).stderr
    assert len(set(bench.measured)) == 7


@pytest.mark.system
def test_seed_and_method_reach_the_search(folder: Path, bench: PretendedBench) -> None:
    tried = []
    for number, (method, seed) in enumerate((("random", 1), ("random", 2), ("grid", 1))):
        begin = len(bench.measured)
        options = ("--trials", 6, "--method", method, "--seed", seed, "--store", number)
        assert call("tune", *GEMM, *options).exit_code == 0
        tried.append(frozenset(bench.measured[begin:]))
    assert len(set(tried)) == 3


def test_a_miss_is_status_3(folder: Path) -> None:
    done = call("lookup", *GEMM)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("miss: nothing known of task ")
    assert not (folder / "store").exists()
    assert call("lookup", "--key", "abcdef0123").exit_code == 3


def test_lookup_by_file_and_by_key(spec_file: Path) -> None:
    by_file = json.loads(call("lookup", "--spec", spec_file, "--json").stdout)
    by_key = json.loads(call("lookup", "--key", by_file["key"][:6], "--json").stdout)
    by_words = json.loads(call("lookup", *GEMM, "--json").stdout)
    for found in (by_file, by_key, by_words):
        found.pop("wall_s")
    assert by_file == by_key == by_words
    assert by_file["source"] == "store"


def test_tuning_a_file_begins_with_its_schedule(spec_file: Path, bench: PretendedBench) -> None:
    spec = at.load_spec(spec_file)
    at.save_spec(at.SpecFile(task=spec.task, schedule=at.Schedule()), spec_file)
    bench.measured.clear()
    assert call("tune", "--spec", spec_file, "--trials", 3, "--store", "other").exit_code == 0
    assert bench.measured[:2] == [at.default_schedule(spec.task), at.Schedule()]


@pytest.mark.parametrize("words", [("mine.py:gemm", 16, 8, "M=24"), ("mine.py:func", 16, 8, 24), ("mine.py:primfunc",)])
def test_a_function_of_ones_own(spec_file: Path, functions: Path, words: tuple[object, ...]) -> None:
    assert functions.exists()
    done = call("lookup", *words, "--json")
    assert done.exit_code == 0, "the same computation as the operator's, under whatever names"
    printed = json.loads(done.stdout)
    assert printed["op"] == words[0]
    assert printed["key"] == json.loads(call("lookup", "--spec", spec_file, "--json").stdout)["key"]


def test_nothing_measured_is_status_1_with_the_classes(folder: Path, bench: PretendedBench) -> None:
    bench.first = lambda _: Failure(kind="build_error", detail="on\npurpose")
    done = call("tune", *GEMM, "--trials", 2, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("autosched: nothing was measured: 2 build_error; ")
    assert "trial 1/2  build_error: on purpose" in done.stderr
    assert done.stderr.splitlines()[-3:-1] == ["2 of 2 trials failed:", "  build_error       2  on purpose"]


def test_tune_ends_with_a_table_of_failures(folder: Path, bench: PretendedBench) -> None:
    kinds = iter(["", "crash", "wrong_answer", "crash", "", "out_of_memory", "crash"])

    def first(schedule: at.Schedule) -> float | Failure:
        kind = next(kinds, "")
        return Failure(kind=kind, detail=f"{kind}\n\x1b[31mthere " + "x" * 200) if kind else pretended_s(schedule)

    bench.first = first
    done = call("tune", *GEMM, "--trials", 7, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["failures"] == {"crash": 3, "out_of_memory": 1, "wrong_answer": 1}
    head, *rows = done.stderr.splitlines()[-4:]
    assert head == "5 of 7 trials failed:"
    assert [row.split()[:3] for row in rows] == [
        ["crash", "3", "crash"],
        ["out_of_memory", "1", "out_of_memory"],
        ["wrong_answer", "1", "wrong_answer"],
    ]
    assert max(map(len, rows)) < 120
    assert "\x1b" not in "".join(rows)
    assert "failed" not in call("tune", *GEMM, "--trials", 7).stderr, "nothing was searched"
    assert call("tune", *GEMM, "--trials", 8, "-q").stderr == ""


def test_ctrl_c_is_status_130_and_keeps_what_there_is(folder: Path, bench: PretendedBench) -> None:
    bench.stop_after = 2
    done = call("tune", *GEMM, "--trials", 5)
    assert done.exit_code == 130
    *_, so_far, _, last = done.stderr.splitlines()
    assert so_far.startswith("the best so far, ")
    assert so_far.endswith(" after 2 trials, is in the store; the same command goes on from there")
    assert last == "autosched: interrupted"
    assert call("lookup", *GEMM).exit_code == 0


def test_ctrl_c_before_anything_has_a_time(folder: Path, bench: PretendedBench) -> None:
    bench.stop_after = 0
    done = call("tune", *GEMM, "--trials", 5)
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-3:] == ["nothing has a time yet", "", "autosched: interrupted"]


def test_a_second_ctrl_c_ends_at_once() -> None:
    code = """
        import signal, time
        from autosched import cli
        signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background ignores it
        @cli.main.command()
        def wait():
            try:
                print("first", flush=True)
                time.sleep(60)
            finally:
                print("second", flush=True)
                time.sleep(60)
        cli.COMMANDS["wait"] = ("", "")
        cli.Program.get_command = lambda *_: wait
        cli.main(["wait"])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for word in ("first", "second"):
        assert process.stdout.readline().strip() == word
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "autosched: interrupted\n")
