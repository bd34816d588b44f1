"""The folder a store lies in: where it is by default, and what is refused with a reason before anything is written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diskcache import Timeout

from ..spec.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

DATABASE: Final = "cache.db"
LOCK: Final = "lock"
TIMEOUT_S: Final = 60.0
"""How long one process waits for another that is writing."""
_FIRST_SHARED: Final = 0x40000002
_SHARED_BYTES: Final = 510
"""The bytes of a database that SQLite locks to read; they are beyond most files' end."""

# SQLite's write-ahead log is shared memory: two machines that write through one of these lose each other's entries.
NETWORK_TYPES: Final = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs", "pvfs2", "smb3", "smbfs", "wekafs",
))  # fmt: skip

_SAID_OF_DAMAGE: Final = (
    "malformed", "not a database", "no such table", "no such column", "file format", "I/O error", "codec can't decode",
)  # fmt: skip
_ELSEWHERE: Final = "name another folder with --store or AUTOSCHED_STORE"


class BrokenError(StoreError):
    """A database that cannot be read as one; a repair saves what is whole in it."""


def broken(folder: Path, reason: str) -> BrokenError:
    """The error for a database of which `reason` is wrong."""
    return BrokenError(
        f"store {folder}: {DATABASE} is damaged, or no store's ({reason}); autosched doctor --repair saves the entries "
        f"that can still be read, or {_ELSEWHERE}"
    )


def store_folder(path: str | os.PathLike[str] | None) -> Path:
    """The absolute path of a store: `path`, or AUTOSCHED_STORE, or ~/.cache/autosched."""
    chosen = os.fspath(path) if path is not None else os.environ.get("AUTOSCHED_STORE") or "~/.cache/autosched"
    try:
        return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 # Path.resolve would follow links
    except RuntimeError as error:
        raise StoreError(f"store {chosen}: no home folder is known for it; {_ELSEWHERE}") from error


def has_store(folder: Path) -> bool:
    """True where a store was made before; StoreError where something else than a folder is in its place."""
    try:
        if (folder / DATABASE).exists():
            return True
        is_file = folder.exists() and not folder.is_dir()
    except OSError as error:  # a name too long, a folder above it that this user may not enter
        raise StoreError(f"store {folder}: cannot be looked into ({error.strerror}); {_ELSEWHERE}") from error
    if is_file:
        raise StoreError(f"store {folder}: found a file, need a folder; {_ELSEWHERE}")
    return False


def file_of(folder: Path) -> tuple[int, int]:
    """What tells the database of a folder from another one that takes its place; OSError where there is none."""
    found = (folder / DATABASE).stat()
    return found.st_dev, found.st_ino


def prepare_folder(folder: Path) -> None:
    """Makes the folder where it is absent; StoreError where a store cannot live there."""
    try:
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                raise StoreError(f"store {folder}: {place} is a file, need a folder; {_ELSEWHERE}")
        check_local(folder, mounts())
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"store {folder}: cannot be made ({error.strerror}); {_ELSEWHERE}") from error
    if not is_writable(folder):
        raise StoreError(f"store {folder}: not writable for this user; make it writable, or {_ELSEWHERE}")


def is_writable(folder: Path) -> bool:
    """True where this user may write to the folder and to the database in it."""
    database = folder / DATABASE
    return os.access(folder, os.W_OK | os.X_OK) and (not database.exists() or os.access(database, os.W_OK))


def mounts() -> tuple[tuple[str, str], ...]:
    """Mount point and file system type of every mount, in the kernel's order; empty where there is no /proc."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ()
    fields = [line.split(" ") for line in lines]
    return tuple((_unescaped(field[1]), field[2]) for field in fields if len(field) > 2)


def check_local(folder: Path, mounted: tuple[tuple[str, str], ...]) -> None:
    """Raises StoreError where `folder` lies on a network file system."""
    place = folder.resolve()
    best, kind = -1, ""
    for point, fstype in mounted:
        if place.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), fstype
    if kind in NETWORK_TYPES:
        raise StoreError(
            f"store {folder}: lies on a network file system ({kind}), where writers on two machines destroy each "
            f"other's entries; {_ELSEWHERE} on a local disk, and share spec files instead"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock between processes; StoreError where another holds it for `TIMEOUT_S`.

    The kernel lets go of it when its holder dies. Where there is no flock (Windows) nothing is held.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    raise
                if time.monotonic() > deadline:
                    raise StoreError(_busy(folder)) from error
            time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[BinaryIO]:
    """The database's file, while no other process has the store open or opens it; StoreError where one has.

    Nobody in this process may have it open either: the kernel asks who the process is, not which connection.
    """
    with locked(folder), (folder / DATABASE).open("r+b") as file:
        if sys.platform != "win32":
            try:
                # SQLite holds some of these bytes for as long as a connection is open: fileformat2.html, "lock-byte".
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _FIRST_SHARED)
            except OSError as error:
                raise StoreError(f"store {folder}: another process has it open; end it, then repair") from error
        yield file


def store_error(folder: Path, error: sqlite3.Error | Timeout | OSError | UnicodeDecodeError) -> StoreError:
    """The StoreError for what SQLite or the system said: one line with what to do."""
    said = " / ".join(_messages(error))
    if "full" in said or "No space" in said or "too large" in said or "quota" in said:
        return StoreError(f"store {folder}: the disk is full ({said}); free some space, or {_ELSEWHERE}")
    if any(words in said for words in _SAID_OF_DAMAGE) or ("readonly" in said and is_writable(folder)):
        return broken(folder, said)
    if "readonly" in said or not is_writable(folder):
        return StoreError(f"store {folder}: not writable for this user, or moved away ({said}); {_ELSEWHERE}")
    if isinstance(error, Timeout) or "locked" in said:
        return StoreError(_busy(folder))
    return StoreError(f"store {folder}: cannot be used ({said}); autosched doctor says what is wrong with it")


def _messages(error: BaseException | None) -> list[str]:
    """What an error and those it hides say, first cause first: a failed ROLLBACK hides why it was tried.

    Not what a StoreError says that it came after: that was the same trouble, in whole sentences.
    """
    found: list[str] = []
    while error is not None and len(found) < 4 and not isinstance(error, StoreError):
        found.insert(0, str(error) or type(error).__name__)
        error = error.__cause__ or error.__context__
    return found


def _busy(folder: Path) -> str:
    return (
        f"store {folder}: another process has kept it locked for {TIMEOUT_S:.0f} s; wait for it or end it, then retry"
    )


def _unescaped(text: str) -> str:
    r"""A path of /proc/self/mounts: ``\040`` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
