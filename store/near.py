"""The entries whose keys differ least from the one that was asked for: what `autosched why` shows of a miss."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Machine
from ..spec.outline import Outline, outline_of
from ..spec.task import Task
from .keys import Difference, differences, key_from_task
from .match import MATCHES, match_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .files import SpecFiles
    from .store import Store

MOST_LOOKED_AT: Final = 5000
"""Tasks of which so much as an outline is read; the first by key where a store holds more."""
MOST_THREADS: Final = 128
"""Numbers of threads with which the same task is looked for."""
_READ: Final = 32
"""Tasks that are read whole: those whose outlines are most alike."""

_WEIGHTS: Final = {"identity_version": 1000, "workload": 100, "target_kind": 50, "target_options": 10}
"""How much a field of a key counts; any other counts 1."""


@attrs.frozen(kw_only=True)
class Near:
    """An entry that answers another question, and in which fields of its key it differs from the one asked."""

    task: Task
    machine: Machine
    match: str
    differences: tuple[Difference, ...]

    @property
    def distance(self) -> int:
        """How much differs: another workload is worst, another machine counts by how near it is."""
        apart = sum(_WEIGHTS.get(difference.field, 1) for difference in self.differences)
        return apart + MATCHES.index(self.match)


def near_in_store(store: Store, task: Task, machine: Machine, most: int) -> tuple[Near, ...]:
    """The nearest entries of a store, nearest first; those of the task itself on that very machine are none.

    What differs in threads, constants or options alone is found in a store of any size; of other tasks not all are
    looked at.
    """
    wanted = outline_of(task)
    outlines = itertools.islice(store.outlines(), MOST_LOOKED_AT)
    alike = sorted((unlikeness(wanted, outline), key) for key, outline in outlines)[:_READ]
    keys = [*_sibling_keys(task, machine), *(key for _, key in alike)]
    tasks = [found for key in dict.fromkeys(keys) if (found := store.task(key)) is not None]
    return nearest(task, machine, ((each, other) for each in tasks for other in store.machines_of(each)), most)


def _sibling_keys(task: Task, machine: Machine) -> Iterator[str]:
    """The task's key, and those of the same workload with other threads, or nothing constant, or no options."""
    ours = key_from_task(task, machine)
    for plain in (ours, attrs.evolve(ours, constants=()), attrs.evolve(ours, target_options=())):
        yield plain.task
        yield from (attrs.evolve(plain, threads=threads).task for threads in range(1, MOST_THREADS + 1))


def near_in_files(files: SpecFiles, task: Task, machine: Machine, most: int) -> tuple[Near, ...]:
    """The nearest claims of a folder of spec files; a file without claims counts as one of this machine."""
    wanted = outline_of(task)
    found = [(unlikeness(wanted, outline), path, outline) for path, outline in files.outlines()]
    alike = sorted(found, key=lambda entry: entry[:2])[:_READ]
    specs = [spec for _, path, outline in alike for spec in files.specs_in(path, outline)]
    entries = [(spec.task, claim.machine) for spec in specs for claim in spec.claims]
    return nearest(task, machine, [*entries, *((spec.task, machine) for spec in specs if not spec.claims)], most)


def nearest(task: Task, machine: Machine, entries: Iterable[tuple[Task, Machine]], most: int) -> tuple[Near, ...]:
    """Of tasks on machines those whose keys differ least from the one asked for, but not that one."""
    ours = key_from_task(task, machine)
    found: dict[str, Near] = {}
    for other, there in entries:
        theirs = key_from_task(other, there)
        if theirs != ours:
            near = Near(
                task=other, machine=there, match=match_of(machine, there), differences=differences(ours, theirs)
            )
            found.setdefault(f"{theirs.task}/{theirs.machine}", near)
    return tuple(near for _, near in sorted(found.items(), key=lambda entry: (entry[1].distance, entry[0]))[:most])


def unlikeness(ours: Outline, theirs: Outline) -> tuple[int, int, int]:
    """How much the outlines of two tasks differ: in what they compute on, in form, in the rest of the request."""
    same_form = ours.stages == theirs.stages and list(map(_form, ours.inputs)) == list(map(_form, theirs.inputs))
    rest = (ours.threads != theirs.threads) + (ours.kind != theirs.kind)
    return int(ours.inputs != theirs.inputs), int(not same_form), rest


def _form(text: str) -> tuple[str, int]:
    """Type and rank of an input: of ``float32 [8, 8]`` float32 and 2."""
    dtype, _, shape = text.partition(" ")
    return dtype, shape.count(",") + (shape != "[]")
