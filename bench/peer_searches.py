"""The searches of peers that tune: made in their own process while nobody else times, kept where the user says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.convert import unstructure
from ..spec.errors import MeasureError
from ..store.machine import this_machine
from ..store.records import utc_now
from .contenders import Child, Contender
from .match import make_order

if TYPE_CHECKING:
    from .suite import Ground
    from .works import Work

_PATIENCE_S: Final = 3600.0
_SAID: Final = "search.json"


@attrs.frozen(kw_only=True)
class PeerSearch:
    """What a peer's search came to.

    `peer` is who takes the kernel to the match, None where there is none; `why` says why not. `kept_of` is the date of
    a search that was made in an earlier run, None where it was made now. `wall_s` lasts from the call of the library's
    search to its end: imports, and making the kernel again, are left out.
    """

    name: str
    peer: Contender | None
    trials: int = 0
    wall_s: float = 0.0
    version: str = ""
    kept_of: str | None = None
    why: str = ""

    @property
    def detail(self) -> str:
        """The search in a few words."""
        kept = f", kept of {self.kept_of[:10]}" if self.kept_of else ""
        return f"{self.trials} trials, TVM {self.version}{kept}"


def search_by(ground: Ground, peer: Contender, work: Work, trials: int) -> PeerSearch:
    """Has a peer search a work, unless what it found before is kept; never an error, whatever happens to it."""
    root = Path(ground.options.keep).expanduser() if ground.options.keep else ground.folder / "peers"
    folder = root / peer.name / f"{work.name}-{trials}-trials-{ground.options.threads}-threads"
    circumstances = _circumstances(ground, work)
    kept = _read(folder / _SAID)
    if kept is not None and kept["circumstances"] == circumstances:
        ground.note(f"{work.name}: what {peer.name} found was kept in {root}, of {kept['date'][:10]}")
        return _concluded(peer, folder, kept["found"], kept["date"])
    ground.say(f"{work.name}: {peer.name} searches, {trials} trials, for minutes")
    try:
        found = _searched(ground, peer, work, folder, trials)
    except MeasureError as error:
        return PeerSearch(name=peer.name, peer=None, why=str(error))
    _write(folder / _SAID, {"date": utc_now(), "circumstances": circumstances, "found": found})
    return _concluded(peer, folder, found, None)


def _searched(ground: Ground, peer: Contender, work: Work, folder: Path, trials: int) -> dict[str, Any]:
    """The answer of the peer's process, which works in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order, _ = make_order(ground, work, {})
    with Child(peer, ground.options.threads, ground.folder) as child, ground.lock.timing():
        message = {"do": "search", "order": order, "folder": str(folder.absolute()), "trials": trials}
        return child.ask(message, _PATIENCE_S)


def _concluded(peer: Contender, folder: Path, found: dict[str, Any], kept_of: str | None) -> PeerSearch:
    return PeerSearch(
        name=peer.name,
        peer=attrs.evolve(peer, found=str(folder.absolute())) if found["is_found"] else None,
        trials=found["trials"],
        wall_s=found["wall_s"],
        version=found["version"],
        kept_of=kept_of,
        why="" if found["is_found"] else f"it found nothing in {found['trials']} trials",
    )


def _circumstances(ground: Ground, work: Work) -> Any:
    """What must be the same for a search that is kept to count: the work, the threads, the machine."""
    return {
        "work": list(work.words),
        "threads": ground.options.threads,
        "machine": json.loads(json.dumps(unstructure(this_machine()))),
    }


def _read(path: Path) -> dict[str, Any] | None:
    """What was kept; None where there is nothing whole."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if kept.keys() == {"date", "circumstances", "found"} else None


def _write(path: Path, kept: dict[str, Any]) -> None:
    """Written whole or not at all: what is there counts as the end of a search."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    beside.replace(path)
