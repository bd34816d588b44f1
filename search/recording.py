"""Recordings: what the schedules of a space were measured at on some machine, a line of JSON each.

The first line says what was measured and how; every trial adds a line when it ends, so that whoever kills a recorder
loses the trials under way, and the next one goes on from there. `replay.py` searches a recording without hardware.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import os
import statistics
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import attrs

from ..spec.algorithm import Algorithm
from ..spec.check_task import check_task
from ..spec.claim import Failure, Machine, Protocol
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError
from ..spec.json_text import Json, compact_json, read_json
from ..spec.schedule import Schedule
from ..spec.task import Task
from .default import default_candidate
from .methods import strategy_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .measure import Measurement
    from .space import Candidate, Point, Space
    from .strategy import Outcome
    from .tuner import Bench

T = TypeVar("T")

FORMAT: Final = "autosched/space"
VERSION: Final = 1
BATCH: Final = 8
"""Candidates handed to the bench at a time."""
MOST_BYTES: Final = 2**28
"""Of a recording that is packed, when it is unpacked."""
_GZIP: Final = b"\x1f\x8b"
SOURCES: Final = ("random", "evolutionary", "random", "annealing")
"""Whose turn it is, batch after batch. Half of the trials are drawn at random; a random recording of this size would
hardly hold a good schedule, so a quarter each comes from two strategies that look for them in different ways."""


@attrs.frozen(kw_only=True)
class Heading:
    """What was measured, where and how: the first line."""

    task: Task
    machine: Machine
    protocol: Protocol
    algorithms: tuple[Algorithm, ...] = ()


@attrs.frozen(kw_only=True)
class TimedTrial:
    """A candidate that ran: its samples, and the wall seconds of building and of running it."""

    point: tuple[int, ...]
    schedule: Schedule
    samples_s: tuple[float, ...]
    build_s: float
    run_s: float


@attrs.frozen(kw_only=True)
class FailedTrial:
    """A candidate that could not be built, run, finished or agreed with."""

    point: tuple[int, ...]
    schedule: Schedule
    failure: Failure


Trial: TypeAlias = TimedTrial | FailedTrial


@attrs.frozen(kw_only=True)
class Recording:
    """A heading and its trials, each schedule once, in the order in which they were measured."""

    heading: Heading
    trials: tuple[Trial, ...]


def read_recording(path: str | Path) -> Recording:
    """The recording in a file; SpecError with the line where it holds none. A last line without its end is left out."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise SpecError(f"{str(path)!r} cannot be read: {error.strerror}; check its name and permissions") from error
    lines = _unpacked(text, path).split(b"\n")[:-1]
    if not lines:
        raise SpecError(f'no first line; a recording begins with {{"format":"{FORMAT}","version":{VERSION}')
    heading = _on_line(1, lines[0], _heading)
    trials = [_on_line(number, line, _trial) for number, line in enumerate(lines[1:], start=2)]
    return Recording(heading=heading, trials=tuple({trial.schedule: trial for trial in trials}.values()))


def _unpacked(text: bytes, path: str | Path) -> bytes:
    """What a file holds, which may be packed by gzip: a recording is 1 KB a trial, and a fifteenth of that packed."""
    if not text.startswith(_GZIP):
        return text
    try:
        with gzip.open(io.BytesIO(text)) as file:
            unpacked = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"{str(path)!r} is damaged: {error}; copy it again") from error
    if len(unpacked) > MOST_BYTES:
        raise SpecError(f"{str(path)!r} unpacks to more than {MOST_BYTES} bytes; allowed: as many")
    return unpacked


def _on_line(number: int, line: bytes, read: Callable[[Json], T]) -> T:
    try:
        return read(read_json(line))
    except SpecError as error:
        raise error.under(f"line {number}") from error


def _heading(value: Json) -> Heading:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise SpecError(f'a recording begins with {{"format":"{FORMAT}","version":{VERSION}', "format")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        raise SpecError(f"found {version!r}; this autosched reads {VERSION}: record again, or upgrade", "version")
    heading = structure({key: entry for key, entry in value.items() if key not in ("format", "version")}, Heading)
    check_task(heading.task)
    return heading


