"""What the pages of an SQLite file hold, each on its own: what can be read of a database that SQLite refuses.

The format: https://sqlite.org/fileformat2.html. Pages are read one by one and trees are not followed, so that a damaged
page takes nothing with it but itself. Nothing here is trusted: who reads an entry checks its seal.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from .log import PAGE_BYTES, frames

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE_LEAF: Final = 0x0D
INDEX_LEAF: Final = 0x0A
INDEX_NODE: Final = 0x02

_FILE_HEADER: Final = 100
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Serial type of a column → bytes of the whole number."""

Column = str | int | float | bytes | None


class PageError(ValueError):
    """A page that does not hold what it says."""


@attrs.frozen
class Pages:
    """The pages of a database file, or with a log those that the log has in the place of the file's."""

    file: BinaryIO
    count: int
    """Pages of the file."""
    log: BinaryIO | None = None
    logged: dict[int, int] = attrs.field(factory=dict)
    """Page → where its latest content begins in the log."""

    @property
    def numbers(self) -> Iterator[int]:
        """The number of each page that there is."""
        yield from range(1, self.count + 1)
        yield from (number for number in self.logged if number > self.count)

    def page(self, number: int) -> bytes:
        """A page by its number, from 1; PageError where there is none."""
        file, place = self.file, (number - 1) * PAGE_BYTES
        if self.log is not None and number in self.logged:
            file, place = self.log, self.logged[number]
        if number < 1:
            raise PageError(f"there is no page {number}")
        file.seek(place)
        found = file.read(PAGE_BYTES)
        if len(found) != PAGE_BYTES:
            raise PageError(f"page {number} is cut short")
        return found

    def rows(self, number: int, kinds: tuple[int, ...], longest: int) -> Iterator[tuple[Column, ...]]:
        """The columns of each row, or entry of an index, on a page of one of `kinds`; what cannot be read is left out.

        A row of more than `longest` bytes is not read.
        """
        try:
            page = self.page(number)
        except PageError:
            return
        begin = _FILE_HEADER if number == 1 else 0
        kind = page[begin]
        if kind not in kinds:
            return
        (cells,) = struct.unpack_from(">H", page, begin + 3)
        head = begin + (12 if kind == INDEX_NODE else 8)
        for cell in range(min(cells, (PAGE_BYTES - head) // 2)):
            (place,) = struct.unpack_from(">H", page, head + 2 * cell)
            try:
                yield columns(self._payload(page, kind, place, longest))
            except (PageError, IndexError, struct.error, UnicodeDecodeError):
                continue

    def _payload(self, page: bytes, kind: int, place: int, longest: int) -> bytes:
        """The bytes of a row that begins on a page, with those on pages of overflow."""
        if kind == INDEX_NODE:
            place += 4
        size, place = varint(page, place)
        if kind == TABLE_LEAF:
            _, place = varint(page, place)
        if size > longest:
            raise PageError(f"a row of {size} bytes")
        local = local_bytes(size, kind)
        found = bytearray(page[place : place + local])
        if size > local:
            (following,) = struct.unpack_from(">I", page, place + local)
            while len(found) < size:
                overflow = self.page(following)
                (following,) = struct.unpack_from(">I", overflow)
                found += overflow[4 : 4 + size - len(found)]
        if len(found) != size:
            raise PageError("a row is cut short")
        return bytes(found)


def local_bytes(size: int, kind: int) -> int:
    """How many of a row's bytes stand on its own page."""
    most = PAGE_BYTES - 35 if kind == TABLE_LEAF else (PAGE_BYTES - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    left = least + (size - least) % (PAGE_BYTES - 4)
    return left if left <= most else least


def varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for count in range(8):
        byte = data[place + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + count + 1
    return value << 8 | data[place + 8], place + 9


def columns(payload: bytes) -> tuple[Column, ...]:
    """The values of a row."""
    end, place = varint(payload, 0)
    found, body = [], end
    while place < end:
        kind, place = varint(payload, place)
        value, body = _value(payload, kind, body)
        found.append(value)
    if body != len(payload):
        raise PageError("a row of another length than its columns")
    return tuple(found)


def _value(payload: bytes, kind: int, place: int) -> tuple[Column, int]:
    if kind == 0:
        return None, place
    if kind in (8, 9):
        return kind - 8, place
    if kind in (10, 11):
        raise PageError("a column of no kind")
    if kind == 7:
        return struct.unpack_from(">d", payload, place)[0], place + 8
    size = _INTEGERS.get(kind, (kind - 12) // 2)
    raw = payload[place : place + size]
    if len(raw) != size:
        raise PageError("a column is cut short")
    if kind in _INTEGERS:
        return int.from_bytes(raw, "big", signed=True), place + size
    return (raw.decode() if kind % 2 else raw), place + size


def pages_of(file: BinaryIO) -> Pages:
    """The pages of a file as they stand in it."""
    return Pages(file, file.seek(0, 2) // PAGE_BYTES)


def logged_pages(file: BinaryIO, log: BinaryIO) -> Pages:
    """Those of a file with its write-ahead log, of which all is taken that was written since it was last begun anew."""
    latest = {frame.page: frame.place for frame in frames(log)}
    return Pages(file, pages_of(file).count, log, latest)
