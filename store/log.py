"""The write-ahead log that a process leaves beside the database when it is killed: whether all of it will be read.

SQLite reads a log up to the first frame whose checksum is wrong. That is right for what was never committed; but what
stands behind one damaged byte, though committed, would be gone without a word.
The format: https://sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from .folder import DATABASE, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_BYTES: Final = 4096
"""SQLite's own size of a page, which diskcache leaves as it is."""

_HEADER: Final = 32
_FRAME: Final = 24
_AGAIN_S: Final = 0.05
_LONG: Final = 1 << 17
"""Bytes of a log that take as long to read as Linux's list of locks, for which the kernel waits for all cores."""
_ORDERS: Final = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}
"""How a log begins → the order of bytes in its checksums."""


@attrs.frozen
class Frame:
    """A page in the log: its number, where its content begins, and whether a commit ends with it.

    `is_whole`: nothing is damaged up to its end.
    """

    page: int
    place: int
    commits: bool
    is_whole: bool


def log_of(folder: Path) -> Path:
    """The path of the log, which need not be there."""
    return folder / f"{DATABASE}-wal"


def frames(log: BinaryIO) -> Iterator[Frame]:
    """The frames written since the log was last begun anew, damaged ones too; older ones may lie behind them."""
    log.seek(0)
    header = log.read(_HEADER)
    order = _ORDERS.get(header[:4], "<")
    sums = _added((0, 0), header[:24], order) if len(header) == _HEADER else (0, 0)
    is_whole = header[24:] == struct.pack(">2I", *sums)
    salt = header[16:24] if is_whole else b""
    place = _HEADER
    while len(data := log.read(_FRAME + PAGE_BYTES)) == _FRAME + PAGE_BYTES:
        salt = salt or data[8:16]
        is_ours = data[8:16] == salt
        if is_whole:
            sums = _added(sums, data[:8] + data[_FRAME:], order)
            is_whole = is_ours and data[16:24] == struct.pack(">2I", *sums)
        if is_ours:
            page, size = struct.unpack_from(">2I", data)
            yield Frame(page, place + _FRAME, size > 0, is_whole)
        place += len(data)


def has_lost_commits(folder: Path) -> bool:
    """True where the log has a commit behind a damaged frame. False while somebody has the store open.

    He knows how far the log goes, and what lies behind is of no account. The file of the database is not opened for
    this: closing it would let go of all the locks that this process has on it.
    """
    try:
        long = log_of(folder).stat().st_size > _LONG
        if (long and _is_open(folder)) or not _commits_behind_damage(folder) or _is_open(folder):
            return False
        time.sleep(_AGAIN_S)  # where locks are not told, a writer may have been half-way through a frame
        return _commits_behind_damage(folder)
    except FileNotFoundError:
        return False


def _commits_behind_damage(folder: Path) -> bool:
    with log_of(folder).open("rb") as log:
        return any(frame.commits and not frame.is_whole for frame in frames(log))


def _is_open(folder: Path) -> bool:
    """True where some process has a lock on the database, as each has that reads or writes it; Linux says so."""
    _, inode = file_of(folder)
    with contextlib.suppress(OSError):
        return f":{inode} " in Path("/proc/locks").read_text(encoding="ascii")
    return False


def _added(sums: tuple[int, int], data: bytes, order: str) -> tuple[int, int]:
    """SQLite's checksum, gone on with."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word in words:
        first = first + word + second & 0xFFFFFFFF
        second = second + next(words) + first & 0xFFFFFFFF
    return first, second
