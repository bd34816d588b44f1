"""What is said of a match: everyone's GFLOP/s, ratios round by round, and means over many works."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from .match import PEAK, TUNED
from .report import Row, at_least, spread_row
from .rounds import rates, ratios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .match import Match
    from .report import Bar
    from .rounds import Spread


def rate_rows(match: Match, labels: Iterable[str] | None = None) -> Iterator[Row]:
    """GFLOP/s of everyone, or of `labels`; the ceiling computes something else, so its operations are its own."""
    for label in match.samples if labels is None else labels:
        gflop = match.peak_gflop if label == PEAK else match.work.gflop()
        yield spread_row(f"{match.work.name}: {label}", rates(match.samples[label], gflop), "GFLOP/s")


def of_peak(match: Match) -> Spread:
    """The share of the ceiling that our tuned kernel reaches, both in one process."""
    scale = match.work.gflop() / match.peak_gflop
    return ratios([scale * seconds for seconds in match.samples[PEAK]], match.samples[TUNED])


def peak_row(match: Match, bar: float | None) -> Row:
    """The row of `of_peak`."""
    return spread_row(f"{match.work.name}: of the peak", of_peak(match), "x", None if bar is None else at_least(bar))


def fastest(match: Match, labels: Iterable[str]) -> str | None:
    """Which of `labels` has the least median; None where none of them took part."""
    return min(filter(match.has, labels), key=lambda label: statistics.median(match.samples[label]), default=None)


def mean_rows(
    subject: str, figures: Mapping[str, float], *, mean: Bar | None = None, least: Bar | None = None
) -> Iterator[Row]:
    """The geometric mean and the least of a figure, by the name of the work; nothing where there are no figures."""
    if not figures:
        return
    works = f"of {len(figures)} works"
    yield Row(name=f"{subject}, mean", figure=geometric_mean(figures.values()), unit="x", bar=mean, detail=works)
    name = min(figures, key=figures.__getitem__)
    yield Row(name=f"{subject}, least", figure=figures[name], unit="x", bar=least, detail=name)


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean of positive values."""
    return math.exp(statistics.fmean(map(math.log, values)))
