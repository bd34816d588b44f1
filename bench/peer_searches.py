"""The searches of peers that tune: made in their own process while nobody else times, kept where the user says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.errors import MeasureError
from .contenders import Child, Contender
from .kept import circumstances, keep, read_kept
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
    folder = root / peer.name / f"{work.file_name}-{trials}-trials-{ground.options.threads}-threads"
    expected = circumstances(ground, work)
    kept = read_kept(folder / _SAID, expected)
    if kept is not None:
        found, date = kept
        ground.note(f"{work.name}: what {peer.name} found was kept in {root}, of {date[:10]}")
        return _concluded(peer, folder, found, date)
    ground.say(f"{work.name}: {peer.name} searches, {trials} trials, for minutes")
    try:
        found = _searched(ground, peer, work, folder, trials)
    except MeasureError as error:
        return PeerSearch(name=peer.name, peer=None, why=str(error))
    keep(folder / _SAID, expected, found)
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
