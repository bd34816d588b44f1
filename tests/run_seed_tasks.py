"""``make seed-tasks``: the distinct tasks of the suites each have a default schedule that passes the checks.

Of the smaller half, by multiply-adds, the kernel is also built and run, and its outputs are compared with the NumPy
evaluator's: whole, or at sampled points, as a search does. Each outcome stays in a file of build/seed_tasks/, so an
interrupted run goes on where it ended. A process that dies or hangs is an outcome like any other. Exit status 1 where a
task fails.

With SLICE so many tasks of that half are drawn, and what comes of them is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from autosched.nn.registry import get_task
from autosched.nn.suites import NamedTask, all_tasks, named_task
from autosched.spec.errors import AutoschedError
from autosched.spec.flops import flop_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task

RIGHT: Final = "right"
CHECKED: Final = "checked"
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""NumPy's threads: the workers have the cores already."""
STALL_S: Final = 300.0
"""A task that takes so long hangs."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a task: `RIGHT`, `CHECKED` where nothing was to be built, or why not."""

    op: str
    name: str
    said: str
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.said in {RIGHT, CHECKED}


def distinct_tasks() -> list[NamedTask]:
    """Those of equal operator and arguments once, by multiply-adds, else by what is computed."""
    found = {(task.op, task.args): task for task in reversed(all_tasks())}
    return sorted(found.values(), key=lambda task: (_size(task), task.full_name))


def _size(named: NamedTask) -> int:
    try:
        workload = get_task(named.full_name, threads=1).workload
    except AutoschedError:
        return 0  # it comes first and says what is wrong
    return flop_count(workload) or sum(stage.points for stage in workload.stages)


def proven(name: str, is_built: bool) -> str:
    """`RIGHT` or `CHECKED`, or what is wrong with a task's default schedule."""
    from autosched.search.default import default_schedule
    from autosched.spec.check import check_schedule

    try:
        task = get_task(name)
        schedule = default_schedule(task)
        check_schedule(schedule, task)
        if not is_built:
            return CHECKED
        with tempfile.TemporaryDirectory() as folder:
            return _wrong(task, schedule, Path(folder)) or RIGHT
    except AutoschedError as error:
        return f"{type(error).__name__}: {error}"


def _wrong(task: Task, schedule: Schedule, folder: Path) -> str:
    """What is wrong with the outputs of a kernel, run once; nothing where they are right."""
    from autosched.search.buffers import GuardedBuffer
    from autosched.search.reference import Reference, load_inputs, load_outputs
    from autosched.search.worker import build_kernel
    from autosched.spec.tvm_build import set_pool_threads

    set_pool_threads(task.threads)
    Reference(task, folder).write()
    workload = task.workload
    buffers = load_inputs(task, folder)
    for name in workload.outputs:
        buffers[name] = GuardedBuffer(workload.buffers[name])
        buffers[name].erase()
    build_kernel(schedule, task, [buffers[name] for name in workload.params]).call()
    for name, expected in load_outputs(task, folder).items():
        wrong, _ = expected.mismatch(buffers[name].array())
        if wrong is not None:
            return f"wrong numbers: {wrong.text(workload.buffers[name].shape)}"
    return ""


@attrs.frozen(kw_only=True)
class Run:
    """The outcomes of a run in its folder, of tasks by name; `built` are those whose kernels are built too."""

    folder: Path
    names: tuple[str, ...]
    built: frozenset[str]

    @property
    def said_path(self) -> Path:
        """Where the workers read what is to be done."""
        return self.folder / "run.txt"

    def path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.json"

    def place(self, worker: int) -> Path:
        """Where a worker notes what it is at."""
        return self.folder / f"at-{worker}"

    def write(self) -> None:
        self.said_path.write_text("".join(f"{name} {name in self.built:d}\n" for name in self.names))

    def note(self, name: str, said: str, seconds: float = 0.0) -> None:
        outcome = Outcome(op=named_task(name).op, name=name, said=said, seconds=seconds)
        scratch = self.path(name).with_suffix(".part")
        scratch.write_text(json.dumps(attrs.asdict(outcome)))
        scratch.rename(self.path(name))

    def outcomes(self) -> list[Outcome]:
        paths = [path for path in map(self.path, self.names) if path.exists()]
        return [Outcome(**json.loads(path.read_text())) for path in paths]


