"""Spec files: a task with its workload, a schedule and claims, in one JSON text that needs nothing else.

    {"format": "autosched/spec", "version": 1, "task": {...}, "schedule": {...}, "claims": [...]}

A file is written in the lowest version of the language that can say it. What is read is checked as a whole, so whoever
holds a `SpecFile` from here can lower it. Reading what was written gives an equal record, and writing that again the
same bytes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

import attrs

from .check import check_schedule
from .check_task import check_task
from .claim import Claim
from .convert import structure, unstructure
from .errors import SpecError
from .json_text import MAX_BYTES, Json, read_json, write_json
from .schedule import Schedule
from .strict_cattrs import described
from .task import Task
from .versions import UPGRADES, VERSION, later_words, version_needed

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


def spec_from_text(text: str | bytes) -> SpecFile:
    """The spec that a file's text says, checked; SpecError, with a path into the file, where it does not say one."""
    version, content = content_from_json(read_json(text))
    spec = structure(content, SpecFile)
    _check_version(spec, version)
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


def _check_version(spec: SpecFile, version: int) -> None:
    """Raises SpecError where a file has words of a later version than it says: an older reader could not read it."""
    for since, place in later_words(spec):
        if since > version:
            raise SpecError(f'found {version}, but {place} is of version {since}; write "version": {since}', "version")


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
    if type(version) is not int or version < 1:
        raise SpecError(f"found {described(version)}; allowed: a whole number from 1 to {VERSION}", "version")
    if version > VERSION:
        reads = f"file is version {version}, this autosched reads up to {VERSION}"
        raise SpecError(f"{reads}; upgrade autosched or ask for a version {VERSION} file", "version")
    content = {key: entry for key, entry in value.items() if key not in ("format", "version")}
    for older in range(version, VERSION):
        content = UPGRADES[older](content)
    return version, content


def load_spec(path: str | Path) -> SpecFile:
    """The spec in a file, checked; SpecError where there is no such file, or where it holds none."""
    return spec_from_text(text_from_file(path))


def text_from_file(path: str | Path) -> bytes:
    """The bytes of a regular file, one more than are read as a spec at most; SpecError where it cannot be read."""
    place = Path(path)
    try:
        with open(place, "rb", opener=_opened_at_once) as file:  # Path.open takes no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpecError(f"{str(path)!r} is a pipe or a device; save what comes from it in a file")
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise SpecError(f"no file {str(path)!r}; check the name and the folder you are in") from error
    except IsADirectoryError as error:
        raise SpecError(f"{str(path)!r} is a folder; name a spec file in it") from error
    except OSError as error:
        raise SpecError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from error


def _opened_at_once(path: str, flags: int) -> int:
    """Opens a file; of a pipe to which nobody writes it would wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def save_spec(spec: SpecFile, path: str | Path) -> None:
    """Writes a spec file, at once or not at all: what stood there before stays until the new text is on disk.

    SpecError where the spec would not load again, or where the file cannot be written.
    """
    check_spec(spec)
    text = text_from_spec(spec)
    place = Path(os.path.realpath(path))  # through links, or the link itself would be replaced
    if place.is_dir():
        raise SpecError(f"{str(path)!r} is a folder; name a file in it")
    draft = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except FileNotFoundError as error:
        raise SpecError(f"no folder {str(place.parent)!r}; make it first") from error
    except OSError as error:
        raise SpecError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()  # gone already where all went well, never there where its folder is none
