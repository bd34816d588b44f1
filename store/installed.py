"""The versions of distributions that are installed, without what `importlib.metadata` is made of.

That imports thirty modules, sockets and archives among them, and a lookup asks for three versions.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Name → version of those that are installed, in the order of `names`."""
    return {name: version for name in names if (version := _version_of(name)) is not None}


def _version_of(name: str) -> str | None:
    """The version in the first folder that knows a distribution; None where none does."""
    for folder in sys.path:
        described = list(Path(folder).glob(f"{name.replace('-', '_')}-*.*-info"))
        if len(described) == 1 and (version := _version_in(described[0] / "METADATA")) is not None:
            return version
        if described:
            return _asked_at_length(name)  # several, as a broken upgrade leaves them, or an egg
    return None


def _version_in(metadata: Path) -> str | None:
    """What a file says of its distribution; None where it is not there, or does not."""
    with contextlib.suppress(OSError), metadata.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Version:"):
                return line.removeprefix("Version:").strip()
            if not line.strip():
                break
    return None


def _asked_at_length(name: str) -> str | None:
    import importlib.metadata  # here: what does not stand in the plain form

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
