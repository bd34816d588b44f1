"""How entries lie in diskcache: text under text keys, all of it in the database, never a pickle in either direction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from diskcache import Cache, Disk
from diskcache.core import DEFAULT_SETTINGS, MODE_PICKLE, MODE_RAW

from ..spec.errors import StoreError
from .database import ERRORS, MAX_BYTES, bound
from .folder import TIMEOUT_S, broken, locked, prepare_folder, store_error
from .layout import check_layout
from .log import has_lost_commits

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: Final = {
    **DEFAULT_SETTINGS,  # else diskcache would take from the file what is not named here
    "eviction_policy": "none",  # by default diskcache drops the oldest entries above 1 GiB
    "cull_limit": 0,
    "statistics": 0,  # else every read is a write
    "sqlite_mmap_size": 0,  # a page that cannot be read is an error, not the death of the process
    "sqlite_synchronous": 1,  # what was acknowledged survives the death of the process, not a power cut
}


class DamageError(StoreError):
    """An entry that is not what the store wrote; readers turn it into a warning and a miss."""


class TextDisk(Disk):  # type: ignore[misc] # diskcache has no types
    """Stores text only: diskcache would pickle every other value, and unpickle whatever it finds (CVE-2025-69872)."""

    def put(self, key: object) -> tuple[str, bool]:
        if type(key) is not str:
            raise TypeError(f"a key of the store is a {type(key).__name__}; give text")
        return key, True

    def get(self, key: object, raw: bool) -> str:
        if not raw or type(key) is not str:
            raise DamageError("its key is not text")
        return key

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, str]:  # noqa: ARG002
        """The columns of a row; also long text stays in the database, where transactions cover it."""
        if read or type(value) is not str:
            raise TypeError(f"a value of the store is a {type(value).__name__}; give text")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: int, filename: object, value: object, read: bool) -> str:
        """The text of a row; DamageError for all else, which is never loaded."""
        return text_of_row(mode, filename, None if read else value)

    def remove(self, file_path: object) -> None:
        """Nothing: no entry has a file, and a name that stands in the database must not decide what is deleted."""


class TextCache(Cache):  # type: ignore[misc] # diskcache has no types
    """A diskcache of texts whose rows are read as they are: no time at which they expire hides one."""

    @property
    def _con(self) -> Any:
        connection = super()._con
        if connection is not getattr(self._local, "bounded", None):
            self._local.bounded = bound(connection)
        return connection

    def text(self, key: str) -> str | None:
        """The text under a key, None where there is none.

        DamageError for what is no text of the store's, also where the index of keys beside that key is damaged: what
        it lacks may be there.
        """
        try:
            row = self._sql(_SELECT, (key,)).fetchone()
        except sqlite3.DataError as error:
            raise DamageError(f"it is larger than {MAX_BYTES} bytes") from error
        if row is not None:
            return text_of_row(*row)
        for sides in _NEIGHBOURS:
            for indexed, kept in self._sql(sides, (key,)):
                if indexed != kept:
                    raise DamageError("the index of keys is damaged beside it")
        return None


_SELECT: Final = "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1"
_BEFORE: Final = (
    "SELECT beside.key, Cache.key FROM (SELECT rowid AS place, key FROM Cache INDEXED BY Cache_key_raw"
    " WHERE key < ? ORDER BY key DESC, raw DESC LIMIT 1) AS beside LEFT JOIN Cache ON Cache.rowid = beside.place"
)
_AFTER: Final = _BEFORE.replace("<", ">").replace(" DESC", "")
_NEIGHBOURS: Final = (_BEFORE, _AFTER)
"""The keys before and after one: as the index has them, which finds rows, and as the rows themselves have them."""


def text_of_row(mode: object, filename: object, value: object) -> str:
    """The text of a database row; DamageError where it holds something else."""
    if mode != MODE_RAW or filename is not None or type(value) is not str:
        raise DamageError("it holds a pickle" if mode == MODE_PICKLE else "it does not hold text")
    return value


def open_cache(folder: Path) -> TextCache:
    """The diskcache of a folder, made where it is absent; StoreError where that cannot be, or something else is there.

    diskcache writes its settings whenever it is opened, and two processes that do so at once can fail: hence the lock.
    """
    prepare_folder(folder)
    try:
        with locked(folder):
            if has_lost_commits(folder):
                raise broken(folder, "its log has entries that SQLite would drop")
            check_layout(folder)
            return TextCache(str(folder), timeout=TIMEOUT_S, disk=TextDisk, **SETTINGS)
    except (*ERRORS, OSError) as error:
        raise store_error(folder, error) from error
