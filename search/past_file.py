"""The file beside the store in which trees are kept that other tasks have taught.

LightGBM trusts its text and may crash on a damaged one, so a file is used only where its checksum is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..spec.errors import SpecError
from ..spec.json_text import Json, compact_json, read_json
from ..store.keys import machine_key, protocol_key
from .features import NAMES, VERSION
from .learned import Trees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..spec.claim import Machine, Protocol

FORMAT: Final = "autosched/trees"
GROWTH: Final = 1.25
"""Trees are made anew when so many times the trials are known that they were made of."""
MOST_BYTES: Final = 2**24


def trees_path(store: Path, machine: Machine, protocol: Protocol) -> Path:
    """Where the trees of a machine and a protocol are kept, beside a store."""
    return store / "models" / f"{machine_key(machine)[:16]}-{protocol_key(protocol)[:16]}.txt"


def read_trees(path: Path, known: Mapping[str, int]) -> Trees | None:
    """The trees in a file, made of about what is `known`: task → trials; None where it holds no such trees."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        head, _, text = path.read_text().partition("\n")
        heading = read_json(head.encode())
    except (OSError, SpecError, UnicodeDecodeError):
        return None
    if not isinstance(heading, dict) or not isinstance(made_of := heading.get("tasks"), dict):
        return None
    if heading != _heading(text, made_of) or not _is_fresh(made_of, known):
        return None
    return Trees(text or None)


def write_trees(path: Path, trees: Trees, known: Mapping[str, int]) -> None:
    """Writes trees for `read_trees`, whole or not at all; where that cannot be, they are made again next time."""
    text = trees.text or ""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{compact_json(_heading(text, dict(known)))}\n{text}")
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _heading(text: str, tasks: dict[str, Json]) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "version": 1,
        "features": _digest(f"{VERSION} {' '.join(NAMES)}"),
        "tasks": tasks,
        "sha256": _digest(text),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_fresh(made_of: Mapping[str, Json], known: Mapping[str, int]) -> bool:
    """True where all that trees were made of is known still, and not much more is."""
    counts = [count for count in made_of.values() if type(count) is int]
    return made_of.keys() <= known.keys() and sum(known.values()) <= GROWTH * sum(counts)
