"""What goes to other machines and comes from them: spec files of results, and whole stores in files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .result import Answer
from .spec.spec_file import SpecFile
from .spec.spec_file import save_spec as save_spec_file
from .store.claims import spec_from_record
from .store.exporting import export_store
from .store.importing import import_files, rebuild_store
from .store.merging import merge_files
from .store.records import Record
from .tuning import StoreLike, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from typing import TypeAlias

    from .spec.algorithm import Algorithm
    from .spec.task import Task
    from .store.exporting import Exported
    from .store.importing import Imported
    from .store.merging import Merged

    Specified: TypeAlias = Answer | Record | SpecFile


def save_spec(result: Specified, path: str | os.PathLike[str]) -> None:
    """Writes the spec file of a result, a record or a `SpecFile`, at once or not at all.

    SpecError where the file cannot be written, or would not load again.
    """
    record = result.record if isinstance(result, Answer) else result
    spec = spec_from_record(record) if isinstance(record, Record) else record
    save_spec_file(spec, Path(path))


def export_specs(
    path: str | os.PathLike[str], store: StoreLike = None, *, ops: Collection[str] = (), everything: bool = False
) -> Exported:
    """Writes the best schedules of a store, or `everything` it knows, to a file or a folder; see `export_store`."""
    return export_store(open_store(store), path, ops=ops, everything=everything)


def import_specs(*paths: str | os.PathLike[str], store: StoreLike = None) -> Imported:
    """Puts what spec files, bundles and folders of them say into a store, as claims; what is bad is listed.

    A task whose operator's name contradicts its workload comes in without that name; a schedule whose algorithm
    computes another result than its task, at points where that is tried, does not come in.
    """
    return import_files(open_store(store), paths, honest, check_algorithm_of)


def merge_specs(*paths: str | os.PathLike[str], output: str | os.PathLike[str]) -> Merged:
    """Writes what spec files and bundles say together to a file: each schedule once, with the claims of all."""
    return merge_files(paths, output)


def rebuild(*paths: str | os.PathLike[str], store: StoreLike = None) -> Imported:
    """Puts back what full exports of one's own hold, as it was; see `rebuild_store`."""
    return rebuild_store(open_store(store), paths, honest)


def check_algorithm_of(record: Record) -> None:
    """Raises SpecError where the algorithm of a record's schedule computes another result than its task."""
    if record.schedule.algorithm is not None:
        _check_agrees(record.schedule.algorithm, record.task)


@functools.lru_cache(maxsize=64)
def _check_agrees(algorithm: Algorithm, task: Task) -> None:
    """Remembered: a bundle has many schedules of one algorithm."""
    from .search.agreement import check_agrees

    check_agrees(algorithm, task)


def honest(task: Task) -> Task:
    """The task; without the name of its operator where its workload is another one's."""
    if task.op is None:
        return task

    from .nn.claimed_operator import contradiction

    return task if contradiction(task) is None else attrs.evolve(task, op=None)
