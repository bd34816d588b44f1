"""Sealed entries: JSON values under text keys, each with a checksum; damage is one warning and a miss."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from diskcache.core import MODE_RAW

from ..spec.errors import SpecError, StoreError
from ..spec.json_text import Json, compact_json
from .database import ERRORS, MAX_BYTES, connect
from .disk import DamageError, open_cache, text_of_row
from .folder import BrokenError, file_of, has_store, store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .disk import TextCache
T = TypeVar("T")

logger = logging.getLogger("autosched.store")

_HEAD: Final = '{"sha256":"'
_MIDDLE: Final = '","entry":'
_DIGITS: Final = 16  # 64 bits: against damage, not against an enemy, who could write a right checksum anyway
_PAGE: Final = 500
_SPARE: Final = 4096
"""Bytes of a row beside its entry: the key and some numbers."""
_LAST: Final = "\U0010ffff"
"""Comes after whatever a key may go on with."""

_KEYS: Final = "SELECT key FROM Cache WHERE key > ? AND key < ? AND raw = 1 AND typeof(key) = 'text' ORDER BY key"
_LIMIT: Final = " LIMIT ?"
_ROWS: Final = _KEYS.replace("SELECT key", "SELECT key, mode, filename, value") + _LIMIT

FORMAT_KEY: Final = "format"
FORMAT: Final[Json] = {"format": "autosched/store", "version": 1}
"""What the store says of itself; the version is raised when an older autosched could not make sense of the entries."""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)
_QUICK_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def seal(key: str, entry: Json) -> str:
    """The text to store: a JSON object with a checksum over the key and the entry."""
    return sealed_text(key, compact_json(entry))


def sealed_text(key: str, text: str) -> str:
    """The same of an entry that is compact JSON already."""
    return f"{_HEAD}{_checksum(key, text)}{_MIDDLE}{text}}}"


def unseal(key: str, sealed: str, *, quick: bool = False) -> Json:
    """The entry in a sealed text; DamageError where it is not what was sealed under `key`.

    `quick`: keys that stand twice in one object, which the store never writes, are not looked for, and the last one
    holds. That saves a third of the time.
    """
    begin = len(_HEAD) + _DIGITS
    is_sealed = sealed.startswith(_HEAD) and sealed.startswith(_MIDDLE, begin) and sealed.endswith("}")
    text = sealed[begin + len(_MIDDLE) : -1]
    if not is_sealed or sealed[len(_HEAD) : begin] != _checksum(key, text):
        raise DamageError("its checksum is wrong")
    try:
        entry: Json = (_QUICK_DECODER if quick else _DECODER).decode(text)
    except (ValueError, RecursionError) as error:
        raise DamageError(f"it is not JSON: {error}") from error
    return entry


class Entries:
    """The entries of one folder. Nothing is made on the disk before the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cache: TextCache | None = None
        self._file: tuple[int, int] | None = None
        self._opening = threading.Lock()
        self._warned: set[str] = set()

    def read(self, key: str, parse: Callable[[Json], T]) -> T | None:
        """The entry under `key` as `parse` understands it; None where there is none, or a damaged one (warned of once).

        `parse` raises SpecError for what it does not understand.
        """
        return self.read_sealed(key, lambda _, sealed: parse(unseal(key, sealed)))

    def read_sealed(self, key: str, parse: Callable[[str, str], T]) -> T | None:
        """Like `read`; `parse` has the key and the sealed text and unseals it itself, or knows the text from before."""
        cache = self._opened()
        return None if cache is None else self._read(cache, key, parse)

    def scan(self, prefix: str, parse: Callable[[Json], T]) -> Iterator[tuple[str, T]]:
        """Keys that begin with `prefix`, sorted, and what `parse` makes of their entries; damage is left out.

        Sees what was committed when each page of entries was read; in a transaction, not its own writes.
        """
        for key, row in self._rows(prefix):
            try:
                value = parse(unseal(key, text_of_row(*row)))
            except (DamageError, SpecError) as error:
                self.warn(key, str(error))
                continue
            yield key, value

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, sorted."""
        if self._opened() is None:
            return []
        return [key for (key,) in self._select(_KEYS, (prefix, prefix + _LAST))]

    def count(self) -> int:
        """How many entries there are."""
        if self._opened() is None:
            return 0
        ((count,),) = self._select("SELECT COUNT(*) FROM Cache", ())
        return int(count)

    def has(self, key: str) -> bool:
        """True where there is an entry under `key`, whole or damaged."""
        cache = self._opened()
        if cache is None:
            return False
        try:
            return cache.text(key) is not None
        except DamageError:
            return True
        except ERRORS as error:
            self._check_undecoded(error)
            return True

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none; the folder is made where it is absent; other writers wait."""
        if self._is_moved():
            self.forget()
        cache = self._opened(make=True)
        assert cache is not None
        try:
            with cache.transact():
                if not self.has(FORMAT_KEY):
                    cache.set(FORMAT_KEY, seal(FORMAT_KEY, FORMAT))
                yield
        except (*ERRORS, OSError) as error:
            # diskcache leaves a transaction open whose COMMIT failed; closing rolls it back.
            with contextlib.suppress(sqlite3.Error):
                cache.close()
            raise store_error(self.folder, error) from error

    def write(self, key: str, entry: Json) -> None:
        """Puts an entry, over an older one; inside a transaction only. StoreError for one too large to be read."""
        self.write_sealed(key, seal(key, entry))

    def write_sealed(self, key: str, sealed: str) -> None:
        """Like `write`, of an entry that is sealed already."""
        assert self._cache is not None
        if len(sealed) > MAX_BYTES - _SPARE:
            raise StoreError(f"store {self.folder}: {key} would take {len(sealed)} bytes; at most {MAX_BYTES} are kept")
        self._cache.set(key, sealed)
        self._warned.discard(key)

    def delete(self, key: str) -> bool:
        """Removes an entry, damaged or not; True where there was one; inside a transaction only."""
        assert self._cache is not None
        return bool(self._cache.delete(key))

    def close(self) -> None:
        """Closes this thread's connection; the next use opens it again."""
        if self._cache is not None:
            self._cache.close()

    def _is_moved(self) -> bool:
        """True where the database that is open is no longer the one in the folder: what went there would be lost."""
        try:
            return self._file is not None and self._file != file_of(self.folder)
        except OSError:
            return True

    def forget(self) -> None:
        """Closes the database for good; the next use opens the one that is in the folder then."""
        with self._opening:
            self.close()
            self._cache = self._file = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Key and reason of each entry that cannot be read; under an empty key, what is wrong with the database."""
        try:
            yield from self._damaged("")
            yield from self._database_problems()
        except BrokenError as error:
            yield "", str(error)

    def _database_problems(self) -> Iterator[tuple[str, str]]:
        if not has_store(self.folder):
            return
        found = self._select("PRAGMA integrity_check", ())
        yield from (("", str(line)) for (line,) in found if line != "ok")
        ((odd,),) = self._select("SELECT COUNT(*) FROM Cache WHERE raw != 1 OR typeof(key) != 'text'", ())
        if odd:
            yield "", f"{odd} entries have keys that the store never writes; they are never read"

    def is_damaged(self, key: str) -> bool:
        """True where there is an entry under `key` and it cannot be read; False where there is none."""
        return any(found == key for found, _ in self._damaged(key[:-1]))

    def _damaged(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Key and reason of each entry that cannot be read and whose key begins with `prefix` and goes on."""
        for key, row in self._rows(prefix):
            try:
                unseal(key, text_of_row(*row))
            except DamageError as error:
                yield key, str(error)

    def warn(self, key: str, reason: str) -> None:
        """Logs, once for each key, that an entry cannot be used."""
        if key not in self._warned:
            self._warned.add(key)
            logger.warning(
                "store %s: entry %s is damaged (%s) and counts as absent; autosched doctor --repair removes it",
                self.folder, key, reason,
            )  # fmt: skip

    def _opened(self, make: bool = False) -> TextCache | None:
        # Not `if not self._cache`: a cache has a length, so an empty one is false.
        if self._cache is None and (make or has_store(self.folder)):
            # One cache for all threads: with two, a thread could wait in one for the transaction it holds in the other.
            with self._opening:
                if self._cache is None:
                    self._cache = self._open()
                    self._file = file_of(self.folder)
        return self._cache

    def _open(self) -> TextCache:
        cache = open_cache(self.folder)
        weakref.finalize(self, cache.close)
        if self._read(cache, FORMAT_KEY, unseal) not in (None, FORMAT):
            raise StoreError(
                f"store {self.folder}: written by another version of autosched, in a format that this one does not "
                f"know; upgrade autosched, or name another folder with --store or AUTOSCHED_STORE"
            )
        return cache

    def _read(self, cache: TextCache, key: str, parse: Callable[[str, str], T]) -> T | None:
        try:
            sealed = cache.text(key)
            return None if sealed is None else parse(key, sealed)
        except (DamageError, SpecError) as error:
            self.warn(key, str(error))
            return None
        except ERRORS as error:
            self._check_undecoded(error)
            self.warn(key, "it is not UTF-8")
            return None

    def _check_undecoded(self, error: Exception) -> None:
        """Raises StoreError for what sqlite3 said, unless it says that a text is not UTF-8."""
        if "Could not decode" not in str(error):
            raise store_error(self.folder, error) from error

    def _rows(self, prefix: str) -> Iterator[tuple[str, tuple[object, ...]]]:
        # diskcache has no range of keys: this reads its table, whose layout is its file format. Page by page, so that
        # no connection stays open while the caller thinks.
        if self._opened() is None:
            return
        after, end = prefix, prefix + _LAST
        while rows := self._page(after, end):
            yield from rows
            if rows[-1][0] <= after:  # or a damaged index would send this round for ever
                raise store_error(self.folder, sqlite3.DatabaseError("malformed: the index of keys is out of order"))
            after = rows[-1][0]

    def _page(self, after: str, end: str) -> list[tuple[str, tuple[object, ...]]]:
        """The next rows between two keys, not more than fit in memory; of one that is too large, only its key."""
        rows: list[tuple[str, tuple[object, ...]]] = []
        size = 0
        with self._connection() as connection:
            try:
                for key, *row in connection.execute(_ROWS, (after, end, _PAGE)):
                    rows.append((key, tuple(row)))
                    size += len(row[-1]) if type(row[-1]) is str else 0
                    if size > MAX_BYTES:
                        break
            except sqlite3.DataError:
                rows = rows or _single_row(connection, after, end)
        return rows

    def _select(self, statement: str, arguments: tuple[str | int, ...]) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement, arguments).fetchall()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection beside diskcache's, which sees what was committed."""
        try:
            with contextlib.closing(connect(self.folder)) as connection:
                yield connection
        except ERRORS as error:
            raise store_error(self.folder, error) from error


def _single_row(connection: sqlite3.Connection, after: str, end: str) -> list[tuple[str, tuple[object, ...]]]:
    """The first row between two keys, or only its key where the row is too large: sqlite3 looks one row ahead."""
    try:
        found = connection.execute(_ROWS, (after, end, 1)).fetchall()
    except sqlite3.DataError:
        found = [(key, MODE_RAW, None, None) for (key,) in connection.execute(_KEYS + _LIMIT, (after, end, 1))]
    return [(key, tuple(row)) for key, *row in found]


def _checksum(key: str, text: str) -> str:
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:_DIGITS]
