"""How soon our search knows a kernel as fast as what another's long search came to.

The other's kernel, and each schedule that was our best so far at some moment of one search, are timed in turn by one
clock, in the same rounds, pinned and warmed alike: the times that the searches saw themselves play no part. The moment
is that of the earliest schedule whose median of ratios, round by round, is 1 or more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.errors import MeasureError
from .match import play
from .peer_searches import search_by
from .report import Row, at_most
from .rounds import ratios

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .contenders import Contender
    from .match import Match
    from .suite import Ground
    from .works import Work

_LIMIT_S: Final = 600.0


def duel_rows(ground: Ground, peer: Contender, work: Work, trials: int, bar_s: float) -> Iterator[Row]:
    """Seconds until our search knew a kernel as fast as that of `trials` trials of the peer's."""
    subject = f"{work.name}: as fast as {peer.name}'s {trials} trials"
    search = search_by(ground, peer, work, trials)
    if search.peer is None:
        yield Row(name=subject, figure=None, unit="s", detail=search.why)
        return
    yield Row(name=f"{work.name}: {peer.name}, long search", figure=search.wall_s, unit="s", detail=search.detail)
    folder = ground.folder / "reaching"
    folder.mkdir()
    moments = _moments(ground, work, folder)
    specs = {name: folder / name for name in moments}
    match = play(attrs.evolve(ground, peers=()), work, specs, (search.peer,))
    if not match.has(peer.name):
        yield Row(name=subject, figure=None, unit="s", detail=match.left_out[peer.name])
        return
    moment_s = first_as_fast(match, moments, peer.name)
    detail = "from the call of lookup_or_tune in a fresh process" if moment_s else "our search never was"
    yield Row(name=subject, figure=moment_s, unit="s", bar=at_most(bar_s), detail=detail)


def first_as_fast(match: Match, moments: Mapping[str, float], peer: str) -> float | None:
    """The earliest moment of a schedule that is as fast as the peer's kernel; None where there is none."""
    reached = (
        moment_s for name, moment_s in moments.items() if ratios(match.samples[peer], match.samples[name]).median >= 1.0
    )
    return min(reached, default=None)


def _moments(ground: Ground, work: Work, folder: Path) -> dict[str, float]:
    """What `reaching` prints. Not under the timing lock: the search takes that itself."""
    ground.say(f"{work.name}: lookup_or_tune in a fresh process, empty store")
    options = ground.options
    budget = (str(options.threads), str(options.trials), str(options.seconds or 30.0))
    command = [sys.executable, "-m", f"{__package__}.reaching", str(folder), *budget, *work.words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=_LIMIT_S)
    if done.returncode != 0:
        raise MeasureError(f"the search for {work.name} exited with {done.returncode}; its complaint stands above")
    found: dict[str, float] = json.loads(done.stdout)
    return found
