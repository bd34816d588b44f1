"""How fast each search method comes to the best: replays of recordings, many seeds each, no hardware.

    python -m autosched.bench.regret FOLDER [--seeds N] [--page docs/search.md]

Every recording of a folder is searched by every method with every seed. "auto, warm" is auto that knows the other
recordings of the folder, as it knows other tasks in a store; the one that is searched is left out.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from ..search.history import PastTask
from ..search.recording import outcome_of, read_recording
from ..search.replay import RecordedSpace, replay
from ..spec.errors import SpecError
from .page import page_with
from .regret_page import plot, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..search.recording import Recording

MODULE: Final = "autosched.bench.regret"
TRIALS: Final = 64
METHODS: Final = ("random", "grid", "annealing", "q", "evolutionary", "auto")
WARM: Final = "auto, warm"


@attrs.frozen(kw_only=True)
class Curve:
    """One replay: how much slower than the best recorded one the best found is, after each trial."""

    recording: str
    method: str
    seed: int
    regrets: tuple[float, ...]


def curves_of(
    recordings: Mapping[str, Recording],
    *,
    seeds: int,
    trials: int = TRIALS,
    methods: Sequence[str] = METHODS,
    watch: Callable[[str], None] = lambda _: None,
) -> list[Curve]:
    """Replays all recordings by all methods; "auto" is among them in two ways where there is more than one recording.

    SpecError for a recording of other rules, or in which nothing ran.
    """
    pasts = {name: _past(recording) for name, recording in recordings.items()}
    found: list[Curve] = []
    for name, recording in recordings.items():
        begin = time.monotonic()
        space = RecordedSpace(recording)
        known = tuple(past for other, past in pasts.items() if other != name)
        ways = [(method, method, ()) for method in methods]
        for label, method, past in [*ways, *([(WARM, "auto", known)] if known and "auto" in methods else [])]:
            for seed in range(seeds):
                done = replay(recording, trials=trials, method=method, seed=seed, space=space, past=past)
                found.append(
                    Curve(
                        recording=name,
                        method=label,
                        seed=seed,
                        regrets=_regrets(done.best_after_s, done.least_s, trials),
                    )
                )
        watch(f"{name}: {time.monotonic() - begin:.1f} s")
    return found


def _past(recording: Recording) -> PastTask:
    timed = [(trial.schedule, outcome_of(trial)) for trial in recording.trials]
    trials = sorted(((s, t) for s, t in timed if isinstance(t, float)), key=lambda trial: trial[1])
    return PastTask(task=recording.heading.task, trials=tuple(trials))


def _regrets(best_after_s: Sequence[float | None], least_s: float, trials: int) -> tuple[float, ...]:
    """The regret after each trial; a space that is exhausted earlier stays where it is."""
    regrets = [float("inf") if best is None else best / least_s - 1 for best in best_after_s]
    return tuple(regrets + regrets[-1:] * (trials - len(regrets)))


def recordings_in(folder: Path) -> dict[str, Recording]:
    """Every recording of a folder, by its name; SpecError where there is none."""
    paths = sorted([*folder.glob("*.space"), *folder.glob("*.space.gz")])
    if not paths:
        raise SpecError(f"{str(folder)!r} holds no recording (*.space, *.space.gz); make some: autosched record-space")
    return {path.name.partition(".space")[0]: read_recording(path) for path in paths}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="Replays of each method.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Where tables and a plot are written.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Only these.")
def main(folder: Path, seeds: int, page: Path | None, methods: tuple[str, ...]) -> None:
    """Replay every recording of FOLDER by every method, and table their regret."""
    begin = time.monotonic()
    try:
        curves = curves_of(
            recordings_in(folder),
            seeds=seeds,
            methods=methods or METHODS,
            watch=lambda line: click.echo(line, err=True),
        )
        text = table(curves)
        click.echo(text)
        click.echo(f"{len(curves)} replays in {time.monotonic() - begin:.0f} s", err=True)
        if page is not None:
            image = page.with_name("regret.svg")
            written = page_with(page.read_text(), MODULE, f"{text}\n\n![regret by trials]({image.name})")
            plot(curves, image)
            page.write_text(written)
    except SpecError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
