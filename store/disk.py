"""How entries lie in diskcache: text under text keys, all of it in the database, never a pickle in either direction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from diskcache import Cache, Disk, Timeout
from diskcache.core import MODE_PICKLE, MODE_RAW

from ..spec.errors import StoreError
from .folder import TIMEOUT_S, locked, prepare_folder, store_error

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: Final = {
    "eviction_policy": "none",  # by default diskcache drops the oldest entries above 1 GiB
    "cull_limit": 0,
    "statistics": 0,  # else every read is a write
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


def text_of_row(mode: object, filename: object, value: object) -> str:
    """The text of a database row; DamageError where it holds something else."""
    if mode != MODE_RAW or filename is not None or type(value) is not str:
        raise DamageError("it holds a pickle" if mode == MODE_PICKLE else "it does not hold text")
    return value


def open_cache(folder: Path) -> Cache:
    """The diskcache of a folder, made where it is absent; StoreError where that cannot be.

    diskcache writes its settings whenever it is opened, and two processes that do so at once can fail: hence the lock.
    """
    prepare_folder(folder)
    try:
        with locked(folder):
            return Cache(str(folder), timeout=TIMEOUT_S, disk=TextDisk, **SETTINGS)
    except (sqlite3.Error, Timeout, OSError) as error:
        raise store_error(folder, error) from error
