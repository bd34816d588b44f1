"""``autosched why``, and the options of tune and lookup that say where an answer may come from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import attrs

import autosched as at
from autosched.spec.claim import Tool
from autosched.store import tools as tools_module
from autosched.store.machine import this_machine
from cli_calls import GEMM, call

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pretended_bench import PretendedBench

OTHER = attrs.evolve(this_machine(), cores=999)


def elsewhere(store: str, machine: at.Machine = OTHER, **changes: object) -> None:
    """What the store at "store" knows of GEMM, known of another machine by another store."""
    with at.Store("store") as known, at.Store(store) as other:
        for record in known.records():
            other.put(attrs.evolve(record, machine=machine, **changes))  # type: ignore[arg-type]


def test_a_hit_says_where_it_is_from(spec_file: Path) -> None:
    printed = json.loads(call("lookup", *GEMM, "--json").stdout)
    assert (printed["layer"], printed["match"], printed["drifted"]) == ("user", "exact", [])


def test_drift_is_told(spec_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools_module, "_programs", lambda: (Tool(name="apache-tvm", version="9.9"),))
    printed = json.loads(call("lookup", *GEMM, "--json").stdout)
    assert [(drift["field"], drift["now"]) for drift in printed["drifted"]] == [("apache-tvm", "9.9")]
    assert "taken with other tools: apache-tvm " in call("lookup", *GEMM).stdout
    assert call("lookup", *GEMM, "--drift", "reject").exit_code == 3
    assert json.loads(call("lookup", *GEMM, "--drift", "recheck", "--json").stdout)["origin"] == "claimed"
    assert "drifted: apache-tvm was " in call("why", *GEMM).stdout


def test_other_machines_where_asked(spec_file: Path) -> None:
    elsewhere("other")
    missed = call("lookup", *GEMM, "--store", "other")
    assert missed.exit_code == 3
    assert "autosched why says what is near" in missed.stderr
    done = call("lookup", *GEMM, "--store", "other", "--match", "portable", "--json")
    printed = json.loads(done.stdout)
    assert printed["match"] != "exact"
    assert printed["origin"] == "claimed"
    text = call("lookup", *GEMM, "--store", "other", "--match", "portable").stdout
    assert f"claimed on another machine (match: {printed['match']})" in text


def test_a_projects_file_answers_where_nothing_was_timed(spec_file: Path) -> None:
    assert call("lookup", *GEMM, "--store", "none", "--project", ".").exit_code == 0
    printed = json.loads(call("lookup", *GEMM, "--store", "none", "--project", ".", "--json").stdout)
    assert (printed["layer"], printed["origin"]) == ("project", "claimed")
    wrong = call("lookup", *GEMM, "--project", "nowhere")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "autosched: project 'nowhere': no such folder; make it, or mend --project or AUTOSCHED_PROJECT\n",
    )  # fmt: skip


def test_policies_of_tune(folder: Path, bench: PretendedBench) -> None:
    missed = call("tune", *GEMM, "--policy", "lookup")
    assert (missed.exit_code, missed.stdout) == (3, "")
    assert missed.stderr.startswith("miss: nothing known of task ")
    done = call("tune", *GEMM, "--policy", "lookup-or-default", "--json", "-o", "default.json")
    printed = json.loads(done.stdout)
    assert (printed["source"], printed["origin"], printed["latency_s"]) == ("default", "not measured", None)
    assert at.load_spec("default.json").schedule == at.default_schedule(at.get_task("gemm", N=16, K=8, M=24))
    assert "the model's schedule, which nobody has timed" in call("tune", *GEMM, "--policy", "lookup-or-default").stdout
    assert bench.measured == []
    assert call("tune", *GEMM, "--trials", 3).exit_code == 0
    assert call("tune", *GEMM, "--policy", "lookup").exit_code == 0
    assert call("tune", *GEMM, "--trials", 3, "--policy", "retune").exit_code == 0
    assert len(bench.measured) >= 6
    forgotten = call("tune", *GEMM, "--policy", "forget")
    assert forgotten.exit_code == 0
    assert forgotten.stdout.startswith("forgotten: ")
    assert call("lookup", *GEMM).exit_code == 3


# --- why --------------------------------------------------------------------------------------------------------------


def why(*words: object) -> dict[str, Any]:
    done = call("why", *words, "--json")
    assert done.exit_code == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_why_nothing_is_known(folder: Path) -> None:
    done = call("why", *GEMM, "--threads", 1)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert re.match(r"miss: gemm N=16 K=8 M=24 .* on llvm, 1 thread; key [0-9a-f]{16}$", lines[0])
    assert [line.split()[0] for line in lines[1:5]] == ["project", "user", "server", "shipped"]
    assert lines[2] == f"  user     {folder}/store, 0 tasks: not this task"
    assert lines[5] == "to have it timed here: autosched tune gemm N=16 K=8 M=24 --threads=1"
    assert not (folder / "store").exists()


def test_why_it_hits(spec_file: Path) -> None:
    printed = why(*GEMM)
    assert (printed["hit"], printed["layer"], printed["match"], printed["hint"]) == (True, "user", "exact", None)
    assert call("why", "--spec", spec_file).stdout.startswith("hit in the user layer, match exact: gemm ")


def test_why_other_shapes_threads_and_machines_miss(spec_file: Path) -> None:
    fields = why("gemm", "N=16", "K=8", "M=32")["near"][0]["differences"]
    assert [difference["field"] for difference in fields] == ["workload"]
    text = call("why", "gemm", "N=16", "K=8", "M=32").stdout
    assert "    workload: the same operator with M=24\n" in text

    threads = at.load_spec(spec_file).task.threads
    near = why(*GEMM, "--threads", 7)["near"][0]
    assert near["differences"] == [{"field": "threads", "ours": "7", "theirs": str(threads)}]
    assert near["hit_with"] == f"--threads {threads}"
    assert f"    threads: 7 here, {threads} there\n" in call("why", *GEMM, "--threads", 7).stdout

    elsewhere("other")
    near = why(*GEMM, "--store", "other")["near"][0]
    assert [difference["field"] for difference in near["differences"]] == ["machine"]
    assert call("lookup", *GEMM, "--store", "other", *near["hit_with"].split()).exit_code == 0, "the advice is good"
    assert why(*GEMM, "--store", "other", "--match", "portable")["hit"]
    text = call("why", *GEMM, "--store", "other").stdout
    assert f"    machine.cores: {this_machine().cores} here, 999 there\n" in text
    assert "only on other machines: " in text


def test_why_records_do_not_answer(spec_file: Path) -> None:
    with at.Store("store") as known, at.Store("other") as other:
        for number, record in enumerate(known.records()):
            measured = [attrs.evolve(m, verified=number > 0, accuracy="reduced") for m in record.measurements]
            other.put(attrs.evolve(record, measurements=tuple(measured)))
    printed = why(*GEMM, "--store", "other")
    assert not printed["hit"]
    assert printed["unusable"] == {"never compared with the reference": 1, "of accuracy reduced": number}
    assert "1 record of this task on this machine cannot answer: never compared" in call(
        "why", *GEMM, "--store", "other"
    ).stdout  # fmt: skip


def test_why_tells_of_the_project(spec_file: Path) -> None:
    printed = why("gemm", "N=16", "K=8", "M=32", "--store", "none", "--project", ".")
    assert [layer["layer"] for layer in printed["layers"]] == ["project", "user", "shipped"]
    assert printed["layers"][0]["status"] == "1 spec file"
    assert printed["near"][0]["layer"] == "project"


def test_answers_import_neither_numpy_nor_tvm(spec_file: Path) -> None:
    key = json.loads(call("lookup", *GEMM, "--json").stdout)["key"]
    code = f"""
        import sys
        from autosched.cli import main
        for words in (
            ["lookup", "--key", {key!r}], ["lookup", "--spec", {str(spec_file)!r}, "--json"],
            ["lookup", *{GEMM!r}, "--project", ".", "--match", "portable"], ["why", *{GEMM!r}, "--project", "."],
            ["why", "--spec", {str(spec_file)!r}, "--json"], ["tune", *{GEMM!r}, "--policy", "lookup"],
            ["tune", *{GEMM!r}, "--policy", "forget", "--store", "none"],
        ):
            try:
                main(words)
            except SystemExit as end:
                assert not end.code, (words, end.code)
        heavy = {{"numpy", "tvm", "rich", "torch", "psutil", "subprocess", "lightgbm"}} & set(sys.modules)
        assert not heavy, heavy
    """
    printed_by(code)


def printed_by(code: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lookup_by_operator_reads_no_file_and_no_check(spec_file: Path) -> None:
    code = f"""
        import sys
        from autosched.cli import main
        try:
            main(["lookup", *{GEMM!r}, "--json"])
        except SystemExit as end:
            assert not end.code
        heavy = {{"autosched.spec.check", "autosched.store.files", "autosched.search.space"}} & set(sys.modules)
        assert not heavy, heavy
    """
    assert "latency_s" in printed_by(code)
