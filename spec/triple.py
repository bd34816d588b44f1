"""Target triples, as ``aarch64-linux-gnu``: of which CPU one is, and whether its code can run here. Needs no TVM."""

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
    triple = _triple(target)
    if triple is None:
        return None
    systems = {system for part in triple.lower().split("-")[1:] for w, system in _SYSTEMS.items() if part.startswith(w)}
    here = _SYSTEMS.get(platform.system().lower())
    return None if arch_of(target) == this_arch() and systems <= {here} else triple


def arch_of(target: Target) -> str | None:
    """The kind of CPU of a target's ``mtriple`` as LLVM calls it; None where the target has no triple."""
    triple = _triple(target)
    return None if triple is None else _named(triple.split("-")[0])


def this_arch() -> str:
    """The kind of this machine's CPU as LLVM calls it: ``x86_64``, ``aarch64``."""
    return _named(platform.machine())


def _triple(target: Target) -> str | None:
    return next((str(option.value) for option in target.options if option.name == "mtriple"), None)


def _named(arch: str) -> str:
    return _ALIASES.get(arch.lower(), arch.lower())
