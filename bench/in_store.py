"""Lookups in a large store: ``python -m autosched.bench.in_store STORE SPEC TASKS COUNT`` prints their times as JSON.

A fresh process, which looks up `COUNT` of the first `TASKS` numbered tasks, each once, in any order.
"""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Final

from .. import Store, load_spec, lookup
from .in_process import timed_calls
from .numbered import numbered_task

if TYPE_CHECKING:
    from ..spec.task import Task

SEED: Final = 0


def lookup_times(folder: str, path: str, tasks: int, count: int) -> dict[str, list[float]]:
    """Seconds of hits of tasks whose identity is ``known``, and of ``fresh`` ones; and of lookups that ``missed``."""
    base = load_spec(path).task
    numbers = random.Random(SEED).sample(range(tasks), min(count, tasks))
    known = [numbered_task(base, number) for number in numbers]
    absent = [numbered_task(base, tasks + number) for number in range(min(count, 500))]
    for task in (*known, *absent):
        assert task.identity
    with Store(folder) as store:

        def hit(task: Task) -> None:
            assert lookup(task, store) is not None

        def miss(task: Task) -> None:
            assert lookup(task, store) is None

        hit(numbered_task(base, numbers[0]))  # opens the store
        return {
            "known": timed_calls(hit, known),
            "fresh": timed_calls(hit, [numbered_task(base, number) for number in numbers]),
            "missed": timed_calls(miss, absent),
        }


def main() -> None:
    """Prints the samples of what the command line asks for."""
    folder, path, tasks, count = sys.argv[1:]
    sys.stdout.write(json.dumps(lookup_times(folder, path, int(tasks), int(count))) + "\n")


if __name__ == "__main__":
    main()