def work(folder: Path, worker: int, jobs: int) -> None:
    """A worker: does its share of what is not there yet."""
    listed = [line.split() for line in (folder / "run.txt").read_text().splitlines()]
    run = Run(
        folder=folder,
        names=tuple(name for name, _ in listed),
        built=frozenset(name for name, is_built in listed if is_built == "1"),
    )
    for name in run.names[worker::jobs]:
        if run.path(name).exists():
            continue
        run.place(worker).write_text(name)
        begin = time.monotonic()
        said = proven(name, name in run.built)
        run.note(name, said, time.monotonic() - begin)


def prove(run: Run, jobs: int) -> None:
    """Does all that is not there yet, and notes whatever takes its process down; says how far it is."""
    run.write()

    def start(worker: int) -> subprocess.Popen[bytes]:
        run.place(worker).unlink(missing_ok=True)
        words = ["--out", str(run.folder), "--jobs", str(jobs), "--worker", str(worker)]
        return subprocess.Popen([sys.executable, __file__, *words], env={**os.environ, **ONE_THREAD})

    workers = {worker: start(worker) for worker in range(jobs)}
    said_at = time.monotonic()
    while workers:
        time.sleep(0.2)
        for worker, process in list(workers.items()):
            place = run.place(worker)
            hangs = place.exists() and time.time() - place.stat().st_mtime > STALL_S
            if hangs:
                process.kill()
            code = process.wait() if hangs else process.poll()
            if code == 0:
                del workers[worker]
            elif code is not None and not place.exists():
                raise SystemExit(f"a worker ended with status {code} before its first task")
            elif code is not None:
                run.note(place.read_text(), "it hangs" if hangs else f"its process ended with status {code}")
                workers[worker] = start(worker)
        if time.monotonic() - said_at > 30:
            said_at = time.monotonic()
            print(f"{len(run.outcomes())} of {len(run.names)}", file=sys.stderr)


def table(outcomes: Sequence[Outcome]) -> str:
    """How many tasks of each operator came to what."""
    lines = ["| operator | tasks | default schedule checked | of these built, right numbers | failed | seconds |"]
    lines.append("|---|---|---|---|---|---|")
    for op in (*sorted({outcome.op for outcome in outcomes}), "all"):
        mine = [outcome for outcome in outcomes if op in {outcome.op, "all"}]
        right = sum(outcome.said == RIGHT for outcome in mine)
        good = sum(outcome.is_good for outcome in mine)
        seconds = sum(outcome.seconds for outcome in mine)
        lines.append(f"| {op} | {len(mine)} | {good} | {right} | {len(mine) - good} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/seed_tasks"))
    parser.add_argument("--report", type=Path, help="also write the table here")
    parser.add_argument("--slice", type=int, metavar="N", help="only N of the smaller half")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn for the slice")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.out, given.worker, given.jobs)
        return 0
    names = tuple(task.full_name for task in distinct_tasks())
    smaller = names[: len(names) // 2]
    if given.slice is None:
        given.out.mkdir(parents=True, exist_ok=True)
        return run_all(Run(folder=given.out, names=names, built=frozenset(smaller)), given.jobs, given.report)
    drawn = tuple(random.Random(given.seed).sample(smaller, given.slice))
    with tempfile.TemporaryDirectory() as folder:
        return run_all(Run(folder=Path(folder), names=drawn, built=frozenset(drawn)), given.jobs, given.report)


def run_all(run: Run, jobs: int, report: Path | None) -> int:
    """Does a run and says what came of it; the exit status."""
    prove(run, jobs)
    outcomes = run.outcomes()
    print(table(outcomes))
    if report is not None:
        report.write_text(table(outcomes) + "\n")
    failed = [outcome for outcome in outcomes if not outcome.is_good]
    for outcome in failed:
        print(f"{outcome.name}: {' '.join(outcome.said.split())[:300]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