def _trial(value: Json) -> Trial:
    if isinstance(value, dict) and "failure" in value:
        return structure(value, FailedTrial)
    trial = structure(value, TimedTrial)
    if not trial.samples_s or min(trial.samples_s) <= 0:
        raise SpecError("no sample, or one that is not above 0; give seconds per call", "samples_s")
    return trial


def record_space(
    space: Space,
    heading: Heading,
    path: str | Path,
    count: int,
    *,
    bench: Bench,
    seed: int = 0,
    watch: Callable[[int, Trial], None] | None = None,
) -> Recording:
    """Measures the default and then what `SOURCES` propose in turn until the file holds `count`, or the whole space.

    Goes on with a file that holds a part. `watch` is told each new trial and its number. SpecError where the file is of
    another task, machine or protocol, or cannot be written.
    """
    place = Path(path)
    trials = {trial.schedule: trial for trial in _known(place, heading)}
    proposals = _Proposals(space, seed)
    candidates = [default_candidate(space)]
    with _appending(place) as write:
        if not place.stat().st_size:
            write({"format": FORMAT, "version": VERSION, **_object(heading)})
        while candidates and len(trials) < count:
            new = [candidate for candidate in candidates if candidate.schedule not in trials]
            points = {candidate.schedule: candidate.point for candidate in new[: count - len(trials)]}
            for schedule, result in bench.measure(points):
                trial = _recorded(points[schedule], schedule, result)
                write(_object(trial))
                trials[schedule] = trial
                if watch is not None:
                    watch(len(trials), trial)
            for candidate in candidates:
                if candidate.schedule in trials:
                    proposals.learn(candidate, outcome_of(trials[candidate.schedule]))
            candidates = proposals.next(BATCH)
    return Recording(heading=heading, trials=tuple(trials.values()))


def outcome_of(trial: Trial) -> Outcome:
    """The median seconds of a trial, or its failure."""
    return trial.failure if isinstance(trial, FailedTrial) else statistics.median(trial.samples_s)


class _Proposals:
    """What the strategies of `SOURCES` propose in turn, each told of all that was measured; the same for a seed."""

    def __init__(self, space: Space, seed: int) -> None:
        self._strategies = {name: strategy_named(name, space, seed) for name in SOURCES}
        self._turns = itertools.cycle(SOURCES)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        for strategy in self._strategies.values():
            strategy.learn(candidate, outcome)

    def next(self, count: int) -> list[Candidate]:
        return self._strategies[next(self._turns)].propose(count)


def _known(place: Path, heading: Heading) -> tuple[Trial, ...]:
    """The trials that a file holds already."""
    if not place.exists() or not place.stat().st_size:
        return ()
    before = read_recording(place)
    asked = (heading.task.identity, attrs.evolve(heading.task, workload=before.heading.task.workload, op=None))
    found = (before.heading.task.identity, attrs.evolve(before.heading.task, op=None))
    for what, old, new in (
        ("task", found, asked),
        ("machine", before.heading.machine, heading.machine),
        ("protocol", before.heading.protocol, heading.protocol),
        ("set of algorithms", before.heading.algorithms, heading.algorithms),
    ):
        if old != new:
            raise SpecError(f"{str(place)!r} was recorded for another {what}; name another file", what)
    return before.trials


@contextlib.contextmanager
def _appending(place: Path) -> Iterator[Callable[[Json], None]]:
    """Adds lines to a file, each on the disk when the call returns; a last line without its end is taken away first."""
    try:
        with place.open("a+b") as file:
            file.seek(0)
            text = file.read()
            if text.startswith(_GZIP):
                raise SpecError(f"{str(place)!r} is packed and nothing can be added to it; unpack it first: gunzip")
            file.truncate(text.rfind(b"\n") + 1)

            def write(value: Json) -> None:
                file.write(compact_json(value).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

            yield write
    except OSError as error:
        raise SpecError(f"{str(place)!r} cannot be written: {error.strerror}") from error


def _recorded(point: Point, schedule: Schedule, result: Measurement | Failure) -> Trial:
    if isinstance(result, Failure):
        return FailedTrial(point=point, schedule=schedule, failure=result)
    return TimedTrial(
        point=point,
        schedule=schedule,
        samples_s=result.samples_s,
        build_s=result.build_s,
        run_s=result.run_s,
    )


def _object(record: object) -> dict[str, Json]:
    value = unstructure(record)
    assert isinstance(value, dict)
    return value
