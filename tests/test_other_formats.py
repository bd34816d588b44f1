"""Stores to MetaSchedule's databases and FlexTensor's logs to spec files, by function and by command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import autosched as at
from autosched.spec.schedule import Nest, Schedule
from cli_calls import call
from store_cases import gemm, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path

LOG = (
    'gemm_gemm_(64, 32, 48)_llvm(0):[[{"spatial": [[8, 8], [3, 16]], "reduce": [[8, 4]]}], {"inline": [[0]]}]\n'
    "gemm_gemm_(64, 32, 48)_cuda(0):[[{}], {}]\n"
)


def packed() -> Schedule:
    """A schedule that packs a read, as most that a search finds."""
    return Schedule(stagings=tiled().stagings)


def plain(number: int = 1) -> Schedule:
    return Schedule(nests=(Nest(stage="C", unroll_limit=number),))


def fill(folder: Path) -> at.Store:
    store = at.Store(folder / "store")
    store.put(record(timed(0.1), schedule=packed()))
    store.put(record(timed(0.3), schedule=plain()))
    store.put(record(timed(0.2), schedule=plain(2)))
    store.put(record(timed(0.1), task=gemm(extent=32), schedule=plain()))
    store.put(record(timed(0.1), task=gemm(extent=128), schedule=Schedule(stagings=tiled(extent=128).stagings)))
    return store


def test_the_fastest_that_has_a_trace_goes_to_metaschedule(folder: Path) -> None:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    done = at.export_metaschedule(folder / "work", fill(folder))
    assert done.schedules == 2
    (refused,) = done.refused
    assert refused.startswith("task ")
    assert "schedule.stagings[0]: reindex rewrites the computation" in refused
    found = JSONDatabase(work_dir=str(folder / "work"), allow_missing=False).get_all_tuning_records()
    assert sorted(float(tuning.run_secs[0]) for tuning in found) == [0.1, 0.2]


def test_the_command_exports(folder: Path) -> None:
    fill(folder)
    done = call("export", "--format", "metaschedule", "-o", "work")
    assert (done.exit_code, done.stdout) == (0, "work: 2 schedules, 1 refused\n")
    assert len(done.stderr.splitlines()) == 1
    done = call("export", "--format", "metaschedule", "--all", "-o", "work")
    assert done.exit_code == 2
    assert "--all is for spec files" in done.stderr
    done = call("export", "conv2d", "--format", "metaschedule", "-o", "work")
    assert done.exit_code == 2
    assert "nothing to export of conv2d" in done.stderr


def test_the_command_imports_a_log(folder: Path) -> None:
    (folder / "gemm.log").write_text(LOG, encoding="utf-8")
    done = call("import", "--format", "flextensor", "gemm.log", "-o", "specs")
    assert (done.exit_code, done.stdout) == (0, "specs: 1 schedule, 1 refused\n")
    assert done.stderr.startswith("gemm.log:2: gemm_gemm_(64, 32, 48)_cuda(0): key: target 'cuda'")
    (path,) = (folder / "specs").iterdir()
    assert path.name.endswith("-gemm-1.json")
    assert at.load_spec(path).task.op == at.get_task("gemm", N=64, K=32, M=48).op
    assert not (folder / "store").exists(), "a log claims nothing"
    (folder / "bad.log").write_text("nothing\n", encoding="utf-8")
    done = call("import", "--format", "flextensor", "bad.log", "-o", "none", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["schedules"] == 0
    assert not (folder / "none").exists()


def test_a_log_needs_a_folder_and_other_files_none(folder: Path) -> None:
    (folder / "gemm.log").write_text(LOG, encoding="utf-8")
    for words in (["gemm.log", "--format", "flextensor"], ["gemm.log", "-o", "specs"]):
        done = call("import", *words)
        assert done.exit_code == 2
        assert "--format flextensor needs -o DIR" in done.stderr
