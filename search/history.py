"""What a store already holds of other tasks on this machine: what a new search may begin with, and models learn from.

Bounded, because a search waits for it: 0.2 s in a store of 5,000 records. A task gives its best record and an even
share of the others, in the order of their digests, which is as good as drawn at random and always the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import ACCURACY_CLASSES
from ..spec.expr_text import text_from_expr
from ..spec.schedule import Schedule
from ..spec.task import Task
from ..store.keys import task_key
from .journal import first_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.claim import Machine, Protocol
    from ..store.store import Store

MOST_TASKS: Final = 64
"""Tasks given at most; those computed in the same way come before others."""
MOST_RECORDS: Final = 640
"""Records read at most, beside the best one of each task."""
MOST_LOOKED_AT: Final = 256
"""Tasks among which those are chosen: the first by their keys, where a store holds more."""


@attrs.frozen(kw_only=True)
class PastTask:
    """Another task, and the median seconds of some of its schedules, which are in its names; the fastest first.

    All of them ran on this machine under the same protocol, and had the right output.
    """

    task: Task
    trials: tuple[tuple[Schedule, float], ...]


def history_of(store: Store, machine: Machine, protocol: Protocol, *, but: Task) -> tuple[PastTask, ...]:
    """What `store` holds of tasks for the target of `but`, itself left out; those of its structure first, then by key.

    Tasks of which nothing ran are left out. Damaged entries are skipped with a warning, as everywhere.
    """
    own, structure = task_key(but), structure_of(but)
    found: list[tuple[bool, str, Task, Sequence[str]]] = []
    for key, digests in list(store.digests(machine, protocol, but=own).items())[:MOST_LOOKED_AT]:
        task = store.task(key)
        if task is not None and task.target == but.target:
            found.append((structure_of(task) != structure, key, task, digests))
    chosen = sorted(found, key=lambda entry: entry[:2])[:MOST_TASKS]
    shares = even_shares([len(digests) for _, _, _, digests in chosen], MOST_RECORDS)
    past = []
    for (_, _, task, known), share in zip(chosen, shares, strict=True):
        trials = _trials(store, task, machine, protocol, known[:share])
        if trials:
            past.append(PastTask(task=task, trials=trials))
    return tuple(past)


def structure_of(task: Task) -> str:
    """What a task computes but for names and sizes: others of its structure have other extents and whole numbers."""
    form = task.canonical_workload
    lines = [f"{form.index_dtype} {' '.join(form.params)}"]
    lines += [f"{buffer.name} {buffer.dtype} {len(buffer.shape)}" for buffer in form.inputs]
    for stage in form.stages:
        reducer = stage.reducer.op if stage.reducer else "map"
        dtypes = " ".join(output.dtype for output in stage.outputs)
        lines.append(f"{stage.name} {len(stage.axes)} {len(stage.reduce)} {dtypes} {reducer}")
        lines += [_NUMBER.sub("#", text_from_expr(body)) for body in stage.body]
    return "\n".join(lines)


_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?![\w.])")


def even_shares(counts: Sequence[int], most: int) -> list[int]:
    """How many of each of `counts` to take, `most` in all: as even as can be; others take what few leave over."""
    shares = [0] * len(counts)
    left, waiting = most, sorted(range(len(counts)), key=counts.__getitem__)
    for position, place in enumerate(waiting):
        shares[place] = min(counts[place], left // (len(waiting) - position))
        left -= shares[place]
    return shares


def _trials(
    store: Store, task: Task, machine: Machine, protocol: Protocol, digests: Sequence[str]
) -> tuple[tuple[Schedule, float], ...]:
    best = store.best(task, machine, protocol, allow=ACCURACY_CLASSES)
    records = [*([best] if best is not None else []), *store.records_of(task, machine, protocol, digests)]
    timed: dict[Schedule, float] = {}
    for record in records:
        outcome = first_outcome(record)
        if isinstance(outcome, float):
            timed[record.schedule] = outcome
    return tuple(sorted(timed.items(), key=lambda trial: trial[1]))
