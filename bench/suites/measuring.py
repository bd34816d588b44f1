"""Measuring: what a search costs beyond building and running, and whether it comes to the same end each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..commands import run_command
from ..match import play
from ..report import Row, at_least, at_most, spread_row
from ..rounds import spread
from .spine import GEMM, SMALL_GEMM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..suite import Ground
    from ..works import Work

SEARCHES: Final = 5
"""Searches of one task with one seed, each with a store of its own."""


@attrs.frozen(kw_only=True)
class Search:
    """One ``autosched tune``, from the user's side of the command line."""

    spec: Path
    trials: int
    wall_s: float
    search_s: float
    busy_s: float
    drift: int


def run(ground: Ground) -> Iterator[Row]:
    """The cost of searches, then their winners timed in turn."""
    work = SMALL_GEMM if ground.options.quick else GEMM
    searches = [search(ground, work, number) for number in range(2 if ground.options.quick else SEARCHES)]
    yield from cost_rows(work, searches)
    yield from winner_rows(ground, work, searches)


def search(ground: Ground, work: Work, number: int) -> Search:
    """Searches anew, with the command that users have."""
    options = ground.options
    ground.say(f"{work.name}: autosched tune, search {number + 1}")
    spec, store = ground.folder / f"winner-{number}.json", ground.folder / f"store-{number}"
    budget = ("--trials", str(options.trials), "--threads", str(options.threads), "--seed", "0")
    ran = run_command(("tune", *work.words, *budget, "--store", str(store), "-o", str(spec), "--json", "--quiet"))
    found = ran.json()
    return Search(
        spec=spec,
        trials=found["trials"],
        wall_s=ran.wall_s,
        search_s=found["search_s"],
        busy_s=found["busy_s"],
        drift=len(found["drift"]),
    )


def cost_rows(work: Work, searches: list[Search]) -> Iterator[Row]:
    """Trials a second of the whole command, and what part of its search goes into building and running."""
    rates = [each.trials / each.wall_s for each in searches]
    yield spread_row(f"{work.name}: trials a second", spread(rates), "/s", at_least(6), "the whole command")
    inside = [each.trials / each.search_s for each in searches]
    yield spread_row(
        f"{work.name}: trials a second of the search", spread(inside), "/s", detail="Python's start left out"
    )
    shares = [each.busy_s / each.search_s for each in searches]
    yield spread_row(f"{work.name}: building and running", spread(shares), "of the search", at_least(0.9))
    drift = sum(each.drift for each in searches)
    yield Row(name=f"{work.name}: changes of the machine", figure=drift, unit="", detail="seen by the searches")


def winner_rows(ground: Ground, work: Work, searches: list[Search]) -> Iterator[Row]:
    """The winners' medians, taken in turn in one process: how much slower the slowest is."""
    specs = {f"winner {number}": each.spec for number, each in enumerate(searches)}
    match = play(attrs.evolve(ground, peers=()), work, specs)
    winners = {label: spread([1e3 * s for s in match.samples[label]]) for label in specs}
    for label, found in winners.items():
        yield spread_row(f"{work.name}: {label}", found, "ms")
    medians = [found.median for found in winners.values()]
    schedules = len({each.spec.read_text(encoding="utf-8").partition('"claims"')[0] for each in searches})
    yield Row(
        name=f"{work.name}: slowest of {len(searches)} winners",
        figure=max(medians) / min(medians),
        unit="x fastest",
        bar=at_most(1.05),
        detail=f"one seed, {schedules} different schedules",
    )
