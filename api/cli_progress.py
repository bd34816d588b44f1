"""How a search is watched: a bar on a terminal, lines elsewhere, both on standard error."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import attrs
import click

from .cli_report import duration
from .search.progress import (
    DeviceFailed,
    FinalistsTimed,
    MachineDrifted,
    SearchEnded,
    SearchStarted,
    TrialEnded,
    unwatched,
)
from .spec.claim import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .search.progress import Event, Watch


@contextlib.contextmanager
def open_progress(quiet: bool) -> Iterator[Watch]:
    """Who watches a search, while it runs."""
    if quiet:
        yield unwatched
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield print_event


@attrs.define
class Notes:
    """What a search says of the machine and of itself, for programs: `drift` has the ratio of each change."""

    drift: list[float] = attrs.field(factory=list)
    busy_s: float | None = None

    def beside(self, watch: Watch) -> Watch:
        """`watch`, and these notes are taken."""

        def watched(event: Event) -> None:
            if isinstance(event, MachineDrifted):
                self.drift.append(event.ratio)
            if isinstance(event, SearchEnded):
                self.busy_s = event.busy_s
            watch(event)

        return watched


def print_event(event: Event) -> None:
    """One line for each event."""
    click.echo(event_text(event), err=True)


def event_text(event: Event) -> str:
    """What happened, in one line."""
    match event:
        case SearchStarted():
            again = f", {event.known} of them made before" if event.known else ""
            return f"searching: {event.total} trials{again}"
        case TrialEnded(outcome=Failure() as failure):
            return f"trial {event.number}/{event.total}  {failure.kind}: {' '.join(failure.detail.split())[:160]}"
        case TrialEnded():
            assert isinstance(event.outcome, float)
            best = f"  best {duration(event.best_s)}" if event.best_s is not None else ""
            return f"trial {event.number}/{event.total}  {duration(event.outcome)}{best}"
        case FinalistsTimed():
            default = f", default {duration(event.default_s)}" if event.default_s is not None else ""
            return f"finals of {event.count}: best {duration(event.best_s)}{default}"
        case MachineDrifted():
            return (
                f"the machine has changed: the default takes {event.ratio:.2f} times as long as before; "
                f"{event.again} trial{'s' * (event.again != 1)} measured again"
            )
        case SearchEnded():
            share = event.busy_s / event.wall_s if event.wall_s else 0.0
            return f"searched for {duration(event.wall_s)}, {share:.0%} of it building and running"
        case DeviceFailed():
            return f"device {event.address}  {' '.join(event.detail.split())[:160]}"


@contextlib.contextmanager
def _bar() -> Iterator[Watch]:
    # Here, because it takes a tenth of a second and nothing but a terminal needs it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("searching", total=None, best="")

        def watch(event: Event) -> None:
            match event:
                case SearchStarted():
                    progress.update(bar, total=event.total, completed=event.known)
                case TrialEnded():
                    best = f"best {duration(event.best_s)}" if event.best_s is not None else "nothing works yet"
                    progress.update(bar, completed=event.number, best=best)
                case FinalistsTimed():
                    progress.update(bar, description="finals", best=f"best {duration(event.best_s)}")
                case MachineDrifted() | DeviceFailed():
                    progress.console.print(event_text(event), markup=False)

        yield watch
