"""Target triples, as ``aarch64-linux-gnu``: whether code for one can run in this process. Needs no TVM."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .task import Target

_ALIASES: Final = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}
_SYSTEMS: Final = {"linux": "linux", "windows": "windows", "win32": "windows", "darwin": "darwin", "macos": "darwin"}
"""How a part of a triple begins, and which system that is."""


def foreign_triple(target: Target) -> str | None:
    """The ``mtriple`` of a target whose code cannot run here: another kind of CPU or another system; else None."""
    triple = next((option.value for option in target.options if option.name == "mtriple"), None)
    if triple is None:
        return None
    arch, *rest = str(triple).lower().split("-")
    systems = {system for part in rest for word, system in _SYSTEMS.items() if part.startswith(word)}
    here = _SYSTEMS.get(platform.system().lower())
    same = _ALIASES.get(arch, arch) == this_arch() and systems <= {here}
    return None if same else str(triple)


def this_arch() -> str:
    """The kind of this machine's CPU as LLVM calls it: ``x86_64``, ``aarch64``."""
    found = platform.machine().lower()
    return _ALIASES.get(found, found)
