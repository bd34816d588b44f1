"""The folder of files that a measurer shares with its workers: inputs, what the outputs must be, kept outputs."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterator


def scratch_path() -> Path:
    """Where such a folder can be made: a new name where temporary files go; MeasureError where there is no such place.

    Named first and made later: who removes it must run before it is there, since a tuner may be killed at any instant.
    """
    with scratch_errors():
        return Path(tempfile.gettempdir()) / f"autosched-{secrets.token_hex(8)}"


@contextlib.contextmanager
def scratch_errors() -> Iterator[None]:
    """Turns what goes wrong when such files are written, a full disk above all, into a MeasureError."""
    try:
        yield
    except OSError as error:
        raise MeasureError(
            f"temporary files cannot be written ({error.strerror or error}); free some space in "
            f"{tempfile.tempdir or 'the folder for them'}, or name another folder with TMPDIR"
        ) from error
