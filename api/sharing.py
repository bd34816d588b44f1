"""Spec files of results: what goes to another machine, and what is claimed of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .result import Result
from .spec.spec_file import SpecFile
from .spec.spec_file import save_spec as save_spec_file
from .store.claims import claims_from_record
from .store.records import Record

if TYPE_CHECKING:
    import os
    from typing import TypeAlias

    Specified: TypeAlias = Result | Record | SpecFile


def spec_from_record(record: Record) -> SpecFile:
    """The spec file's content: task, schedule, and a claim for each session; none of a schedule that fails."""
    return SpecFile(task=record.task, schedule=record.schedule, claims=claims_from_record(record))


def save_spec(result: Specified, path: str | os.PathLike[str]) -> None:
    """Writes the spec file of a result, a record or a `SpecFile`, at once or not at all.

    SpecError where the file cannot be written, or would not load again.
    """
    record = result.record if isinstance(result, Result) else result
    spec = spec_from_record(record) if isinstance(record, Record) else record
    save_spec_file(spec, Path(path))
