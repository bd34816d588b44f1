"""``make pairs``: proves COUNT pairs of a task and a schedule, numbered from 0, on JOBS processes.

Finished chunks stay in build/pairs/, so an interrupted run goes on where it ended and a larger COUNT continues a
smaller one. A process that dies or hangs is an outcome like any other: its batch is repeated pair by pair. Exit status
1 where a promise is broken, 2 where a run of 2000 or more leaves a cell of the table empty.

With SECONDS pairs are proven until the time is up, in a folder of their own that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import attrs

from pair_tally import CRASH, DRAWN, HANG, Defect, Tally, report, tally_from_json

CHUNK: Final = 128
BATCH: Final = 16
"""Pairs built into one module: more save nothing, and a crash costs that many processes."""
DONE: Final = "done"
STALL_S: Final = 300.0
"""A batch that takes so long hangs."""
ENDLESS: Final = 1000
"""Chunks that no run with a time limit gets through."""
ENOUGH: Final = 2000
"""Pairs from which on every cell of the table must be filled."""


@attrs.define
class Run:
    """A run of one seed in its folder, which ends at the time `until_s`, seconds since 1970, if not before."""

    seed: int
    folder: Path
    until_s: float = math.inf

    def chunk_path(self, chunk: int) -> Path:
        return self.folder / f"chunk-{chunk}.json"

    @property
    def lost_path(self) -> Path:
        return self.folder / "lost.json"

    def lost(self) -> dict[str, str]:
        """Pair → crash or hang, for those that took their process with them."""
        return json.loads(self.lost_path.read_text()) if self.lost_path.exists() else {}

    def note_lost(self, number: int, how: str) -> None:
        self.lost_path.write_text(json.dumps({**self.lost(), str(number): how}))


def work(run: Run, chunks: list[int], place: Path) -> None:
    """A worker: does its chunks, and notes at `place` what it is at before each batch."""
    from pair_run import run_batch  # the parent needs neither TVM nor hypothesis

    for chunk in chunks:
        if time.time() > run.until_s:
            return
        tally = Tally()
        lost = run.lost()
        numbers = [n for n in range(chunk * CHUNK, (chunk + 1) * CHUNK) if str(n) not in lost]
        for first in range(0, len(numbers), BATCH):
            if time.time() > run.until_s:
                break
            batch = numbers[first : first + BATCH]
            place.write_text(json.dumps(batch))
            tally.add(run_batch(run.seed, batch))
        scratch = run.chunk_path(chunk).with_suffix(".part")
        scratch.write_text(json.dumps(tally.to_json()))
        scratch.rename(run.chunk_path(chunk))


def start(run: Run, arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--seed", str(run.seed), "--out", str(run.folder.parent), *arguments]
    command += ["--until", str(run.until_s)] if run.until_s < math.inf else []
    return subprocess.Popen(command)


@attrs.define
class Worker:
    """A process at some chunks."""

    run: Run
    name: int
    chunks: list[int]
    process: subprocess.Popen[bytes]

    @property
    def place(self) -> Path:
        return self.run.folder / f"at-{self.name}.json"

    def poll(self) -> str | None:
        """None while it works; then how it ended."""
        code = self.process.poll()
        if code is not None:
            return DONE if code == 0 else CRASH
        if self.place.exists() and time.time() - self.place.stat().st_mtime > STALL_S:
            self.process.kill()
            self.process.wait()
            return HANG
        return None


def start_worker(run: Run, name: int, chunks: list[int]) -> Worker:
    place = run.folder / f"at-{name}.json"
    place.unlink(missing_ok=True)
    return Worker(run, name, chunks, start(run, ["--worker", str(name), "--chunks", ",".join(map(str, chunks))]))


def find_culprits(run: Run, batch: list[int]) -> None:
    """Runs each pair of a batch by itself and notes those that take their process with them."""
    for number in batch:
        process = start(run, ["--single", str(number)])
        try:
            how = "" if process.wait(timeout=STALL_S) == 0 else CRASH
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            how = HANG
        if how:
            run.note_lost(number, how)


def prove(run: Run, chunks: list[int], jobs: int) -> None:
    """Does all chunks that are not there yet."""
    missing = [chunk for chunk in chunks if not run.chunk_path(chunk).exists()]
    workers = [start_worker(run, name, missing[name::jobs]) for name in range(jobs) if missing[name::jobs]]
    while workers:
        time.sleep(0.5)
        for worker in list(workers):
            state = worker.poll()
            if state is None:
                continue
            workers.remove(worker)
            if state == DONE:
                continue
            batch = json.loads(worker.place.read_text()) if worker.place.exists() else []
            before = run.lost()
            find_culprits(run, batch)
            if run.lost() == before:
                raise SystemExit(f"a worker ended by {state} at pairs {batch}, none of which does so alone")
            if time.time() > run.until_s:
                continue
            left = [chunk for chunk in worker.chunks if not run.chunk_path(chunk).exists()]
            workers.append(start_worker(run, worker.name, left))


def total(run: Run, chunks: list[int]) -> Tally:
    tally = Tally()
    for chunk in chunks:
        if run.chunk_path(chunk).exists():
            tally.add(tally_from_json(json.loads(run.chunk_path(chunk).read_text())))
    for number, how in run.lost().items():
        if int(number) // CHUNK in chunks:
            tally.pairs += 1
            tally.count(DRAWN, how, ())
            tally.defects.append(Defect(int(number), DRAWN, how, "", ""))
    return tally


def write_defects(run: Run, tally: Tally) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    for position, defect in enumerate(tally.defects):
        stem = run.folder / f"defect-{defect.number}-{position}"
        stem.with_suffix(".json").write_text(defect.spec)
        stem.with_suffix(".txt").write_text(f"{defect.kind}: {defect.outcome}: {defect.detail}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=ENOUGH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/pairs"))
    parser.add_argument("--report", type=Path, help="write the table here, as docs/pairs.md")
    parser.add_argument("--seconds", type=float, help="prove pairs for so long instead of COUNT of them")
    parser.add_argument("--until", type=float, default=math.inf, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--chunks", default="", help=argparse.SUPPRESS)
    parser.add_argument("--single", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.seconds is not None:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(given.seed, Path(folder) / f"seed-{given.seed}", time.time() + given.seconds)
            return run_all(run, ENDLESS, given.jobs, given.report)
    run = Run(given.seed, given.out / f"seed-{given.seed}", given.until)
    run.folder.mkdir(parents=True, exist_ok=True)
    if given.single is not None:
        from pair_run import run_batch

        run_batch(run.seed, [given.single])
        return 0
    if given.worker is not None:
        work(run, [int(chunk) for chunk in given.chunks.split(",")], run.folder / f"at-{given.worker}.json")
        return 0
    return run_all(run, -(-given.count // CHUNK), given.jobs, given.report)


def run_all(run: Run, chunks: int, jobs: int, place: Path | None) -> int:
    """Proves the pairs of so many chunks and says what came of it; the exit status."""
    run.folder.mkdir(parents=True, exist_ok=True)
    prove(run, list(range(chunks)), jobs)
    tally = total(run, list(range(chunks)))
    text = report(tally, run.seed)
    print(text if run.until_s == math.inf else text.partition("\n| row |")[0])
    if place is not None:
        place.write_text(text)
    return conclude(run, tally)


def conclude(run: Run, tally: Tally) -> int:
    """Keeps and names the defects, then the empty cells; the exit status."""
    write_defects(run if run.until_s == math.inf else Run(run.seed, Path("build/pairs/slice")), tally)
    for defect in tally.defects:
        print(f"pair {defect.number}, {defect.kind}: {defect.outcome}: {' '.join(defect.detail.split())[:300]}")
    if tally.defects:
        print(
            f"{len(tally.defects)} defects; each is a spec file in build/pairs/: keep it in tests/data/counterexamples/"
        )
        return 1
    if run.until_s == math.inf and tally.pairs >= ENOUGH and tally.empty_cells:
        print(f"no pair came to {'; '.join(tally.empty_cells)}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
