"""The machine-wide lock under which times are taken.

Building holds it shared, timing holds it alone, so no tuner of any user times while another builds or times. Whoever
has built wants to time next, so nobody waits for ever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..spec.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_NAME: Final = "autosched-timing.lock"
PATIENCE_S: Final = 600.0
_POLL_S: Final = 0.005


def default_lock_path() -> Path:
    """One file for the whole machine: in /tmp whatever TMPDIR says, else two users would have two locks."""
    return Path("/tmp") / LOCK_NAME  # noqa: S108 # shared on purpose; it is never written


class TimingLock:
    """Two ways to hold one lock file; `waited_s` sums the time spent waiting for others."""

    def __init__(self, path: Path | None = None, patience_s: float = PATIENCE_S) -> None:
        self.path = path or default_lock_path()
        self.waited_s = 0.0
        self._patience_s = patience_s
        self._file = _open_shared(self.path)

    def close(self) -> None:
        """Gives the lock up for good."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Holds the lock together with others that build; nobody times meanwhile."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """Holds the lock alone."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _held(self, mode: int) -> Iterator[None]:
        begin = time.monotonic()
        while not self._try(mode):
            if time.monotonic() - begin > self._patience_s:
                raise MeasureError(
                    f"{self.path}: another tuner on this machine has held the timing lock for "
                    f"{self._patience_s:.0f} s; end it, or find it with: fuser {self.path}"
                )
            time.sleep(_POLL_S)
        self.waited_s += time.monotonic() - begin
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _try(self, mode: int) -> bool:
        try:
            fcntl.flock(self._file, mode | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
                return False
            raise MeasureError(f"{self.path} cannot be locked: {error.strerror}") from error
        return True


def _open_shared(path: Path) -> int:
    """Opens the lock file, made once for all users; reading is enough to lock it.

    Without O_CREAT first: in a sticky directory the kernel refuses it for a file that another user made.
    """
    for _ in range(8):
        with contextlib.suppress(FileNotFoundError):
            return _open(path, os.O_RDONLY)
        with contextlib.suppress(FileExistsError):
            fd = _open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
            os.fchmod(fd, 0o666)  # whatever the umask says
            return fd
    raise MeasureError(f"{path} appears and disappears; something removes the timing lock")


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise MeasureError(f"{path} cannot be opened: {error.strerror}; remove it or make it readable") from error
