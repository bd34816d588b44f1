"""Connections to the database that trust nothing it says of itself, and read no more than they must."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Final

from diskcache import Timeout

from .folder import DATABASE, TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path

ERRORS: Final = (sqlite3.Error, Timeout, UnicodeDecodeError)
"""What reading a database raises; the last where SQLite's complaint quotes something that is not UTF-8."""
MAX_BYTES: Final = 32 * 2**20
"""Of a key or an entry: four leaders as long as the longest spec file. SQLite alone would read a gigabyte."""


def bound(connection: sqlite3.Connection) -> sqlite3.Connection:
    """`connection`, which from now on reads no value that is too large, and no view or trigger can use functions."""
    if sys.version_info >= (3, 11):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def connect(folder: Path) -> sqlite3.Connection:
    """A connection for one thread to the database of a store, which is there."""
    connection = sqlite3.connect(folder / DATABASE, timeout=TIMEOUT_S)
    connection.text_factory = _text
    return bound(connection)


def _text(data: bytes) -> str:
    # Damage must not stop a scan: the checksum finds it.
    return data.decode("utf-8", "replace")
