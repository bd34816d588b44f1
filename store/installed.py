"""The versions of distributions that are installed, without what `importlib.metadata` is made of.

That imports thirty modules, sockets and archives among them, and a lookup asks for three versions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def installed_versions(names: Sequence[str]) -> dict[str, str]:
    """Name → version of those that are installed, in the order of `names`."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for name in names:
            if name not in found and (version := _version_in(Path(folder), name)) is not None:
                found[name] = version
    for name in names:
        if name not in found and (version := _asked_at_length(name)) is not None:
            found[name] = version
    return {name: found[name] for name in names if name in found}


def _version_in(folder: Path, name: str) -> str | None:
    """What the one ``.dist-info`` of a distribution in a folder says; None where there is none, or several."""
    described = list(folder.glob(f"{name.replace('-', '_')}-*.dist-info/METADATA"))
    if len(described) != 1:
        return None
    with described[0].open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Version:"):
                return line.removeprefix("Version:").strip()
            if not line.strip():
                break
    return None


def _asked_at_length(name: str) -> str | None:
    import importlib.metadata  # here: what is not found in the plain place is somewhere else, or nowhere

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
