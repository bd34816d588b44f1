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

from diskcache import Timeout

from ..spec.errors import SpecError, StoreError
from ..spec.json_text import Json, compact_json
from .disk import DamageError, open_cache, text_of_row
from .folder import DATABASE, TIMEOUT_S, has_store, store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from diskcache import Cache

T = TypeVar("T")

logger = logging.getLogger("autosched.store")

_HEAD: Final = '{"sha256":"'
_MIDDLE: Final = '","entry":'
_DIGITS: Final = 16  # 64 bits: against damage, not against an enemy, who could write a right checksum anyway
_PAGE: Final = 500
_LAST: Final = "\U0010ffff"
"""Comes after whatever a key may go on with."""

FORMAT_KEY: Final = "format"
FORMAT: Final[Json] = {"format": "autosched/store", "version": 1}
"""What the store says of itself; the version is raised when an older autosched could not make sense of the entries."""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def seal(key: str, entry: Json) -> str:
    """The text to store: a JSON object with a checksum over the key and the entry."""
    text = compact_json(entry)
    return f"{_HEAD}{_checksum(key, text)}{_MIDDLE}{text}}}"


def unseal(key: str, sealed: str) -> Json:
    """The entry in a sealed text; DamageError where it is not what was sealed under `key`."""
    begin = len(_HEAD) + _DIGITS
    checksum, text = sealed[len(_HEAD) : begin], sealed[begin + len(_MIDDLE) : -1]
    if sealed != f"{_HEAD}{checksum}{_MIDDLE}{text}}}" or checksum != _checksum(key, text):
        raise DamageError("its checksum is wrong")
    try:
        entry: Json = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DamageError(f"it is not JSON: {error}") from error
    return entry


class Entries:
    """The entries of one folder. Nothing is made on the disk before the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cache: Cache | None = None
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
        select = "SELECT key FROM Cache WHERE key > ? AND key < ? AND raw = 1 AND typeof(key) = 'text' ORDER BY key"
        return [key for (key,) in self._select(select, (prefix, prefix + _LAST))]

    def has(self, key: str) -> bool:
        """True where there is an entry under `key`, whole or damaged."""
        cache = self._opened()
        try:
            return cache is not None and key in cache
        except (sqlite3.Error, Timeout) as error:
            raise store_error(self.folder, error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none; the folder is made where it is absent; other writers wait."""
        cache = self._opened(make=True)
        assert cache is not None
        try:
            with cache.transact():
                if FORMAT_KEY not in cache:
                    cache.set(FORMAT_KEY, seal(FORMAT_KEY, FORMAT))
                yield
        except (sqlite3.Error, Timeout, OSError) as error:
            # diskcache leaves a transaction open whose COMMIT failed; closing rolls it back.
            with contextlib.suppress(sqlite3.Error):
                cache.close()
            raise store_error(self.folder, error) from error

    def write(self, key: str, entry: Json) -> None:
        """Puts an entry, over an older one; inside a transaction only."""
        assert self._cache is not None
        self._cache.set(key, seal(key, entry))
        self._warned.discard(key)

    def delete(self, key: str) -> bool:
        """Removes an entry, damaged or not; True where there was one; inside a transaction only."""
        assert self._cache is not None
        return bool(self._cache.delete(key))

    def close(self) -> None:
        """Closes this thread's connection; the next use opens it again."""
        if self._cache is not None:
            self._cache.close()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Key and reason of each entry that cannot be read, then what SQLite finds wrong, under an empty key."""
        yield from self._damaged("")
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

    def _opened(self, make: bool = False) -> Cache | None:
        # Not `if not self._cache`: a cache has a length, so an empty one is false.
        if self._cache is None and (make or has_store(self.folder)):
            # One cache for all threads: with two, a thread could wait in one for the transaction it holds in the other.
            with self._opening:
                if self._cache is None:
                    self._cache = self._open()
        return self._cache

    def _open(self) -> Cache:
        cache = open_cache(self.folder)
        weakref.finalize(self, cache.close)
        if self._read(cache, FORMAT_KEY, unseal) not in (None, FORMAT):
            raise StoreError(
                f"store {self.folder}: written by another version of autosched, in a format that this one does not "
                f"know; upgrade autosched, or name another folder with --store or AUTOSCHED_STORE"
            )
        return cache

    def _read(self, cache: Cache, key: str, parse: Callable[[str, str], T]) -> T | None:
        try:
            sealed = cache.get(key)
            return None if sealed is None else parse(key, sealed)
        except (DamageError, SpecError) as error:
            self.warn(key, str(error))
            return None
        except (sqlite3.Error, Timeout) as error:
            if "decode" in str(error):  # how sqlite3 calls text that is not UTF-8
                self.warn(key, "it is not UTF-8")
                return None
            raise store_error(self.folder, error) from error

    def _rows(self, prefix: str) -> Iterator[tuple[str, tuple[object, ...]]]:
        # diskcache has no range of keys: this reads its table, whose layout is its file format. Page by page, so that
        # no connection stays open while the caller thinks.
        if self._opened() is None:
            return
        after, end = prefix, prefix + _LAST
        select = (
            "SELECT key, mode, filename, value FROM Cache"
            " WHERE key > ? AND key < ? AND raw = 1 AND typeof(key) = 'text' ORDER BY key LIMIT ?"
        )
        while True:
            rows = self._select(select, (after, end, _PAGE))
            for key, mode, filename, value in rows:
                yield key, (mode, filename, value)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def _select(self, statement: str, arguments: tuple[str | int, ...]) -> list[Any]:
        try:
            with contextlib.closing(sqlite3.connect(self.folder / DATABASE, timeout=TIMEOUT_S)) as connection:
                connection.text_factory = _text
                return connection.execute(statement, arguments).fetchall()
        except sqlite3.Error as error:
            raise store_error(self.folder, error) from error


def _checksum(key: str, text: str) -> str:
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:_DIGITS]


def _text(data: bytes) -> str:
    # Damage must not stop a scan: the checksum finds it.
    return data.decode("utf-8", "replace")
