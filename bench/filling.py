"""A store of as many records as one likes, made of one record: in the store's own forms, but not one put each.

Each task is the first one for another CPU by name, with as many schedules as are wanted, whose own stages have names
of their own, so that no two texts are alike. Written in the order of keys, a database grows at its end; records that
come in any order take several times as long.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.convert import unstructure
from ..spec.json_text import compact_json
from ..spec.rename import schedule_digest
from ..store.entries import Entries, sealed_text
from ..store.keys import key_from_task, machine_key, protocol_key
from ..store.leaders import entry_from_leaders, leader_from_stored, leaders_of
from ..store.stored import stored_from_record
from .numbered import numbered_task, renamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..store.records import Measurement, Record

_AT_ONCE: Final = 2000
_NONE: Final = "0000000"


def fill(folder: Path, record: Record, tasks: int, each: int) -> None:
    """Puts `each` records of each of so many tasks into a new store: what the store would write for them, row by row.

    The schedule of `record` has a nest, whose limit of unrolling tells the schedules of one task apart.
    """
    entries = Entries(folder)
    for portion in _portions(_texts(record, tasks, each)):
        with entries.transaction():
            for key, text in portion:
                entries.write_sealed(key, sealed_text(key, text))
    entries.close()


def _texts(record: Record, tasks: int, each: int) -> Iterator[tuple[str, str]]:
    """Key and text of each entry, in the order of keys."""
    task = numbered_task(record.task, 0)
    schedule = renamed(record.schedule, f"_{_NONE}")
    stored = {}
    for nth in range(each):
        first, *nests = schedule.nests
        limit = attrs.evolve(first, unroll_limit=nth or None)
        variant = attrs.evolve(schedule, nests=(limit, *nests))
        slower = tuple(_slower(measurement, 1 + nth / 100) for measurement in record.measurements)
        made = attrs.evolve(record, task=task, schedule=variant, measurements=slower)
        stored[schedule_digest(variant, task.names)] = stored_from_record(made)
    best = leaders_of(leader_from_stored(found, digest) for digest, found in stored.items())
    best_text = compact_json(entry_from_leaders(best, names=task.names))
    texts = [(digest, compact_json(unstructure(found))) for digest, found in sorted(stored.items())]
    task_text = compact_json(unstructure(task))
    machine, protocol = machine_key(record.machine), protocol_key(record.protocol)
    key = key_from_task(task, record.machine)
    keys = sorted((attrs.evolve(key, target_options=(("mcpu", f"cpu{n:07}"),)).task, f"{n:07}") for n in range(tasks))
    for task_key, number in keys:
        yield f"best/{task_key}/{machine}/{protocol}", best_text.replace(f"_{_NONE}", f"_{number}")
    yield f"machine/{machine}", compact_json(unstructure(record.machine))
    yield f"protocol/{protocol}", compact_json(unstructure(record.protocol))
    for task_key, number in keys:
        for digest, text in texts:
            yield f"record/{task_key}/{machine}/{protocol}/{digest}", text.replace(f"_{_NONE}", f"_{number}")
    for task_key, number in keys:
        yield f"task/{task_key}", task_text.replace(f"cpu{_NONE}", f"cpu{number}")


def _slower(measurement: Measurement, factor: float) -> Measurement:
    return attrs.evolve(measurement, samples_s=tuple(factor * sample for sample in measurement.samples_s))


def _portions(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rows = iter(rows)
    while portion := list(itertools.islice(rows, _AT_ONCE)):
        yield portion
