"""What took long and is kept in a folder, with the circumstances under which it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..spec.convert import unstructure
from ..store.machine import this_machine
from ..store.records import utc_now

if TYPE_CHECKING:
    from pathlib import Path

    from .suite import Ground
    from .works import Work


def circumstances(ground: Ground, work: Work) -> Any:
    """What must be the same for what is kept to count: the work, the threads, the machine."""
    return {
        "work": list(work.words),
        "threads": ground.options.threads,
        "machine": json.loads(json.dumps(unstructure(this_machine()))),
    }


def read_kept(path: Path, expected: Any) -> tuple[Any, str] | None:
    """What was kept under the same circumstances, and its date; None where there is nothing whole."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if kept.keys() != {"date", "circumstances", "found"} or kept["circumstances"] != expected:
        return None
    return kept["found"], kept["date"]


def keep(path: Path, under: Any, found: Any) -> None:
    """Written whole or not at all: what is there counts as the end of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"date": utc_now(), "circumstances": under, "found": found}, indent=1), "utf-8")
    beside.replace(path)
