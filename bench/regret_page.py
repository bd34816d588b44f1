"""What replays found, for people: tables of regret and a plot of it by trials."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .regret import Curve

AFTER: Final = (8, 16, 32, 64)
"""Trials after which regret is told."""
NEAR: Final = (0.05, 0.02)
"""Regrets below which a search has all but ended; less is noise."""


def table(curves: Sequence[Curve]) -> str:
    """Markdown: regret of each method over all recordings, then of each recording."""
    methods = list(dict.fromkeys(curve.method for curve in curves))
    recordings = list(dict.fromkeys(curve.recording for curve in curves))
    seeds = len({curve.seed for curve in curves})
    after = [count for count in AFTER if count <= min(len(curve.regrets) for curve in curves)]
    head = [*(f"after {count}" for count in after), *(f"trials to {near:.0%}" for near in NEAR)]
    whole = [_row("method", head), _rule(len(head))]
    for method in methods:
        chosen = [curve for curve in curves if curve.method == method]
        cells = [*(_regret(chosen, count) for count in after), *(_trials(chosen, near) for near in NEAR)]
        whole.append(_row(method, cells))
    each = [_row("recording", methods), _rule(len(methods))]
    for recording in recordings:
        of_each = [[c for c in curves if (c.recording, c.method) == (recording, method)] for method in methods]
        each.append(
            _row(recording, [f"{_regret(chosen, after[-1])}; {_trials(chosen, NEAR[-1])}" for chosen in of_each])
        )
    return "\n".join(
        [
            (
                f"{len(recordings)} recordings, {seeds} seeds. Mean (median) of the regret in per cent, and of the "
                "trials to so near the best; a search that never comes there counts as one trial more than it had."
            ),
            "",
            *whole,
            "",
            f"Of each recording: regret after {after[-1]} trials; trials to {NEAR[-1]:.0%}.",
            "",
            *each,
        ]
    )


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _rule(count: int) -> str:
    return f"|---|{'---:|' * count}"


def _regret(curves: Sequence[Curve], count: int) -> str:
    regrets = [100 * curve.regrets[count - 1] for curve in curves]
    return f"{statistics.mean(regrets):.1f} ({statistics.median(regrets):.1f})"


def trials_to(curve: Curve, near: float) -> int:
    """Trials until the regret is at most `near`; one more than there are where it never is."""
    reached = (number for number, regret in enumerate(curve.regrets, start=1) if regret <= near)
    return next(reached, len(curve.regrets) + 1)


def _trials(curves: Sequence[Curve], near: float) -> str:
    counts = [trials_to(curve, near) for curve in curves]
    return f"{statistics.mean(counts):.1f} ({statistics.median(counts):.0f})"


def plot(curves: Sequence[Curve], path: Path) -> None:
    """Writes the mean regret by trials, a line for each method, as SVG. Needs matplotlib: the extra ``bench``."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "regret"  # the same curves give the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for method in dict.fromkeys(curve.method for curve in curves):
        columns = zip(*(curve.regrets for curve in curves if curve.method == method), strict=True)
        means = [100 * statistics.mean(column) for column in columns]
        axes.plot(range(1, len(means) + 1), means, label=method, linewidth=2 if "auto" in method else 1)
    axes.set(xlabel="trials", ylabel="regret, % over the best recorded (mean)", yscale="symlog", xlim=(1, None))
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
