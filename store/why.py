"""Why a lookup hits or misses: each layer that is asked, what it says, and which entries are near."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Machine, Protocol
from .layers import Found, Layers
from .match import nearest_first
from .near import Near
from .recent import drifted
from .records import Record
from .tools import Drift

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..spec.task import Task

MOST_NEAR: Final = 5
"""Near entries that are told of."""
_MOST_RECORDS: Final = 10_000
"""Records of the task that are looked at."""


@attrs.frozen(kw_only=True)
class Tried:
    """A layer, what it holds, its record of the task on this very machine, and the others on which it has one."""

    layer: str
    place: str
    status: str
    record: Record | None
    elsewhere: tuple[tuple[str, Machine], ...]


@attrs.frozen(kw_only=True)
class NearIn:
    """A near entry and its layer."""

    layer: str
    near: Near


@attrs.frozen(kw_only=True)
class Why:
    """What a lookup finds, and what it looks at.

    `unusable` counts the store's records of the task on this machine that cannot answer, by reason; `drift` is what has
    changed since the best one was timed.
    """

    found: Found | None
    tried: tuple[Tried, ...]
    near: tuple[NearIn, ...]
    unusable: tuple[tuple[str, int], ...]
    drift: tuple[Drift, ...]


def explained(layers: Layers, task: Task, machine: Machine, allow: Collection[str], *, match: str, drift: str) -> Why:
    """Why `Layers.best` gives what it gives for the same arguments."""
    protocol = Protocol(threads=task.threads)
    found = layers.best(task, machine, protocol, allow, match=match, drift=drift)
    asked = list(layers.all())
    tried = [
        Tried(
            layer=layer.name,
            place=layer.place,
            status=layer.status(),
            record=layer.best(task, machine, protocol, allow),
            elsewhere=tuple(nearest_first(machine, layer.machines(task, protocol))),
        )
        for layer in asked
    ]
    near = [NearIn(layer=layer.name, near=each) for layer in asked for each in layer.near(task, machine, MOST_NEAR)]
    known = next((each.record for each in tried if each.record is not None), None)
    return Why(
        found=found,
        tried=tuple(tried),
        near=tuple(sorted(near, key=lambda each: each.near.distance)[:MOST_NEAR]),
        unusable=_unusable(layers, task, machine, protocol, allow),
        drift=() if known is None else drifted(known),
    )


def _unusable(
    layers: Layers, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str]
) -> tuple[tuple[str, int], ...]:
    """How many of the store's records of the task on the machine do not answer, by reason."""
    records = itertools.islice(layers.store.records(task, machine), _MOST_RECORDS)
    return tuple(sorted(Counter(filter(None, (_reason(record, protocol, allow) for record in records))).items()))


def _reason(record: Record, protocol: Protocol, allow: Collection[str]) -> str:
    """Why a record does not answer; empty where it may."""
    if record.protocol != protocol:
        return "of another protocol"
    if record.failure is not None:
        return f"failed: {record.failure.kind}"
    if record.quarantine is not None:
        return "in quarantine: it got slower"
    if not record.verified:
        return "never compared with the reference"
    return "" if record.accuracy in allow else f"of accuracy {record.accuracy}"
