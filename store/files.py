"""A folder of spec files and bundles as a layer: read only, found by content; what a file says is a claim."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.errors import SpecError
from ..spec.json_text import read_json
from ..spec.outline import Outline, outline_from_json, outline_of
from ..spec.rename import schedule_from_canonical, schedule_to_canonical
from ..spec.spec_file import SpecFile, content_from_json, load_spec, text_from_file
from .claims import record_from_claim, spec_from_record
from .keys import machine_key, protocol_key, task_key
from .recent import best_of
from .records import Record, united

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..spec.claim import Machine, Protocol
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .near import Near

logger = logging.getLogger("autosched.store")

MOST_FILES: Final = 10_000
"""Files looked at in one folder; the first by name where there are more."""

MOST_BUNDLE_BYTES: Final = 16 * 2**20
"""A larger bundle is for ``autosched import``: this one is read by every process that looks a task of it up."""


@attrs.define
class _File:
    """What is known of a file since it had this stamp: outlines of its tasks, none where it holds no spec."""

    stamp: tuple[int, int]
    outlines: tuple[Outline, ...]
    is_bundle: bool = False
    specs: Mapping[Outline, Sequence[SpecFile]] | None = None


class SpecFiles:
    """The spec files and bundles of a folder and of those in it, as they are now; no links to folders, no hidden ones.

    Files that hold no spec, and wrong lines of bundles, are logged once and passed over; a folder that is not there is
    empty.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._known: dict[str, _File] = {}

    @classmethod
    @functools.lru_cache(maxsize=16)
    def of(cls, name: str, folder: Path) -> SpecFiles:
        """The layer of a folder, the same one each time: a file that did not change is read once in a process."""
        return cls(name, folder)

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def best(self, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str]) -> Record | None:
        there = (machine_key(machine), protocol_key(protocol))
        claims: dict[Schedule, Record] = {}
        for claim in self._claims(task):
            if (machine_key(claim.machine), protocol_key(claim.protocol)) == there:
                known = claims.get(claim.schedule)
                claims[claim.schedule] = claim if known is None else united(known, claim)
        return best_of(claims.values(), allow)

    def machines(self, task: Task, protocol: Protocol) -> Sequence[Machine]:
        claims = [claim for claim in self._claims(task) if protocol_key(claim.protocol) == protocol_key(protocol)]
        return tuple({machine_key(claim.machine): claim.machine for claim in claims}.values())

    def schedules(self, task: Task) -> tuple[Schedule, ...]:
        """Every schedule that a file has for the task, in its names, also where nothing is claimed of it."""
        return tuple(dict.fromkeys(_in_names_of(task, spec) for spec in self.specs(task)))

    def near(self, task: Task, machine: Machine, most: int) -> Sequence[Near]:
        from .near import near_in_files

        return near_in_files(self, task, machine, most)

    def status(self) -> str:
        kinds = [self._known[path].is_bundle for path in dict.fromkeys(path for path, _ in self.outlines())]
        bundles, files = sum(kinds), len(kinds) - sum(kinds)
        text = f"{files} spec file{'s' * (files != 1)}"
        return f"{text}, {bundles} bundle{'s' * (bundles != 1)}" if bundles else text

    def put(self, record: Record) -> None:
        """Nothing: who writes these files does so on purpose, with ``autosched tune -o`` or ``autosched export``."""

    def specs(self, task: Task) -> Iterator[SpecFile]:
        """The specs of a task, by path; those of one bundle in its order."""
        wanted, key = outline_of(task), task_key(task)
        for path in [path for path, outline in self.outlines() if outline == wanted]:
            yield from (spec for spec in self.specs_in(path, wanted) if task_key(spec.task) == key)

    def outlines(self) -> Iterator[tuple[str, Outline]]:
        """Path and outline of everything that looks like the task of a spec; of a bundle each outline once."""
        for path, stamp in _listed(self.folder):
            known = self._known.get(path)
            if known is None or known.stamp != stamp:
                known = self._known[path] = self._looked_at(path, stamp)
            for outline in known.outlines:
                yield path, outline

    def specs_in(self, path: str, outline: Outline) -> Sequence[SpecFile]:
        """The checked specs of such tasks in one of the files that were listed; what is wrong is logged once."""
        known = self._known[path]
        if known.specs is None:
            known.specs = self._read(path, known)
        return known.specs.get(outline, ())

    def _read(self, path: str, known: _File) -> Mapping[Outline, Sequence[SpecFile]]:
        """The checked specs of a file by their outlines; of one that holds none after all nothing is left."""
        found: dict[Outline, list[SpecFile]] = {}
        try:
            for spec in self._bundled(path) if known.is_bundle else (load_spec(path),):
                found.setdefault(outline_of(spec.task), []).append(spec)
        except SpecError as error:
            known.outlines = ()
            self._warn(path, error)
            return {}
        return found

    def _looked_at(self, path: str, stamp: tuple[int, int]) -> _File:
        try:
            return _glance(path, stamp)
        except SpecError as error:
            self._warn(path, error)
            return _File(stamp, ())

    def _bundled(self, path: str) -> Iterator[SpecFile]:
        """What a bundle says of schedules that are counted, as spec files would."""
        from .bundle import read_bundle

        entries = read_bundle(path, lambda error: self._warn(path, error, "a line of "))
        return (spec_from_record(entry) for entry in entries if isinstance(entry, Record) and entry.counted)

    def _warn(self, path: str, error: SpecError, part: str = "") -> None:
        logger.warning("%s %s: %s%s is passed over: %s", self.name, self.folder, part, Path(path).name, error)

    def _claims(self, task: Task) -> Iterator[Record]:
        """The record of each claim that has a sample, in the names of `task`."""
        for spec in self.specs(task):
            schedule = _in_names_of(task, spec)
            for claim in spec.claims:
                if claim.samples_s and claim.protocol.threads == task.threads:
                    yield record_from_claim(task, schedule, claim)


def _glance(path: str, stamp: tuple[int, int]) -> _File:
    """What a file is, and of which tasks; SpecError where it is neither spec nor bundle, or too large a bundle."""
    try:
        _, content = content_from_json(read_json(text_from_file(path)))
        return _File(stamp, (outline_from_json(content.get("task")),))
    except SpecError:
        from .bundle import is_bundle, outlines_in  # here: few projects have one, and it reads all of a record

        if not is_bundle(path):
            raise
    if stamp[1] > MOST_BUNDLE_BYTES:
        message = f"it has {stamp[1]} bytes, a folder's bundles have {MOST_BUNDLE_BYTES} at most"
        raise SpecError(f"{message}; give it to autosched import")
    return _File(stamp, outlines_in(path), is_bundle=True)


def _in_names_of(task: Task, spec: SpecFile) -> Schedule:
    """The schedule of a spec for an equal task."""
    return schedule_from_canonical(schedule_to_canonical(spec.schedule, spec.task.names), task.names)


def _listed(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    """Path and stamp (time of change, size) of each file that ends in .json or .jsonl, by path."""
    found: list[tuple[str, tuple[int, int]]] = []
    waiting = [str(folder)]
    while waiting and len(found) < MOST_FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
            waiting += [entry.path for entry in reversed(visible) if entry.is_dir(follow_symlinks=False)]
            files = [entry for entry in visible if entry.name.endswith((".json", ".jsonl")) and entry.is_file()]
            found += [(entry.path, (stat.st_mtime_ns, stat.st_size)) for entry in files for stat in (entry.stat(),)]
        except OSError:  # not there, or not for this user
            continue
    return found[:MOST_FILES]
