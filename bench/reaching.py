"""When a search knew what: ``python -m autosched.bench.reaching FOLDER THREADS TRIALS SECONDS OP KEY=VALUE…``.

It calls `lookup_or_tune` with an empty store in FOLDER, writes each schedule that was the best so far as a spec file
``best-NUMBER.json`` there, and prints a JSON object: for each of these files the seconds from the call to the moment
when its trial had ended. A fresh process, as a user's: importing TVM is in the time, importing autosched is not.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import get_task, lookup_or_tune
from ..search.progress import TrialEnded
from ..spec.spec_file import SpecFile, save_spec

if TYPE_CHECKING:
    from ..search.progress import Event
    from ..spec.schedule import Schedule
    from ..spec.task import Task


def improvements(task: Task, folder: Path, trials: int, seconds: float) -> dict[str, float]:
    """Spec files of the schedules that were the best so far, by name, with the moment at which each was known."""
    known: list[tuple[float, Schedule]] = []
    best_s = float("inf")
    begin = time.perf_counter()

    def watch(event: Event) -> None:
        nonlocal best_s
        if isinstance(event, TrialEnded) and isinstance(event.outcome, float) and event.outcome < best_s:
            best_s = event.outcome
            known.append((time.perf_counter() - begin, event.schedule))

    lookup_or_tune(task, str(folder / "store"), trials=trials, seconds=seconds, watch=watch)
    moments = {}
    for number, (moment_s, schedule) in enumerate(known):
        name = f"best-{number:02}.json"
        save_spec(SpecFile(task=task, schedule=schedule), folder / name)
        moments[name] = moment_s
    return moments


def main() -> None:
    """Prints what the command line asks for."""
    folder, threads, trials, seconds, op, *words = sys.argv[1:]
    args: dict[str, Any] = {name: int(value) for name, _, value in (word.partition("=") for word in words)}
    task = get_task(op, threads=int(threads), **args)
    found = improvements(task, Path(folder), int(trials), float(seconds))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
