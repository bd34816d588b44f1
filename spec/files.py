"""Files on disk: those of strangers are opened with care, ours are written at once or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, to be read as bytes; SpecError where there is none: a pipe might never end."""
    place = Path(path)
    try:
        with open(place, "rb", opener=_opened_at_once) as file:  # Path.open takes no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpecError(f"{str(path)!r} is a pipe or a device; save what comes from it in a file")
            yield file
    except FileNotFoundError as error:
        raise SpecError(f"no file {str(path)!r}; check the name and the folder you are in") from error
    except IsADirectoryError as error:
        raise SpecError(f"{str(path)!r} is a folder; name a spec file in it") from error
    except OSError as error:
        raise SpecError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from error


def _opened_at_once(path: str, flags: int) -> int:
    """Opens a file; of a pipe to which nobody writes it would wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_at_once(path: str | Path, texts: Iterable[str], *, through_links: bool = True) -> None:
    """Writes the texts, one behind the other, as a file: what stood there before stays until all of it is on disk.

    Where the name is that of a link, its target is written, or else the link is replaced. SpecError where it cannot be.
    """
    place = Path(os.path.realpath(path)) if through_links else Path(path)
    if place.is_dir():
        raise SpecError(f"{str(path)!r} is a folder; name a file in it")
    draft = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(texts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except FileNotFoundError as error:
        raise SpecError(f"no folder {str(place.parent)!r}; make it first") from error
    except OSError as error:
        raise SpecError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()  # gone already where all went well, never there where its folder is none
