"""Looking up and tuning: from a task and a store to a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from .result import Result
from .search.budget import budget_of
from .search.methods import check_method
from .search.rule import space_name
from .spec.claim import Protocol
from .spec.errors import AutoschedError
from .store.machine import this_machine
from .store.records import CLAIMED
from .store.store import DEFAULT_ALLOW, Store

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from .search.budget import Budget
    from .search.devices import Devices
    from .search.methods import Method
    from .search.progress import Watch
    from .search.rule import Rule
    from .search.tracker import Remote
    from .spec.claim import Failure, Machine
    from .spec.schedule import Schedule
    from .spec.task import Task

StoreLike: TypeAlias = "Store | str | os.PathLike[str] | None"


class NothingMeasuredError(AutoschedError):
    """No schedule of a task could be built, run and verified; `failures` counts them by kind."""

    def __init__(self, failures: tuple[tuple[str, int], ...]) -> None:
        counts = ", ".join(f"{count} {kind}" for kind, count in failures) or "no trial was made"
        super().__init__(f"nothing was measured: {counts}; see the records of the store for each one's reason")
        self.failures = dict(failures)


def lookup(
    task: Task,
    store: StoreLike = None,
    *,
    machine: Machine | None = None,
    allow: Collection[str] = DEFAULT_ALLOW,
) -> Result | None:
    """The best that `store` knows of `task` on `machine`; None where it knows nothing. Never measures.

    `store` is a Store or a folder; None means AUTOSCHED_STORE or ~/.cache/autosched. The machine is this one where none
    is given. `allow` lists the accuracy classes that will do.
    """
    record = open_store(store).best(task, machine, allow=allow)
    return None if record is None else Result(record=record, source="store")


def lookup_or_tune(
    task: Task,
    store: StoreLike = None,
    *,
    trials: int | None = None,
    seconds: float | None = None,
    early_stopping: bool = False,
    effort: str | None = None,
    method: Method = "auto",
    seed: int = 0,
    threads: int | None = None,
    rules: Sequence[Rule] | None = None,
    rpc: Remote | None = None,
    watch: Watch | None = None,
) -> Result:
    """The best schedule of `task` for this machine: from the store if a search was finished before, else by searching.

    `trials`, 64 unless given, is a total: what earlier searches measured counts, and is not measured again. A search
    also ends `seconds` after it began, and the next one goes on from there; with `early_stopping` it ends, after 1024
    trials at most, when half of all trials, at least 24, have not improved on the best by 1 %. Instead of these,
    `effort` is "quick" (16 trials or 10 seconds), "normal" or "full" (early stopping).

    `method` is one of `autosched.search.methods.METHODS`, or a function ``(space, rng)`` that gives a strategy of your
    own (docs/extending.md). `threads` replaces the task's. `rules` make the space instead of
    `autosched.search.rules.RULES`; what other rules' searches tried counts as well. `watch` is told of every trial.
    NothingMeasuredError where every trial failed.

    With `rpc` it is measured on the devices of a TVM RPC tracker, looked up and stored as theirs:
    ``rpc=Remote("192.168.1.5", 9190, "board")``.
    """
    if threads is not None and threads != task.threads:
        task = attrs.evolve(task, threads=threads)
    opened = open_store(store)
    budget = budget_of(trials, seconds, early_stopping, effort)
    check_method(method)
    devices = None if rpc is None else devices_of(rpc, watch)
    found = finished(task, opened, budget, machine=machine_of(devices), rules=rules)
    if found is not None:
        return found
    return searched(task, opened, budget, method=method, seed=seed, rules=rules, watch=watch, devices=devices)


def devices_of(rpc: Remote, watch: Watch | None) -> Devices:
    """The devices of a tracker; one of them is asked what it is, which takes a second."""
    from .search.devices import find_devices
    from .search.progress import unwatched

    return find_devices(rpc, watch or unwatched)


def machine_of(devices: Devices | None) -> Machine | None:
    """The devices' machine; None, which means this one, where there are none."""
    return None if devices is None else devices.machine


def searched(
    task: Task,
    store: Store,
    budget: Budget,
    *,
    method: Method,
    seed: int,
    starts: Sequence[Schedule] = (),
    rules: Sequence[Rule] | None = None,
    watch: Watch | None = None,
    devices: Devices | None = None,
) -> Result:
    """What a search finds, or the next part of one; `starts` are schedules from elsewhere that are tried first."""
    from .search.progress import unwatched
    from .search.tuner import tune

    options: dict[str, Any] = {"method": method, "seed": seed, "starts": starts, "watch": watch or unwatched}
    if devices is not None:
        options |= {"machine": devices.machine, "check": devices.check, "bench": devices.bench}
    if rules is not None:
        from .search.space import Space

        machine = options.get("machine") or this_machine()
        options["space"] = Space(task, machine, rules, store.speeds(machine, task.threads))
    tuned = tune(task, store, budget, **options)
    if tuned.record is None:
        raise NothingMeasuredError(tuned.failures)
    source = "default" if tuned.record.schedule == tuned.default else "search"
    return Result(record=tuned.record, source=source)


def search_failures(task: Task, store: Store, machine: Machine | None = None) -> tuple[Failure, ...]:
    """How each of a task's trials on a machine, this one where none is given, failed that did."""
    records = store.records(task, machine or this_machine(), Protocol(threads=task.threads))
    return tuple(record.failure for record in records if record.failure is not None)


def finished(
    task: Task,
    store: Store,
    budget: Budget,
    starts: Sequence[Schedule] = (),
    machine: Machine | None = None,
    *,
    rules: Sequence[Rule] | None = None,
) -> Result | None:
    """What a search for as many trials in all has found; None where there was none, or it is not that far.

    Also None where one of `starts`, schedules from elsewhere, was never tried here: it may be faster.
    """
    for schedule in starts:
        record = store.get(task, schedule, machine)
        if record is None or record.origin == CLAIMED:
            return None
    state = store.search_state(task, machine)
    if state is None or not state.covers(budget.trials, space_name(rules), budget.early_stopping):
        return None
    return lookup(task, store, machine=machine)


def open_store(store: StoreLike) -> Store:
    """The store itself, or that of a folder."""
    return store if isinstance(store, Store) else Store(store)
