"""The spine's rows about what is known already: whole processes, lookups and lowerings."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from ...spec.errors import MeasureError
from ...store.store import Store
from ..commands import heavy_imports, run_command
from ..report import Row, at_most, spread_row, yes_row
from ..rounds import spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..suite import Ground
    from ..works import Work

_LIMIT_S: Final = 600.0


def command_rows(ground: Ground, work: Work, spec: Path) -> Iterator[Row]:
    """Commands whose answer is known: how long a fresh process takes, and that it neither measures nor imports much."""
    threads = ("--threads", str(ground.options.threads), "--store", ground.store, "--json")
    commands = {
        "tune again": ("tune", *work.words, "--trials", str(ground.options.trials), *threads, "--quiet"),
        "lookup": ("lookup", *work.words, *threads),
        "show FILE": ("show", str(spec)),
        "check FILE": ("check", str(spec)),
    }
    if not _is_finished(ground, work):
        # It would go on with the search, and wait for ever for the lock that is held around it here.
        del commands["tune again"]
        yield yes_row("tune again: from the store", False, f"the search ended before {ground.options.trials} trials")
    measured = _measurements(ground.store, work, ground.options.threads)
    for name, words in commands.items():
        ground.say(f"autosched {words[0]}, {ground.processes} processes")
        run_command(words)  # not timed: it may write Python's caches
        with ground.lock.timing():
            runs = [run_command(words) for _ in range(ground.processes)]
        walls_s = [ran.wall_s for ran in runs]
        yield spread_row(f"{name}: whole process", spread(walls_s), "s", at_most(0.4))
        if "--json" in words:
            yield yes_row(f"{name}: from the store", {ran.json()["source"] for ran in runs} == {"store"})
        heavy = heavy_imports(words)
        yield yes_row(f"{name}: without TVM and NumPy", not heavy, f"imports {', '.join(heavy)}" if heavy else "")
    unchanged = _measurements(ground.store, work, ground.options.threads) == measured
    yield yes_row("known: nothing measured", unchanged, f"{measured} measurements in the store")


def _is_finished(ground: Ground, work: Work) -> bool:
    """True where the search that was asked for has come to its end."""
    with Store(ground.store) as store:
        state = store.search_state(work.task(ground.options.threads))
        return state is not None and state.covers(ground.options.trials)


def _measurements(folder: str, work: Work, threads: int) -> int:
    """How many measurements and failures the store holds of a work."""
    with Store(folder) as store:
        records = store.records(work.task(threads))
        return sum(len(record.measurements) + (record.failed is not None) for record in records)


def in_process_rows(ground: Ground, spec: Path) -> Iterator[Row]:
    """Lookups and lowerings inside a process that has everything imported."""
    ground.say("lookups and lowerings in one process")
    yield from lookup_rows(ground, ground.store, spec)
    lowered = run_module(ground, "in_process", "lower", str(spec))["lower"]
    yield spread_row("lowering", spread([s * 1e3 for s in lowered]), "ms", at_most(5))


def lookup_rows(ground: Ground, store: str, spec: Path) -> Iterator[Row]:
    """Hits in the folder `store`, which has a record of the task of `spec`."""
    found = run_module(ground, "in_process", "lookup", store, str(spec), str(ground.entries))
    for kind, what in (
        ("repeated", "the same task again"),
        ("fresh_text", "each time a text that was never read"),
        ("fresh_task", "a new Task, whose identity is not known yet"),
    ):
        bar = None if kind == "fresh_task" else at_most(150)
        yield spread_row(f"lookup hit, {kind}", spread([s * 1e6 for s in found[kind]]), "us", bar, what)


def run_module(ground: Ground, name: str, *words: str) -> Any:
    """The JSON that a module of `autosched.bench` prints, run in a process of its own while nobody else times."""
    module = f"{__package__.rpartition('.')[0]}.{name}"
    with ground.lock.timing():
        done = subprocess.run(
            [sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True, check=False, timeout=_LIMIT_S
        )
    if done.returncode != 0:
        raise MeasureError(f"timing calls of {words[0]} exited with {done.returncode}; its complaint stands above")
    return json.loads(done.stdout)
