"""The 110 cases of FlexTensor's paper (ASPLOS'20) in its twelve groups: each tuned, then in turn with eager PyTorch.

It lasts an hour and a half. What was tuned is in the store, and with ``--keep`` the times are in a folder, a file for
each case: a second run goes on from there, and runs of single groups (``--works C3D,T3D``) add up to a whole one.
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...nn.suites import FLEXTENSOR, GROUPS, tasks_of
from ...spec.errors import MeasureError
from ..figures import geometric_mean
from ..kept import circumstances, keep, read_kept
from ..match import TUNED, Match, play, reference_folder
from ..report import Row, at_least, spread_row
from ..rounds import Samples, ratios, spread
from ..sweep import TORCH, wanted
from ..tuned import tune
from ..works import Work, work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..suite import Ground

TRIALS: Final = 48
SECONDS: Final = 30.0
"""Of a case's search, at most."""
SESSIONS: Final = 2
"""One is too few to know a library's noise."""
ROUNDS: Final = 5
"""Of each session."""
LEAST: Final = 0.9
"""Of a case, unless PyTorch's own times lie further apart."""
GROUP_LEAST: Final = {
    "GMV": 0.95, "GMM": 2.0, "BIL": 2.0, "C1D": 1.0, "T1D": 1.5, "C2D": 1.0, "T2D": 1.5, "C3D": 1.2, "T3D": 1.5,
    "GRP": 1.0, "DIL": 1.0, "DEP": 4.0,
}  # fmt: skip
"""Geometric mean over a group's cases."""
MEAN: Final = 1.8
"""Geometric mean over the groups."""
SMALL: Final = (
    work("GMV/small", "gemv", N=32, K=16),
    work("BIL/small", "bilinear", N=4, K1=8, K2=8, M=4),
    work("T1D/small", "conv_transpose1d", N=1, C=4, L=16, K=8, R=3, stride=2),
    work("DEP/small", "depthwise_conv2d", N=1, C=4, H=8, W=8, R=3, S=3, padding=1),
)


@attrs.frozen(kw_only=True)
class Case:
    """What came of a work: seconds per call of ours and of PyTorch, taken in turn; `why` says why there are none."""

    work: Work
    samples: Samples = attrs.field(factory=dict)
    trials: int = 0
    wall_s: float = 0.0
    why: str = ""

    @property
    def times_torch(self) -> float | None:
        """How many times as fast as eager PyTorch; None where it did not take part."""
        return ratios(self.samples[TORCH], self.samples[TUNED]).median if TORCH in self.samples else None

    @property
    def wanted(self) -> float:
        """How many times as fast it must be: by PyTorch's own noise less than others."""
        torch = spread(self.samples[TORCH])
        return min(LEAST, torch.low / torch.high)


def cases() -> tuple[Work, ...]:
    """The works by the names ``C2D/yolo3``, in the order of the paper's figure."""
    named = tasks_of(FLEXTENSOR)
    return tuple(Work(name=task.full_name.removeprefix(f"{FLEXTENSOR}/"), op=task.op, args=task.args) for task in named)


def run(ground: Ground) -> Iterator[Row]:
    """A row for each case, then those of the groups and of all."""
    options = ground.options
    capped = attrs.evolve(options, trials=min(options.trials, TRIALS), seconds=min(options.seconds or SECONDS, SECONDS))
    ground = attrs.evolve(ground, options=capped)
    if not options.quick:
        ground = attrs.evolve(ground, sessions=SESSIONS, rounds=ROUNDS)
    chosen = wanted(ground, SMALL if options.quick else cases())
    found: list[Case] = []
    begin = time.monotonic()
    for number, each in enumerate(chosen):
        ground.say(f"{each.name}: {number} of {len(chosen)} done{_left(begin, number, len(chosen))}")
        found.append(case_of(ground, each))
        yield case_row(found[-1])
    yield from closing_rows(found)


def _left(begin: float, done: int, count: int) -> str:
    spent_s = time.monotonic() - begin
    return f", about {spent_s / done * (count - done) / 60:.0f} minutes left" if done else ""


