"""From files to the store: what others say comes in as claims, what this store once exported as what it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.errors import SpecError, StoreError
from ..spec.spec_file import load_spec
from .bundle import Searched, is_bundle, read_bundle
from .claims import record_from_claim
from .exporting import FILE_SUFFIXES
from .records import CLAIMED, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..spec.task import Task
    from .bundle import Entry
    from .store import Store

MAX_REFUSED: Final = 10_000
"""So many refusals are kept."""


@attrs.frozen(kw_only=True)
class Refused:
    """A file, or one line of it, that was not taken, and why."""

    path: str
    reason: str

    @property
    def text(self) -> str:
        """In a line; a reason may name the file itself."""
        return self.reason if repr(self.path) in self.reason else f"{self.path}: {self.reason}"


@attrs.frozen(kw_only=True)
class Imported:
    """What came in: so many files that gave something, so many records, and what was refused.

    `left_out` counts what others say that no store takes from them: failures, searches, the speeds of machines.
    """

    files: int
    records: int
    left_out: int
    refused: tuple[Refused, ...]


def import_files(
    store: Store,
    paths: Iterable[str | os.PathLike[str]],
    named: Callable[[Task], Task] = lambda task: task,
    proven: Callable[[Record], object] = lambda _: None,
) -> Imported:
    """Puts what spec files, bundles and folders of them claim into `store`; the bad ones are listed, all others taken.

    Every record is a claim then, whatever the file says: it is served only where nothing was timed here, and failures
    of others keep nobody from trying. `named` gives each task the name it may be shown under; `proven` raises SpecError
    for a record that is not to be believed.
    """

    def take(entry: Entry) -> bool:
        claim = as_claim(entry)
        if claim is None:
            return False
        proven(claim)
        store.put(claim)
        return True

    return _bring_in(paths, named, take)


def rebuild_store(
    store: Store, paths: Iterable[str | os.PathLike[str]], named: Callable[[Task], Task] = lambda task: task
) -> Imported:
    """Puts back what a full export of one's own store holds: origins, failures, searches and speeds are as they were.

    Only for files that one wrote oneself: what they say was measured here is believed.
    """

    def take(entry: Entry) -> bool:
        if isinstance(entry, Record):
            store.put(entry)
        elif isinstance(entry, Searched):
            store.finish_search(entry.task, entry.state, entry.machine, entry.protocol)
        else:
            store.put_speeds(entry)
        return True

    return _bring_in(paths, named, take)


def as_claim(entry: Entry) -> Record | None:
    """What a stranger's entry claims; None where it claims nothing that a store takes from others."""
    if not isinstance(entry, Record) or not entry.counted:
        return None
    claimed = tuple(attrs.evolve(measurement, origin=CLAIMED) for measurement in entry.current)
    return Record(
        task=entry.task, schedule=entry.schedule, machine=entry.machine, protocol=entry.protocol, measurements=claimed
    )


def read_entries(path: str | os.PathLike[str], fault: Callable[[SpecError], None]) -> Iterator[Entry]:
    """The entries of a spec file or a bundle; `fault` is told what is wrong with a part, SpecError is for the whole."""
    if is_bundle(Path(path)):
        yield from read_bundle(Path(path), fault)
        return
    spec = load_spec(Path(path))
    if not spec.claims:
        raise SpecError("claims nothing, so there is nothing to keep; autosched tune --spec times it", "claims")
    # All or none: a file is one thing that one person said.
    records = []
    for number, claim in enumerate(spec.claims):
        try:
            records.append(record_from_claim(spec.task, spec.schedule, claim))
        except SpecError as error:
            raise error.under(f"claims[{number}]") from error
    yield from records


def files_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and below whose names end in .json or .jsonl, sorted.

    No link to a folder is followed, and what begins with a dot is passed over.
    """
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix in FILE_SUFFIXES and not name.startswith("."):
                yield Path(place, name)


def _files_in(paths: Iterable[str | os.PathLike[str]], refused: list[Refused]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = False
        for file in files_in(path):
            found = True
            yield file
        if not found:
            refused.append(Refused(path=str(path), reason=f"holds no file that ends in {' or '.join(FILE_SUFFIXES)}"))


def _bring_in(
    paths: Iterable[str | os.PathLike[str]], named: Callable[[Task], Task], take: Callable[[Entry], bool]
) -> Imported:
    files = records = left_out = 0
    refused: list[Refused] = []
    for path in _files_in(paths, refused):

        def refuse(error: SpecError | StoreError, path: Path = path) -> None:
            if len(refused) < MAX_REFUSED:
                refused.append(Refused(path=str(path), reason=str(error)))

        taken = 0
        try:
            for entry in _named(read_entries(path, refuse), named):
                try:
                    done = take(entry)
                except SpecError as error:
                    refuse(error)
                    continue
                taken += done
                left_out += not done
                records += done and isinstance(entry, Record)
        except SpecError as error:
            refuse(error)
        files += taken > 0
    return Imported(files=files, records=records, left_out=left_out, refused=tuple(refused))


def _named(entries: Iterable[Entry], named: Callable[[Task], Task]) -> Iterator[Entry]:
    """The entries, each with its task as `named` gives it back; asked once for each task of a file."""
    asked: tuple[Task, Task] | None = None
    for entry in entries:
        if not isinstance(entry, Record | Searched):
            yield entry
            continue
        if asked is None or asked[0] is not entry.task:
            asked = entry.task, named(entry.task)
        yield entry if asked[0] is asked[1] else attrs.evolve(entry, task=asked[1])
