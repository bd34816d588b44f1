"""Repair of a database that SQLite cannot read any more: what is whole goes into a new one, the old one is kept."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from .database import MAX_BYTES
from .disk import DamageError
from .entries import Entries, unseal
from .folder import DATABASE, alone, store_error
from .log import log_of
from .pages import INDEX_LEAF, INDEX_NODE, TABLE_LEAF, logged_pages, pages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pages import Pages

_BESIDE: Final = "repaired"
_AT_ONCE: Final = 1000
_COLUMNS: Final = 12
_KEY, _RAW, _VALUE = 1, 2, 11
"""Where diskcache's table has them."""


@attrs.frozen(kw_only=True)
class Salvaged:
    """What became of a damaged database: entries saved, keys of those lost, and where the old file is now.

    Entries whose keys cannot be read any more are not among the lost ones: nobody knows of them.
    """

    saved: int
    lost: tuple[str, ...]
    aside: Path

    @property
    def lines(self) -> tuple[str, ...]:
        """The same for people."""
        first = f"database: {self.saved} entries saved into a new one; the damaged one is kept as {self.aside}"
        return (first, *(f"{key}: is lost" for key in self.lost))


def salvage(folder: Path) -> Salvaged:
    """Puts each entry of the database in `folder` that is whole into a new database, which takes its place.

    What was overwritten or deleted shortly before the damage may come back. StoreError where another process has the
    store open, or there is no space for both.
    """
    try:
        return _salvaged(folder)
    except OSError as error:
        raise store_error(folder, error) from error


def _salvaged(folder: Path) -> Salvaged:
    beside = folder / _BESIDE
    with alone(folder) as file, contextlib.ExitStack() as stack:
        views = [pages_of(file)]
        if log_of(folder).exists():
            log = stack.enter_context(log_of(folder).open("rb"))
            views.append(logged_pages(file, log))  # later, so that what it has goes over what the file has
        shutil.rmtree(beside, ignore_errors=True)
        new = Entries(beside)
        for entries in _portions(_whole_entries(views)):
            with new.transaction():
                for key, sealed in entries:
                    new.write_sealed(key, sealed)
        with new.transaction():
            pass  # a database of no entry is one too
        lost = sorted({key for key in _known_keys(views) if not new.has(key)})
        saved = new.count()
        new.close()
        aside = _swap(folder, beside)
    shutil.rmtree(beside, ignore_errors=True)
    return Salvaged(saved=saved, lost=tuple(lost), aside=aside)


def _whole_entries(views: list[Pages]) -> Iterator[tuple[str, str]]:
    """Key and sealed text of every row that is what the store wrote."""
    for view in views:
        for number in view.numbers:
            for row in view.rows(number, (TABLE_LEAF,), MAX_BYTES):
                if len(row) != _COLUMNS or row[_RAW] != 1:
                    continue
                key, sealed = row[_KEY], row[_VALUE]
                if type(key) is not str or type(sealed) is not str:
                    continue
                with contextlib.suppress(DamageError):
                    unseal(key, sealed)
                    yield key, sealed


def _known_keys(views: list[Pages]) -> Iterator[str]:
    """The keys that the index of keys still has, or rows whose text is damaged."""
    for view in views:
        for number in view.numbers:
            for row in view.rows(number, (INDEX_LEAF, INDEX_NODE), MAX_BYTES):
                if len(row) == 3 and row[1] == 1 and type(row[0]) is str:
                    yield row[0]
            for row in view.rows(number, (TABLE_LEAF,), MAX_BYTES):
                if len(row) == _COLUMNS and row[_RAW] == 1 and type(key := row[_KEY]) is str:
                    yield key


def _portions(entries: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while portion := list(itertools.islice(entries, _AT_ONCE)):
        yield portion


def _swap(folder: Path, beside: Path) -> Path:
    """Puts the new database in the place of the old one, which is kept with its log; where it is."""
    numbers = itertools.count(1)
    aside = next(path for n in numbers if not (path := folder / f"{DATABASE}.damaged-{n}").exists())
    database, log = folder / DATABASE, log_of(folder)
    aside.hardlink_to(database)
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}-wal"))  # or it would be taken for the new database's
    (folder / f"{DATABASE}-shm").unlink(missing_ok=True)
    (beside / DATABASE).replace(database)
    return aside
