"""Looking up and tuning: from a task and a store to a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict

import attrs

from .question import (
    FORGET,
    LOOKUP,
    LOOKUP_OR_DEFAULT,
    LOOKUP_OR_TUNE,
    Question,
    check_policy,
    default_answer,
    result_of,
)
from .search.budget import budget_of
from .search.methods import check_method
from .store.layers import Layers
from .store.machine import this_machine
from .store.match import EXACT
from .store.store import DEFAULT_ALLOW, Store
from .store.tools import TRUST, check_drift

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from typing_extensions import Unpack

    from .result import Answer, Result
    from .search.devices import Devices
    from .search.methods import Method
    from .search.progress import Watch
    from .search.rule import Rule
    from .search.tracker import Remote
    from .spec.claim import Machine
    from .spec.task import Task

Folder: TypeAlias = "str | os.PathLike[str] | None"
StoreLike: TypeAlias = "Store | Folder"


class SearchOptions(TypedDict, total=False):
    """How `lookup_or_tune` searches, where it does."""

    trials: int | None
    seconds: float | None
    early_stopping: bool
    effort: str | None
    method: Method
    seed: int
    rules: Sequence[Rule] | None
    rpc: Remote | None
    watch: Watch | None


def lookup(
    task: Task,
    store: StoreLike = None,
    *,
    machine: Machine | None = None,
    allow: Collection[str] = DEFAULT_ALLOW,
    project: Folder = None,
    server: str | None = None,
    match: str = EXACT,
    drift: str = TRUST,
) -> Result | None:
    """The best that is known of `task` on `machine`; None where nothing is. Never measures.

    `store` is a Store or a folder; None means AUTOSCHED_STORE or ~/.cache/autosched. The machine is this one where none
    is given. `allow` lists the accuracy classes that will do. `project` is a folder of spec files; None leaves it to
    AUTOSCHED_PROJECT or a folder ``autosched-specs`` in the working folder or above it, "" means none. `server` is the
    URL of a shared server (docs/server.md); None leaves it to AUTOSCHED_SERVER, "" means none.

    `match` is the farthest machine whose schedules will do: "exact", "model", "caches", "isa" or "portable"; the result
    has the label that holds. `drift` says what becomes of times that were taken with other tools than today's (a newer
    TVM, another kernel: `Result.drifted`): "trust" serves them, "recheck" serves them as claims, "reject" does not.
    """
    layers = Layers(store=open_store(store), project=project, server=server)
    found = layers.best(task, machine, allow=allow, match=match, drift=drift)
    return None if found is None else result_of(found, drift)


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
    allow: Collection[str] = DEFAULT_ALLOW,
    rpc: Remote | None = None,
    watch: Watch | None = None,
    project: Folder = None,
    server: str | None = None,
    drift: str = TRUST,
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

    Where the task's operator can be computed in other ways, the search chooses among them. `allow` lists the accuracy
    classes that will do: ``allow=("exact", "reassociated", "winograd")`` lets in algorithms that round more.

    With `rpc` it is measured on the devices of a TVM RPC tracker, looked up and stored as theirs:
    ``rpc=Remote("192.168.1.5", 9190, "board")``.

    Whatever the project's files (see `lookup`) say of the task is timed here once, and a search tries first what is
    best on other machines. `drift` says what becomes of an answer whose time was taken with other tools than today's:
    "trust" serves it, "recheck" first times it again beside the default, "reject" searches anew.
    """
    options: SearchOptions = {
        "trials": trials, "seconds": seconds, "early_stopping": early_stopping, "effort": effort, "method": method,
        "seed": seed, "rules": rules, "rpc": rpc, "watch": watch,
    }  # fmt: skip
    layers = Layers(store=open_store(store), project=project, server=server)
    return _tuned(_with_threads(task, threads), layers, LOOKUP_OR_TUNE, drift, options, allow=allow)


def answer(
    task: Task,
    policy: str = LOOKUP_OR_TUNE,
    store: StoreLike = None,
    *,
    threads: int | None = None,
    allow: Collection[str] = DEFAULT_ALLOW,
    project: Folder = None,
    server: str | None = None,
    match: str = EXACT,
    drift: str = TRUST,
    **options: Unpack[SearchOptions],
) -> Answer | None:
    """What `policy` gives for `task`: one call for all ways to ask. None for what is not known.

    "lookup" never measures; "lookup-or-default" gives the model's schedule where nothing is known, which has no times;
    "lookup-or-tune" searches where no search was finished; "retune" searches anew whatever is known; "forget" removes
    all that the store knows of the task, on every machine, and gives None. `options` are those of `lookup_or_tune`,
    which they only matter to, `allow` that of both, and `match` that of `lookup`.
    """
    check_policy(policy)
    task, layers = _with_threads(task, threads), Layers(store=open_store(store), project=project, server=server)
    if unknown := sorted(options.keys() - SearchOptions.__annotations__.keys()):
        raise TypeError(f"unknown option {unknown[0]!r}; allowed: {', '.join(SearchOptions.__annotations__)}")
    if policy == FORGET:
        layers.store.delete_task(task)
        return None
    if policy not in (LOOKUP, LOOKUP_OR_DEFAULT):
        return _tuned(task, layers, policy, drift, options, allow=allow)
    rpc = options.get("rpc")
    machine = this_machine() if rpc is None else devices_of(rpc, options.get("watch")).machine
    found = layers.best(task, machine, allow=allow, match=match, drift=drift)
    if found is None:
        return None if policy == LOOKUP else default_answer(task, layers, machine)
    return result_of(found, drift)


def _tuned(
    task: Task, layers: Layers, policy: str, drift: str, options: SearchOptions, *, allow: Collection[str]
) -> Result:
    budget = budget_of(
        options.get("trials"), options.get("seconds"), options.get("early_stopping", False), options.get("effort")
    )
    method, rpc, watch = options.get("method", "auto"), options.get("rpc"), options.get("watch")
    check_method(method)
    check_drift(drift)
    question = Question(
        task,
        layers,
        budget,
        policy=policy,
        drift=drift,
        rules=options.get("rules"),
        allow=allow,
        devices=None if rpc is None else devices_of(rpc, watch),
    )
    return question.known() or question.search(method=method, seed=options.get("seed", 0), watch=watch)


def devices_of(rpc: Remote, watch: Watch | None) -> Devices:
    """The devices of a tracker; one of them is asked what it is, which takes a second."""
    from .search.devices import find_devices
    from .search.progress import unwatched

    return find_devices(rpc, watch or unwatched)


def open_store(store: StoreLike) -> Store:
    """The store itself, or that of a folder."""
    return store if isinstance(store, Store) else Store(store)


def _with_threads(task: Task, threads: int | None) -> Task:
    return task if threads is None or threads == task.threads else attrs.evolve(task, threads=threads)
