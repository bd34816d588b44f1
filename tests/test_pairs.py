"""`make pairs` itself: the same pairs from a seed, verdicts that tell, rows that are reached, a run that goes on."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from autosched.spec.algorithm import Algorithm
from autosched.spec.check import check_schedule
from autosched.spec.schedule import Schedule
from autosched.spec.spec_file import SpecFile
from autosched.spec.task import Task
from autosched.spec.tvm_lower import lower_plan
from pair_cases import pair
from pair_proof import judge
from pair_rows import ROWS, case_of, rows_of
from pair_run import run_batch
from pair_tally import (
    COLUMNS,
    CORRECT,
    DRAWN,
    MUTANT,
    OTHER_ALGORITHM,
    REFUSED,
    TOO_LARGE,
    WRONG,
    Tally,
    report,
    tally_from_json,
)
from run_pairs import CHUNK, Run, conclude, run_all
from sample_workloads import gemm

if TYPE_CHECKING:
    from autosched.spec.workload import Workload

HERE = Path(__file__).parent


def test_a_pair_is_the_same_every_time_and_needs_no_other() -> None:
    assert pair(1, 7) == pair(1, 7)
    assert pair(1, 7) != pair(1, 8)
    assert pair(1, 7) != pair(2, 7)


def test_pairs_of_a_batch_keep_the_promise() -> None:
    tally = run_batch(0, range(40, 56))
    assert tally.defects == []
    assert tally.number_of(CORRECT, [DRAWN]) == 16
    assert tally.number_of(REFUSED, [DRAWN]) == 0
    assert tally.cpu_s > 0


def test_rows_have_names_of_their_own_and_most_are_reached_soon() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    reached = {name for number in range(150) for name in _rows(number)}
    assert len(reached) >= len(ROWS) - 4


def _rows(number: int) -> tuple[str, ...]:
    drawn = pair(0, number)
    return rows_of(case_of(drawn.task, drawn.legal))


def test_what_is_refused_is_no_defect_and_what_is_large_is_not_run() -> None:
    small, large = (Task(workload=gemm(size, size, size), threads=1) for size in (4, 512))
    fine, huge = (SpecFile(task=task, schedule=Schedule()) for task in (small, large))
    bad = attrs.evolve(fine, task=attrs.evolve(small, threads=0))
    assert [verdict.outcome for verdict in judge([fine, huge, bad])] == [CORRECT, TOO_LARGE, REFUSED]


def product(op: str) -> Workload:
    """A matrix product that takes what `op` says of the products."""
    own = gemm(4, 4, 4)
    (stage,) = own.stages
    assert stage.reducer is not None
    return attrs.evolve(own, stages=(attrs.evolve(stage, reducer=attrs.evolve(stage.reducer, op=op)),))


@pytest.mark.parametrize(
    ("claimed", "compiled", "outcome"),
    [
        (None, "max", WRONG),
        ("sum", "sum", CORRECT),
        ("sum", "max", WRONG),
        ("max", "max", OTHER_ALGORITHM),
        ("max", "min", WRONG),
    ],
)
def test_wrong_numbers_are_seen(
    monkeypatch: pytest.MonkeyPatch, claimed: str | None, compiled: str, outcome: str
) -> None:
    """The code of another workload is what a miscompilation is; an algorithm of another result is the file's lie."""
    lowered = lower_plan(check_schedule(Schedule(), product(compiled))).mod
    monkeypatch.setattr("pair_proof.runnable_module", lambda _plan, _task: lowered)
    algorithm = None if claimed is None else Algorithm(name="claimed", workload=product(claimed))
    (verdict,) = judge(
        [SpecFile(task=Task(workload=product("sum"), threads=1), schedule=Schedule(algorithm=algorithm))]
    )
    assert verdict.outcome == outcome


def test_a_tally_survives_its_file_and_adds_up() -> None:
    tally = Tally(pairs=2, cpu_s=1.5)
    tally.count(DRAWN, CORRECT, ["order"])
    tally.count(MUTANT, REFUSED, ["order", "start"])
    again = tally_from_json(json.loads(json.dumps(tally.to_json())))
    assert again == tally
    again.add(tally)
    assert again.rows["order"] == {"correct": 2, "mutant refused": 2}
    assert again.proven == 2
    assert "order: refused" in again.empty_cells
    assert "| order | 2 | 0 | 0 | 2 |" in report(again, 5).splitlines()


def test_a_run_goes_on_where_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(3, tmp_path / "seed-3")
    run.folder.mkdir()
    done = Tally(pairs=CHUNK, cpu_s=1.0)
    done.count(DRAWN, CORRECT, [row.name for row in ROWS])
    run.chunk_path(0).write_text(json.dumps(done.to_json()))
    assert run_all(run, 1, jobs=2, place=tmp_path / "table.md") == 0
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out


def test_an_empty_cell_fails_a_long_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(pairs=2000)
    run = Run(0, tmp_path)
    assert conclude(run, tally) == 2
    assert "no pair came to" in capsys.readouterr().out
    for row in ROWS:
        tally.rows[row.name] = dict.fromkeys(COLUMNS, 1)  # type: ignore[assignment]
    assert conclude(run, tally) == 0
    assert conclude(attrs.evolve(run, until_s=0.0), Tally(pairs=2000)) == 0
    assert run.until_s == math.inf


CRASHING = """
import os, sys, types
sys.path.insert(0, {folder!r})
from pair_tally import CORRECT, DRAWN, Tally

def run_batch(seed, numbers):
    if 5 in numbers:
        os.kill(os.getpid(), 11)
    tally = Tally(pairs=len(numbers))
    for _ in numbers:
        tally.count(DRAWN, CORRECT, ())
    return tally

sys.modules["pair_run"] = types.SimpleNamespace(run_batch=run_batch)
import run_pairs
run_pairs.__file__ = __file__
if __name__ == "__main__":
    sys.exit(run_pairs.main())
"""


def test_a_pair_that_kills_its_process_is_found_and_the_others_are_done(tmp_path: Path) -> None:
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING.format(folder=str(HERE)))
    command = [sys.executable, str(script), "--count", str(CHUNK), "--jobs", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "pair 5, drawn: crash" in done.stdout
    assert f"| correct | {CHUNK - 1} |" in done.stdout