def case_of(ground: Ground, each: Work) -> Case:
    """A work tuned and timed, or what was kept of it; one that cannot be measured does not end the others."""
    expected = circumstances(ground, each)
    folder = ground.options.keep
    path = kept_path(Path(folder).expanduser(), each) if folder else None
    kept = None if path is None else read_kept(path, expected)
    if kept is not None:
        ground.note(f"times of earlier runs, kept in {folder}, are among these")
        return case_from_kept(each, kept[0])
    try:
        tuned = tune(ground, each, ground.options.seconds)
        match = _played(ground, each, tuned.spec)
    except MeasureError as error:
        return Case(work=each, why=str(error))
    searched = tuned.is_searched
    found = {
        "samples": {label: list(samples) for label, samples in match.samples.items()},
        "trials": tuned.trials if searched else 0,
        "wall_s": tuned.wall_s if searched else 0.0,
    }
    if path is not None:
        keep(path, expected, found)
    return case_from_kept(each, found)


def _played(ground: Ground, each: Work, spec: Path) -> Match:
    """The match, tried again where it fails: what disturbs a machine once in an hour costs no case."""
    try:
        return play(ground, each, {TUNED: spec})
    except MeasureError as error:
        ground.say(f"{each.name}: {error}; once more")
        return play(ground, each, {TUNED: spec})
    finally:
        shutil.rmtree(reference_folder(ground, each), ignore_errors=True)  # those of all cases are gigabytes


def kept_path(folder: Path, each: Work) -> Path:
    """Where ``--keep`` has the times of a case."""
    return folder / FLEXTENSOR / f"{each.file_name}.json"


def case_from_kept(each: Work, found: Any) -> Case:
    """A case as ``--keep`` has it."""
    samples = {label: tuple(taken) for label, taken in found["samples"].items()}
    return Case(work=each, samples=samples, trials=found["trials"], wall_s=found["wall_s"])


def case_row(case: Case) -> Row:
    """How many times as fast as PyTorch; where that did not take part, our time."""
    if case.why:
        return Row(name=f"{case.work.name}: times torch", figure=None, unit="x", bar=at_least(LEAST), detail=case.why)
    ours = statistics.median(case.samples[TUNED])
    search = f", {case.trials} trials in {case.wall_s:.0f} s" if case.trials else ""
    if TORCH not in case.samples:
        return Row(name=f"{case.work.name}: tuned", figure=ours * 1e6, unit="µs", detail=search.removeprefix(", "))
    torch = spread(case.samples[TORCH])
    return spread_row(
        f"{case.work.name}: times torch",
        ratios(case.samples[TORCH], case.samples[TUNED]),
        "x",
        at_least(case.wanted),
        f"{ours * 1e6:.4g} µs, torch {torch.median * 1e6:.4g} µs{search}",
    )


def times_of(found: Sequence[Case], group: str) -> dict[str, float]:
    """The cases of a group beside which PyTorch took part, by name: how many times as fast they are."""
    mine = {case.work.name: case.times_torch for case in found if case.work.group == group}
    return {name: figure for name, figure in mine.items() if figure is not None}


def closing_rows(found: Sequence[Case]) -> Iterator[Row]:
    """The mean and the least case of each group, and the mean of the groups, which has a bar where all are there."""
    means = {}
    for group, bar in GROUP_LEAST.items():
        known = times_of(found, group)
        if not known:
            continue
        means[group] = geometric_mean(known.values())
        count = sum(case.work.group == group for case in found)
        least = min(known, key=known.__getitem__)
        detail = f"of {len(known)} of {count} cases, the least {least.partition('/')[2]} {known[least]:.2f}"
        yield Row(name=f"{group}: times torch, mean", figure=means[group], unit="x", bar=at_least(bar), detail=detail)
    if means:
        whole = len(means) == len(GROUPS)
        detail = "of the twelve groups" if whole else f"of {', '.join(means)} alone"
        mean = geometric_mean(means.values())
        bar_of_all = at_least(MEAN) if whole else None
        yield Row(name="all: times torch, mean", figure=mean, unit="x", bar=bar_of_all, detail=detail)
    yield from _search_row(found)


def _search_row(found: Iterable[Case]) -> Iterator[Row]:
    searched = [case for case in found if case.trials]
    if searched:
        seconds, trials = sum(case.wall_s for case in searched), sum(case.trials for case in searched)
        yield Row(name="all: search", figure=seconds, unit="s", detail=f"{trials} trials on {len(searched)} cases")
