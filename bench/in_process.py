"""Figures of calls inside one process: ``python -m autosched.bench.in_process lookup STORE SPEC N`` prints JSON.

A fresh process, so that nothing of the suite's own is warm or in the way.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

from .. import Store, Task, load_spec, lookup, lower
from .numbered import numbered_task, renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..store.records import Record


def timed_calls(call: Callable[[Any], object], arguments: Iterable[Any]) -> list[float]:
    """Seconds of each call, one after another."""
    samples = []
    for argument in arguments:
        begin = time.perf_counter()
        call(argument)
        samples.append(time.perf_counter() - begin)
    return samples


def lookup_times(folder: str, path: str, entries: int) -> dict[str, list[float]]:
    """Seconds of hits for the task of a spec file, of which `folder` must have a record.

    ``repeated``: the same task again and again. ``fresh_text``: each time another task, whose record and schedule have
    a text that was never read. ``fresh_task``: as before, with a task whose identity is not known yet.
    """
    spec = load_spec(path)
    with Store(folder) as store:
        record = store.best(spec.task)
        assert record is not None, f"{folder} has no record of the task of {path}"
        tasks = list(_filled(store, record, entries))
    with Store(folder) as store:

        def hit(task: Task) -> None:
            assert lookup(task, store) is not None

        hit(spec.task)  # opens the store
        fresh_task = timed_calls(hit, [attrs.evolve(task) for task in tasks[::2]])
        known = tasks[1::2]
        for task in known:
            assert task.identity  # and so its canonical names
        fresh_text = timed_calls(hit, known)
        repeated = timed_calls(hit, [spec.task] * entries)
    return {"fresh_task": fresh_task, "fresh_text": fresh_text, "repeated": repeated}


def _filled(store: Store, record: Record, entries: int) -> Iterable[Task]:
    """Puts records of so many other tasks into the store: the same for other CPUs by name, stages named anew."""
    for number in range(1000, 1000 + entries):
        task = numbered_task(record.task, number)
        store.put(attrs.evolve(record, task=task, schedule=renamed(record.schedule, f"_{number}")))
        yield task


def lowering_times(path: str, calls: int = 100) -> dict[str, list[float]]:
    """Seconds of lowering a spec to TVM's schedule."""
    spec = load_spec(path)

    def once(_: object) -> None:
        lower(spec.schedule, spec.task)

    timed_calls(once, range(5))
    return {"lower": timed_calls(once, itertools.repeat(None, calls))}


def main() -> None:
    """Prints the samples of what the command line asks for."""
    what, *words = sys.argv[1:]
    found = lookup_times(words[0], words[1], int(words[2])) if what == "lookup" else lowering_times(words[0])
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
