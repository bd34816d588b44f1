"""Bundles: many records in one file, a line of JSON each, so that they are read one by one and compared by line.

    {"format":"autosched/bundle","version":1}
    {"speeds":{...}}                                what was measured of a machine as a whole
    {"task":{...},"spec":1}                         what follows is about this task
    {"slot":{"machine":{...},"protocol":{...}}}     what follows was measured there, in this way
    {"search":{...}}                                how far the search came
    {"record":{"schedule":{...},"measurements":[...]},"spec":1}

`spec` is the version of the language that a line is written in. Keys are not in it: they are made anew from what is
read. A line that is wrong is left out, with what depends on it, and all others are read.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import attrs

from ..spec.check import check_schedule
from ..spec.check_task import check_task
from ..spec.claim import Machine, Protocol, check_date
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError
from ..spec.files import opened
from ..spec.json_text import MAX_BYTES, compact_json, read_json
from ..spec.outline import outline_from_json
from ..spec.printable import check_text
from ..spec.schedule import Schedule
from ..spec.strict_cattrs import described
from ..spec.task import Task
from ..spec.versions import check_words, upgraded, version_needed
from .records import History, Record, SearchState, check_record, sorted_measurements
from .speeds import Speeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ..spec.json_text import Json
    from ..spec.outline import Outline

Kind = TypeVar("Kind")

FORMAT: Final = "autosched/bundle"
VERSION: Final = 1
HEADER: Final[Json] = {"format": FORMAT, "version": VERSION}

MAX_BUNDLE_BYTES: Final = 512 * 2**20
"""What a bundle may hold; more goes into a folder, where each task has a bundle of its own."""
MAX_FAULTS: Final = 100
"""After so many wrong lines the rest is not read."""


@attrs.frozen(kw_only=True)
class Searched:
    """How far the search for a task came, on a machine under a protocol."""

    task: Task
    machine: Machine
    protocol: Protocol
    state: SearchState


Entry: TypeAlias = Record | Searched | Speeds


@attrs.frozen(kw_only=True)
class Slot:
    """What records of one task must share to be ranked together."""

    machine: Machine
    protocol: Protocol


@attrs.frozen(kw_only=True)
class BundledRecord(History):
    """A schedule, in the names of the task above it, and its history."""

    schedule: Schedule


# --- writing ----------------------------------------------------------------------------------------------------------


def bundle_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """The lines of a bundle, in the order of `entries`, where those of one task, and in it of one slot, are together.

    SpecError where they are more than a bundle holds.
    """
    size = 0
    for line in map(compact_json, _values(entries)):
        size += len(line) + 1
        if size > MAX_BUNDLE_BYTES:
            raise SpecError(f"more than {MAX_BUNDLE_BYTES} bytes, which a bundle may hold; name a folder instead")
        yield f"{line}\n"


def _values(entries: Iterable[Entry]) -> Iterator[Json]:
    task: Task | None = None
    slot: Slot | None = None
    yield HEADER
    for entry in entries:
        if isinstance(entry, Speeds):
            yield {"speeds": unstructure(entry)}
            continue
        if entry.task is not task and entry.task != task:
            yield {"task": unstructure(entry.task), "spec": version_needed(entry.task)}
            slot = None
        task = entry.task
        place = Slot(machine=entry.machine, protocol=entry.protocol)
        if place != slot:
            yield {"slot": unstructure(place)}
        slot = place
        if isinstance(entry, Searched):
            yield {"search": unstructure(entry.state)}
        else:
            bundled = _bundled(entry)
            yield {"record": unstructure(bundled), "spec": version_needed(bundled)}


def _bundled(record: Record) -> BundledRecord:
    return BundledRecord(**{f.name: getattr(record, f.name) for f in attrs.fields(BundledRecord)})


# --- reading ----------------------------------------------------------------------------------------------------------


def is_bundle(path: str | Path) -> bool:
    """True where a file's first line is a bundle's, of whatever version; SpecError where there is no such file."""
    with opened(path) as file:
        line = file.readline(MAX_BYTES + 1)
    try:
        first = read_json(line)
    except SpecError:
        return False
    return isinstance(first, dict) and first.get("format") == FORMAT


def read_bundle(path: str | Path, fault: Callable[[SpecError], None]) -> Iterator[Entry]:
    """The entries of a bundle, in order, each checked as a spec file is; `fault` is told of each line that is wrong.

    SpecError, with the line, where the file as a whole cannot be read: no bundle, a later version, too large, too many
    wrong lines.
    """
    faults = 0
    reader = _Reader()
    for number, line in enumerate(_lines(path), start=1):
        place = f"line {number}"
        try:
            if number == 1:
                _check_header(read_json(line))
                continue
            entry = reader.entry(line)
        except SpecError as error:
            if number == 1:
                raise error.under(place) from error
            faults += 1
            if faults > MAX_FAULTS:
                raise SpecError(f"more than {MAX_FAULTS} lines are wrong; the rest is not read", place) from error
            fault(error.under(place))
        else:
            if entry is not None:
                yield entry


def outlines_in(path: str | Path) -> tuple[Outline, ...]:
    """The outlines of the tasks of a bundle, in order, nothing else of which is read; wrong lines are passed over.

    SpecError where the file as a whole cannot be read.
    """
    found: list[Outline] = []
    for number, line in enumerate(_lines(path), start=1):
        if number == 1:
            _check_header(read_json(line))
        elif b'"task"' in line:
            with contextlib.suppress(SpecError):
                value = read_json(line)
                if isinstance(value, dict) and "task" in value:
                    _, content = upgraded({"task": value["task"]}, value.get("spec", 1))
                    found.append(outline_from_json(content["task"]))
    return tuple(dict.fromkeys(found))


def _lines(path: str | Path) -> Iterator[bytes]:
    size = 0
    with opened(path) as file:
        while line := file.readline(MAX_BYTES + 1):
            size += len(line)
            if size > MAX_BUNDLE_BYTES:
                raise SpecError(f"a bundle of more than {MAX_BUNDLE_BYTES} bytes; at most that many are read")
            yield line
            if len(line) > MAX_BYTES:
                return  # refused as a line, and who knows how long it goes on


def _check_header(value: Json) -> None:
    sample = f"a bundle begins with the line {compact_json(HEADER)}"
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise SpecError(f"found {described(value)}; {sample}")
    version = value.get("version")
    if type(version) is not int or version < 1:
        raise SpecError(f"found {described(version)}; allowed: a whole number from 1 to {VERSION}", "version")
    if version > VERSION:
        reads = f"bundle is version {version}, this autosched reads up to {VERSION}"
        raise SpecError(f"{reads}; upgrade autosched or ask for a version {VERSION} bundle", "version")


class _Reader:
    """Reads lines in turn; of what was refused, that which depends on it is left out without another word."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._slot: Slot | None = None
        self._refused = False
        self._readers: Mapping[str, Callable[[Json, int], Entry | None]] = {
            "task": self._read_task,
            "slot": self._read_slot,
            "search": self._read_search,
            "record": self._read_record,
            "speeds": self._read_speeds,
        }

    def entry(self, line: bytes) -> Entry | None:
        """What a line says; None where it says what the next ones are about. SpecError for a wrong line."""
        value = read_json(line)
        if not isinstance(value, dict):
            raise SpecError(f"found {described(value)}; a line of a bundle is an object")
        version, content = upgraded({k: v for k, v in value.items() if k != "spec"}, value.get("spec", 1))
        (kind, *more) = content or ("",)
        if more or kind not in self._readers:
            found = ", ".join(content) or "nothing"
            raise SpecError(f"found the keys {found}; allowed: one of {', '.join(self._readers)}, and spec")
        try:
            return self._readers[kind](content[kind], version)
        except SpecError as error:
            raise error.under(kind) from error
        except RecursionError as error:
            raise SpecError("expressions nest too deep once stagings are applied; write them flatter", kind) from error

    def _read_task(self, value: Json, version: int) -> Entry | None:
        self._task = self._slot = None
        self._refused = True
        task = _read(value, Task, version)
        check_task(task)
        self._task = task
        self._refused = False
        return None

    def _read_slot(self, value: Json, version: int) -> Entry | None:
        self._slot = None
        if self._task is None:
            return self._missing("task")
        self._refused = True
        self._slot = _read(value, Slot, version)
        self._refused = False
        return None

    def _read_search(self, value: Json, version: int) -> Entry | None:
        if self._task is None or self._slot is None:
            return self._missing("task and slot")
        state = _read(value, SearchState, version)
        check_date(state.date, "date")
        check_text(state.strategy, "strategy")
        check_text(state.space, "space")
        return Searched(task=self._task, machine=self._slot.machine, protocol=self._slot.protocol, state=state)

    def _read_record(self, value: Json, version: int) -> Entry | None:
        if self._task is None or self._slot is None:
            return self._missing("task and slot")
        bundled = _read(value, BundledRecord, version)
        _check_dates(bundled)
        record = Record(
            **{f.name: getattr(bundled, f.name) for f in attrs.fields(BundledRecord)},
            task=self._task, machine=self._slot.machine, protocol=self._slot.protocol,
        )  # fmt: skip
        record = attrs.evolve(record, measurements=sorted_measurements(record.measurements))
        check_record(record)
        check_schedule(record.schedule, record.task)
        return record

    def _read_speeds(self, value: Json, version: int) -> Speeds:
        speeds = _read(value, Speeds, version)
        check_date(speeds.date, "date")
        check_text(speeds.machine, "machine")
        return speeds

    def _missing(self, what: str) -> Entry | None:
        """None where what a line is about was refused; SpecError where nothing above it says what it is about."""
        if self._refused:
            return None
        raise SpecError(f"no {what} above it says what it is about; put the line where it belongs")


def _read(value: Json, cls: type[Kind], version: int) -> Kind:
    found = structure(value, cls)
    check_words(found, version)
    return found


def _check_dates(history: History) -> None:
    for number, measurement in enumerate(history.measurements):
        check_date(measurement.date, f"measurements[{number}].date")
    for name in ("failed", "compared", "slowed"):
        event = getattr(history, name)
        if event is not None:
            check_date(event.date, f"{name}.date")
