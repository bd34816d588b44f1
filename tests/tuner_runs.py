"""Searches on a pretended bench, in the space that all tests of a task share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from autosched.search.budget import Budget
from autosched.search.tuner import Tuned, tune
from autosched.spec.claim import Failure
from pretended_bench import LARGE, PretendedBench
from shared_spaces import shared_default, shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task
    from autosched.store.records import Record
    from autosched.store.store import Store

CRASH = Failure(kind="crash", detail="on purpose")


@functools.cache
def default() -> Schedule:
    """The default schedule of the large task: looked for by the first test that asks."""
    return shared_default(LARGE, MACHINE)


def run(store: Store, bench: PretendedBench, trials: int, task: Task = LARGE, **options: object) -> Tuned:
    budget = Budget(trials=trials, seconds=options.pop("seconds", None))  # type: ignore[arg-type]
    return tune(task, store, budget, machine=MACHINE, space=shared_space(task, MACHINE), bench=bench, **options)  # type: ignore[arg-type]


def records(store: Store, task: Task = LARGE) -> list[Record]:
    return list(store.records(task, MACHINE))
