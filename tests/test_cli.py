"""The command line: what each command prints and with which status it ends."""

from __future__ import annotations

import functools
import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import autosched as at
from autosched.cli import COMMANDS, main
from autosched.search import bandwidth, measure, peak, tuner
from autosched.spec.claim import Failure
from autosched.spec.cores import available_cores
from autosched.spec.errors import MeasureError
from autosched.spec.json_text import write_json
from autosched.spec.triple import this_arch
from autosched.store.keys import machine_key
from autosched.store.machine import this_machine
from autosched.store.speeds import Speeds
from autosched.store.store import Store
from pretended_bench import PretendedBench, pretended_s

if TYPE_CHECKING:
    from pathlib import Path

GEMM = ["gemm", "N=16", "K=8", "M=24"]
FIELDS = {
    "op", "args", "target", "key", "source", "latency_s", "gflops", "default_latency_s", "speedup", "trials",
    "failures", "wall_s", "spec",
}  # fmt: skip
"""What ``tune --json`` prints at least."""


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> PretendedBench:
    """What measures in place of this machine."""
    bench = PretendedBench()
    monkeypatch.setattr(tuner, "tune", functools.partial(tuner.tune, bench=bench))
    return bench


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSCHED_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture(scope="module")
def tuned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a spec file of one search, made once and copied for each test."""
    made = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        bench = PretendedBench()
        patch.setattr(tuner, "tune", functools.partial(tuner.tune, bench=bench))
        patch.setenv("AUTOSCHED_STORE", str(made / "store"))
        assert call("tune", *GEMM, "--trials", 3, "-q", "-o", made / "best.json").exit_code == 0
        assert bench.measured
    return made


@pytest.fixture
def spec_file(folder: Path, bench: PretendedBench, tuned_folder: Path) -> Path:
    shutil.copytree(tuned_folder, folder, dirs_exist_ok=True)
    return folder / "best.json"


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


def test_tune_prints_one_object(measured: tuple[Path, dict[str, Any], str]) -> None:
    _, printed, _ = measured
    assert printed.keys() >= FIELDS
    assert printed["op"] == "gemm"
    assert printed["args"] == {"N": 16, "K": 8, "M": 24, "dtype": "float32"}
    assert printed["target"] == {"kind": "llvm"}
    assert printed["source"] in ("search", "default")
    assert (printed["trials"], printed["failures"]) == (3, {})
    assert 0 < printed["latency_s"] <= printed["default_latency_s"] < 1
    assert printed["speedup"] == printed["default_latency_s"] / printed["latency_s"]
    interval = printed["speedup_interval"]
    assert interval["low"] <= interval["high"]
    assert 0.9 < interval["confidence"] < 1
    assert printed["drift"] == []
    assert 0 < printed["busy_s"] < printed["wall_s"]
    assert printed["gflops"] == 2 * 16 * 8 * 24 / printed["latency_s"] / 1e9
    assert printed["wall_s"] > 0


def test_progress_is_for_standard_error(measured: tuple[Path, dict[str, Any], str]) -> None:
    lines = measured[2].splitlines()
    assert lines[0] == "searching: 3 trials"
    assert lines[1].startswith("trial 1/3  ")
    assert lines[-2].startswith("finals of ")
    assert re.fullmatch(r"searched for [\d.]+ m?s, \d+% of it building and running", lines[-1])


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


def test_tune_for_people(folder: Path, bench: PretendedBench) -> None:
    done = call("tune", *GEMM, "--trials", 4, "--threads", 1)
    assert done.exit_code == 0
    head, rest = done.stdout.splitlines()
    assert head == "gemm N=16 K=8 M=24 dtype=float32 on llvm, 1 thread"
    assert " times the default (" in rest
    assert " after 4 trials in " in rest
    assert done.stderr.splitlines()[0] == "searching: 4 trials"
    assert call("tune", *GEMM, "--trials", 6, "--threads", 1, "-q").stderr == ""
    assert "searching: 7 trials, 6 of them made before" in call("tune", *GEMM, "--trials", 7, "--threads", 1).stderr
    assert len(set(bench.measured)) == 7


def test_seed_and_method_reach_the_search(folder: Path, bench: PretendedBench) -> None:
    tried = []
    for number, options in enumerate((("--seed", 1), ("--seed", 2), ("--method", "random"))):
        begin = len(bench.measured)
        assert call("tune", *GEMM, "--trials", 6, *options, "--store", number).exit_code == 0
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


FUNCTIONS = """
    from __future__ import annotations
    import dataclasses, sys
    from tvm import te
    class OwnError(Exception): pass
    @dataclasses.dataclass
    class Size: n: int
    def gemm(N, K, M):
        A, B = te.placeholder((N, K), name="A"), te.placeholder((K, M), name="B")
        k = te.reduce_axis((0, K), name="k")
        return [A, B, te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[k, j], axis=k), name="C")]
    def func(*args):
        return te.create_prim_func(gemm(*args))
    def three(): return 3
    def broken(n): return n // 0
    def refused(): raise OwnError("not today")
    def ended(): sys.exit()
    primfunc = func(16, 8, 24)
    number = 3
