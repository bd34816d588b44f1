"""A sweep: many works, each tuned by the user's command, then timed in turn with peers, and what that says."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.errors import SpecError
from .contenders import TORCH_LAYOUTS
from .figures import fastest, mean_rows, of_peak, peak_row, rate_rows
from .match import TUNED, Match, play
from .peer_searches import PeerSearch, search_by
from .report import Row, at_least, at_most, spread_row
from .rounds import Spread, ratios
from .tuned import Tuned, default_spec, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .contenders import Contender
    from .report import Bar
    from .suite import Ground
    from .works import Work

SEARCH_S: Final = 30.0
"""Of one work's search, where the user says nothing else."""
PEER_TRIALS: Final = 64
"""Of a peer's search, whatever ours has."""
PEER_MEANS: Final = {"metaschedule": 2.0, "ansor": 1.6}
"""How many times as fast as a peer's kernels ours must be, in the mean."""
DEFAULT: Final = "default"
TORCH: Final = "torch"
TORCH_BEST: Final = "torch best"
"""The fastest of PyTorch's layouts, eager's among them."""


@attrs.frozen(kw_only=True)
class Entry:
    """A work of a sweep: our search, those of peers, and the samples of all contenders, taken in turn."""

    tuned: Tuned
    match: Match
    searches: tuple[PeerSearch, ...] = ()

    @property
    def name(self) -> str:
        """The work's."""
        return self.tuned.work.name

    def labels_of(self, peer: str) -> tuple[str, ...]:
        """The labels of a peer's kernels."""
        return tuple(label for label in self.match.samples if label == peer or label.startswith(f"{peer} "))

    def times(self, labels: Iterable[str]) -> Spread | None:
        """How many times as fast as the fastest of `labels` our tuned kernel is; None where none took part."""
        label = fastest(self.match, labels)
        return None if label is None else ratios(self.match.samples[label], self.match.samples[TUNED])

    @property
    def times_torch(self) -> Spread | None:
        """Beside eager PyTorch."""
        return self.times([TORCH])

    @property
    def times_torch_best(self) -> Spread | None:
        """Beside the fastest of PyTorch's layouts."""
        return self.times(self.labels_of(TORCH))

    @property
    def times_products(self) -> Spread | None:
        """Beside the faster of eager PyTorch and NumPy, where NumPy took part."""
        return self.times([TORCH, "numpy"]) if self.match.has("numpy") else None

    @property
    def default_of_tuned(self) -> Spread:
        """The speed of the analytic model's choice, nothing measured, as a share of the tuned one's."""
        return ratios(self.match.samples[TUNED], self.match.samples[DEFAULT])


def wanted(ground: Ground, works: Sequence[Work]) -> tuple[Work, ...]:
    """Those of a suite's works that were asked for, by name or by group; SpecError for a name that none has."""
    asked = set(ground.options.works)
    names = [name for name in dict.fromkeys(name for work in works for name in (work.group, work.name)) if name]
    for name in ground.options.works:
        if name not in names:
            raise SpecError(f"unknown work {name!r}; allowed: {', '.join(names)}", "works")
    return tuple(work for work in works if not asked or asked & {work.group, work.name})


def enter(ground: Ground, work: Work, *, searching: bool = False) -> Entry:
    """Tunes a work, and times all contenders in turn, PyTorch in all its layouts.

    `searching` also has those peers search that can.
    """
    tuned = tune(ground, work, ground.options.seconds or SEARCH_S)
    chosen = [peer for peer in ground.peers if searching and peer.searches]
    searches = tuple(search_by(ground, peer, work, peer_trials(ground)) for peer in chosen)
    specs = {TUNED: tuned.spec, DEFAULT: default_spec(ground, work, f"{work.file_name}.default")}
    seated = attrs.evolve(ground, peers=tuple(map(_in_all_layouts, ground.peers)))
    match = play(seated, work, specs, [search.peer for search in searches if search.peer is not None])
    return Entry(tuned=tuned, match=match, searches=searches)


def peer_trials(ground: Ground) -> int:
    """Trials of a peer's search."""
    return 4 if ground.options.quick else PEER_TRIALS


def _in_all_layouts(peer: Contender) -> Contender:
    return TORCH_LAYOUTS if peer.name == TORCH else peer


def entry_rows(entry: Entry, peak_bar: float | None) -> Iterator[Row]:
    """The rows of a work: the search, everyone's GFLOP/s, and the ratios."""
    name, tuned, match = entry.name, entry.tuned, entry.match
    if tuned.is_searched:
        yield Row(name=f"{name}: search", figure=tuned.wall_s, unit="s", detail=f"{tuned.trials} trials")
    layouts = entry.labels_of(TORCH)[1:]
    yield from rate_rows(match, [label for label in match.samples if label not in layouts])
    best = fastest(match, entry.labels_of(TORCH))
    if best is not None:
        (row,) = rate_rows(match, [best])
        yield attrs.evolve(row, name=f"{name}: {TORCH_BEST}", detail=best.removeprefix(TORCH).strip() or "eager")
    for subject, found in (
        ("times torch", entry.times_torch),
        (f"times {TORCH_BEST}", entry.times_torch_best),
        ("times the best of torch and numpy", entry.times_products),
    ):
        if found is not None:
            yield spread_row(f"{name}: {subject}", found, "x")
    yield peak_row(match, peak_bar)
    yield spread_row(f"{name}: default, of tuned", entry.default_of_tuned, "x", detail="nothing measured")


def peer_rows(entry: Entry) -> Iterator[Row]:
    """The rows of peers that searched a work: their search beside ours, and their kernel, or why there is none."""
    name, tuned = entry.name, entry.tuned
    for search in entry.searches:
        subject = f"{name}: times {search.name}"
        if search.trials:
            yield Row(name=f"{name}: {search.name}, search", figure=search.wall_s, unit="s", detail=search.detail)
        found = entry.times([search.name])
        if found is None:
            why = entry.match.left_out.get(search.name, search.why)
            yield Row(name=subject, figure=None, unit="x", detail=why)
            continue
        yield spread_row(subject, found, "x", at_least(1.0))
        if tuned.is_searched:
            share = tuned.wall_s / search.wall_s
            yield Row(name=f"{name}: our search, of {search.name}'s", figure=share, unit="x", bar=at_most(0.2))


def all_peer_rows(entries: Sequence[Entry]) -> Iterator[Row]:
    """The mean and the least over the works on which a peer searched, for each of them."""
    for peer, mean in PEER_MEANS.items():
        yield from all_rows(
            f"times {peer}", entries, functools.partial(Entry.times, labels=(peer,)), mean=at_least(mean)
        )


def all_rows(
    subject: str,
    entries: Sequence[Entry],
    figure: Callable[[Entry], Spread | None],
    *,
    mean: Bar | None = None,
    least: Bar | None = None,
) -> Iterator[Row]:
    """The mean and the least of a ratio over those works that have it."""
    found = {entry.name: figure(entry) for entry in entries}
    medians = {name: each.median for name, each in found.items() if each is not None}
    return mean_rows(f"all: {subject}", medians, mean=mean, least=least)


def search_row(entries: Sequence[Entry]) -> Iterator[Row]:
    """What all searches took together."""
    searched = [entry.tuned for entry in entries if entry.tuned.is_searched]
    if searched:
        trials = sum(tuned.trials for tuned in searched)
        seconds = sum(tuned.wall_s for tuned in searched)
        yield Row(name="all: search", figure=seconds, unit="s", detail=f"{trials} trials on {len(searched)} works")


def peak_share(entry: Entry) -> Spread:
    """The share of the ceiling."""
    return of_peak(entry.match)
