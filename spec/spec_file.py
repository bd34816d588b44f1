"""Spec files: a task with its workload, a schedule and claims, in one JSON text that needs nothing else.

    {"format": "autosched/spec", "version": 1, "task": {...}, "schedule": {...}, "claims": [...]}

A file is written in the lowest version of the language that can say it. What is read is checked as a whole, so whoever
holds a `SpecFile` from here can lower it. Reading what was written gives an equal record, and writing that again the
same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .check import check_schedule
from .check_algorithm import check_claimed_accuracy
from .check_task import check_task
from .claim import Claim
from .convert import structure, unstructure
from .errors import SpecError
from .files import opened, write_at_once
from .json_text import MAX_BYTES, Json, read_json, write_json
from .schedule import Schedule
from .strict_cattrs import described
from .task import Task
from .versions import check_words, upgraded, version_needed

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = "autosched/spec"


@attrs.frozen(kw_only=True)
class SpecFile:
    """A schedule for a task, with who measured what."""

    task: Task
    schedule: Schedule
    claims: tuple[Claim, ...] = ()


def check_spec(spec: SpecFile) -> None:
    """Raises SpecError, with a path into the file, unless the task is well formed and the schedule fits it."""
    try:
        check_task(spec.task)
    except SpecError as error:
        raise error.under("task") from error
    check_schedule(spec.schedule, spec.task)
    check_claimed_accuracy(spec.schedule, spec.claims)


def spec_from_text(text: str | bytes) -> SpecFile:
    """The spec that a file's text says, checked; SpecError, with a path into the file, where it does not say one."""
    version, content = content_from_json(read_json(text))
    spec = structure(content, SpecFile)
    check_words(spec, version)
    try:
        check_spec(spec)
    except RecursionError as error:
        raise SpecError("expressions nest too deep once stagings are applied; write them flatter") from error
    return spec


def text_from_spec(spec: SpecFile) -> str:
    """The text of a spec file; `spec_from_text` reads it back to an equal record."""
    content = unstructure(spec)
    assert isinstance(content, dict)
    return write_json({"format": FORMAT, "version": version_needed(spec), **content})


def content_from_json(value: Json) -> tuple[int, dict[str, Json]]:
    """The version of a spec file, and what else it holds, in the form of the latest version."""
    sample = f'a spec file begins with {{"format": "{FORMAT}", "version": 1'
    if not isinstance(value, dict):
        raise SpecError(f"found {described(value)}; {sample}")
    for key in ("format", "version"):
        if key not in value:
            raise SpecError(f"no key {key!r}: {sample}")
    if value["format"] != FORMAT:
        raise SpecError(f"found {described(value['format'])}; {sample}", "format")
    version = value["version"]
    content = {key: entry for key, entry in value.items() if key not in ("format", "version")}
    return upgraded(content, version)


def load_spec(path: str | Path) -> SpecFile:
    """The spec in a file, checked; SpecError where there is no such file, or where it holds none."""
    return spec_from_text(text_from_file(path))


def text_from_file(path: str | Path) -> bytes:
    """The bytes of a regular file, one more than are read as a spec at most; SpecError where it cannot be read."""
    with opened(path) as file:
        return file.read(MAX_BYTES + 1)


def save_spec(spec: SpecFile, path: str | Path) -> None:
    """Writes a spec file, at once or not at all: what stood there before stays until the new text is on disk.

    SpecError where the spec would not load again, or where the file cannot be written.
    """
    check_spec(spec)
    write_at_once(path, (text_from_spec(spec),))