"""


@pytest.fixture
def functions(folder: Path) -> Path:
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(FUNCTIONS))
    return path


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
        import time
        from autosched import cli
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


# --- files ------------------------------------------------------------------------------------------------------------


def test_show(spec_file: Path) -> None:
    done = call("show", spec_file)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "gemm N=16 K=8 M=24 dtype=float32"
    assert any(line.startswith("parallel ") for line in lines)
    assert lines[-1].startswith("claimed on ")


def test_check_says_a_line_for_each_file(spec_file: Path, folder: Path) -> None:
    (folder / "bad.json").write_text('{"format": "autosched/spec", "version": 99}')
    done = call("check", spec_file, "bad.json", "none.json")
    assert done.exit_code == 2
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{spec_file}: well formed, gemm N=16 K=8 M=24 dtype=float32; ")
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
        ("--tir", "T.parallel("),
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


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_tasks_lists_operators() -> None:
    done = call("tasks")
    assert "gemm  N, K, M, dtype=float32" in done.stdout.splitlines()
    assert len(call("tasks", "--op", "gemv").stdout.splitlines()) == 2
    assert call("tasks", "--op", "gemn").stderr.startswith("autosched: no operator 'gemn' (did you mean 'gem")


def pretend_speeds(monkeypatch: pytest.MonkeyPatch, one: float, each_other: float) -> None:
    """One thread alone does `one` GFLOP/s, every other one `each_other` more."""

    def speeds(threads: int) -> Speeds:
        total = one + each_other * (threads - 1)
        rates = dict.fromkeys(("l2_bytes", "l3_bytes", "memory_bytes"), 10000000000.0)
        here = machine_key(this_machine())
        return Speeds(machine=here, threads=threads, flops=total * 1e9, **rates, region_s=1e-6, date="2026-11-28")

    monkeypatch.setattr(bandwidth, "measure_speeds", speeds)
    monkeypatch.setattr(peak, "fma_peak_gflops", lambda threads: one + each_other * (threads - 1))


def test_doctor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_speeds(monkeypatch, 100.0, 100.0)
    done = call("doctor", "--store", "none", "--no-peak")
    assert not (folder / "none").exists()
    assert "ceiling" not in done.stdout
    done = call("doctor", "--store", "none")
    assert done.exit_code == 0, done.stderr
    names = {line[:16].strip() for line in done.stdout.splitlines()}
    expected = {"apache-tvm", "apache-tvm-ffi", "TVM pair", "machine", "fingerprint", "vector flags", "cores", "store"}
    assert names == {*expected, "ceiling", "bandwidth", "", "parallel loop", "kept"}
    assert "TVM pair         the one autosched is installed with" in done.stdout
    assert Store("none").speeds(this_machine(), available_cores()) is not None


def test_doctor_finds_threads_that_share_a_core(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autosched import cli_doctor

    monkeypatch.setattr(cli_doctor, "available_cores", lambda: 2)
    pretend_speeds(monkeypatch, 101.0, 1.0)
    done = call("doctor", "--store", "none")
    assert done.exit_code == 1
    assert not (folder / "none").exists(), "such speeds are not kept"
    assert "102 GFLOP/s float32 on 2 threads, 101 on one" in done.stdout
    assert "2 threads together are 1.01 times as fast as one; they share cores, or other programs run" in done.stderr
    pretend_speeds(monkeypatch, 100.0, 90.0)
    assert call("doctor", "--store", "none").exit_code == 0


def test_doctor_says_what_is_wrong_and_repairs(spec_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def fail(_: int) -> float:
        raise MeasureError("the workers cannot start")

    with sqlite3.connect(folder / "store" / "cache.db") as database:
        database.execute("UPDATE Cache SET value = 'damaged' WHERE key LIKE 'best/%'")
    database.close()
    monkeypatch.setattr(bandwidth, "measure_speeds", fail)
    done = call("doctor")
    assert done.exit_code == 1
    assert "wrong: ceiling: the workers cannot start" in done.stderr
    assert "autosched doctor --repair removes it" in done.stderr
    assert "repaired" in call("doctor", "--repair", "--no-peak").stdout
    assert call("doctor", "--no-peak").exit_code == 0
    assert call("lookup", "--spec", spec_file).exit_code == 0


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
        (["tune", "gemm", "N=1", "K=1"], "gemm: missing: M; arguments: N, K, M, dtype=float32"),
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
        (["tune"], "nothing to work on; give OP KEY=VALUE..., FILE.py:FUNCTION ARG..., or --spec FILE"),
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


def test_factors_that_do_not_fit_are_named_by_their_place(spec_file: Path) -> None:
    content = json.loads(spec_file.read_text())
    content["schedule"] = {"nests": [{"stage": "C", "splits": [{"axis": "i", "into": ["a", "b"], "factors": [3, 3]}]}]}
    spec_file.write_text(json.dumps(content))
    done = call("check", spec_file)
    assert done.exit_code == 2
    assert "schedule.nests[0].splits[0]" in done.stderr
    assert "(3, 3)" in done.stderr


def test_a_store_that_is_not_writable(folder: Path, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    from autosched.store import folder as store_folder

    monkeypatch.setattr(store_folder, "is_writable", lambda _: False)  # root may write everywhere
    done = call("tune", *GEMM)
    assert done.exit_code == 2
    assert "not writable for this user" in done.stderr
    assert bench.measured == []


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
