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
    kept = read_any(path)
    return (kept["found"], kept["date"]) if kept is not None and kept["circumstances"] == expected else None


def read_any(path: Path) -> dict[str, Any] | None:
    """What was kept, under whatever circumstances: with ``found`` these and the ``date``; None as above."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if kept.keys() == {"date", "circumstances", "found"} else None


def keep(path: Path, under: Any, found: Any) -> None:
    """Written whole or not at all: what is there counts as the end of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"date": utc_now(), "circumstances": under, "found": found}, indent=1), "utf-8")
    beside.replace(path)
