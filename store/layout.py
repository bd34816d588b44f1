"""The layout of the database, which is diskcache's: what else stands in a file is refused before diskcache reads it.

diskcache takes settings from the file as attributes and pragmas, and SQLite runs the triggers it finds there. So a file
from elsewhere, or a damaged one, could do what nobody asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from diskcache.core import DEFAULT_SETTINGS, METADATA

from .database import connect
from .folder import DATABASE, broken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


LAYOUT: Final[dict[str, str | None]] = {
    "Settings": "CREATE TABLE Settings ( key TEXT NOT NULL UNIQUE, value)",
    "sqlite_autoindex_Settings_1": None,
    "Cache": (
        "CREATE TABLE Cache ( rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL,"
        " access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0,"
        " filename TEXT, value BLOB)"
    ),
    "Cache_key_raw": "CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
    "Cache_expire_time": "CREATE INDEX Cache_expire_time ON Cache (expire_time)",
    "Settings_count_insert": (
        "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + 1 WHERE key = "count"; END'
    ),
    "Settings_count_delete": (
        "CREATE TRIGGER Settings_count_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value - 1 WHERE key = "count"; END'
    ),
    "Settings_size_insert": (
        "CREATE TRIGGER Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + NEW.size WHERE key = "size"; END'
    ),
    "Settings_size_update": (
        "CREATE TRIGGER Settings_size_update AFTER UPDATE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value + NEW.size - OLD.size WHERE key = "size"; END'
    ),
    "Settings_size_delete": (
        "CREATE TRIGGER Settings_size_delete AFTER DELETE ON Cache FOR EACH ROW BEGIN"
        ' UPDATE Settings SET value = value - OLD.size WHERE key = "size"; END'
    ),
}
"""Name → how it was made, of all that diskcache 5.6 makes."""

SETTINGS: Final = {**DEFAULT_SETTINGS, **METADATA}
"""Name → value of a kind that the setting has."""


def check_layout(folder: Path) -> None:
    """Raises BrokenError where the database has anything that diskcache does not make; what it lacks is made later.

    Nothing of what is there is run: names and texts are compared. sqlite3.Error where it cannot be read.
    """
    if not (folder / DATABASE).exists():
        return
    with contextlib.closing(connect(folder)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        for name, statement in made:
            if name not in LAYOUT or statement != LAYOUT[name]:
                raise broken(folder, f"its part {name!r} is not as the store makes it")
        if not any(name == "Settings" for name, _ in made):
            return
        for name, value in connection.execute("SELECT key, value FROM Settings"):
            if not _is_setting(name, value):
                raise broken(folder, f"it has no setting {name!r} with the value {value!r:.40}")


def _is_setting(name: object, value: object) -> bool:
    if type(name) is not str or name not in SETTINGS:
        return False
    allowed: Iterable[type] = (str,) if type(SETTINGS[name]) is str else (int,)
    return type(value) in allowed and str(value).replace("-", "").isalnum()
