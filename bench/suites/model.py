"""How well the analytic model orders candidates: predictions beside times that were taken in turn, in one process.

For whoever changes the model. Candidates are the best-looking of every sketch, as a search meets them. Times that were
not taken in turn would compare minutes of a machine rather than kernels.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from ...search.first_look import first_look, rank_of
from ...search.measure import Measurer
from ...search.space import Space
from ...spec.claim import Failure, Protocol
from ...store.machine import this_machine
from ..figures import geometric_mean
from ..report import Row
from ..sweep import wanted
from ..works import work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...search.space import Candidate
    from ..suite import Ground
    from ..works import Work

MOST: Final = 40
"""Candidates of a work that are timed."""
OF_A_SKETCH: Final = 3
"""Candidates of one sketch that are timed, at most."""
FAR: Final = 4.0
"""None that is predicted to take so many times as long as the best."""
ROUNDS: Final = 5
FEW: Final = 3
"""Of the first choices, the best of so many is told of too."""
WORKS: Final = (
    work("gemm", "gemm", N=512, K=512, M=512),
    work("conv 3x3", "conv2d", N=1, C=256, H=28, W=28, K=512, R=3, S=3, padding=1),
    work("conv 1x1", "conv2d", N=1, C=512, H=28, W=28, K=512, R=1, S=1),
    work("conv dilated", "conv2d", N=1, C=256, H=28, W=28, K=512, R=3, S=3, padding=1, dilation=2),
    work("conv in groups", "conv2d", N=1, C=256, H=56, W=56, K=512, R=3, S=3, padding=1, groups=4),
    work("conv1d", "conv1d", N=1, C=256, L=784, K=512, R=9, padding=1),
    work("conv3d", "conv3d", N=1, C=256, D=4, H=14, W=14, K=512, T=3, R=3, S=3, padding=1),
    work("conv_transpose2d", "conv_transpose2d", N=1, C=256, H=56, W=56, K=128, R=3, S=3, padding=1),
)
SMALL: Final = (work("small", "gemm", N=64, K=32, M=48),)


@attrs.frozen(kw_only=True)
class Ordering:
    """Predicted and measured seconds of the candidates of a work, in one order."""

    name: str
    predicted_s: tuple[float, ...]
    measured_s: tuple[float, ...]

    @property
    def rank_correlation(self) -> float:
        """Spearman's: 1 where both orders are the same, 0 where one says nothing of the other."""
        return statistics.correlation(_ranks(self.predicted_s), _ranks(self.measured_s))

    @property
    def scatter(self) -> float:
        """The standard deviation of measured over predicted, as a factor."""
        return math.exp(statistics.pstdev(self._errors))

    @property
    def error(self) -> float:
        """Measured over predicted, the geometric mean."""
        return math.exp(statistics.fmean(self._errors))

    def choice(self, count: int) -> float:
        """How many times as long as the best the best of the model's first `count` takes."""
        ranked = sorted(zip(self.predicted_s, self.measured_s, strict=True))
        return min(measured for _, measured in ranked[:count]) / min(self.measured_s)

    @property
    def _errors(self) -> list[float]:
        return [math.log(m / p) for m, p in zip(self.measured_s, self.predicted_s, strict=True)]


def run(ground: Ground) -> Iterator[Row]:
    """The rows of each work, then the means."""
    found = []
    for each in wanted(ground, SMALL if ground.options.quick else WORKS):
        ordering = ordered(ground, each)
        if ordering is None:
            yield Row(name=f"{each.name}: rank correlation", figure=None, unit="", detail="fewer than two could run")
            continue
        found.append(ordering)
        yield from rows_of(ordering)
    if found:
        yield Row(
            name="all: rank correlation, mean", figure=statistics.fmean(o.rank_correlation for o in found), unit=""
        )
        for count in (1, FEW):
            mean = geometric_mean(o.choice(count) for o in found)
            yield Row(name=f"all: {_choice_text(count)}, mean", figure=mean, unit="x", detail=f"of {len(found)} works")
        yield Row(name="all: scatter, mean", figure=geometric_mean(o.scatter for o in found), unit="x")


def rows_of(ordering: Ordering) -> Iterator[Row]:
    """What is said of a work."""
    count = len(ordering.measured_s)
    yield Row(
        name=f"{ordering.name}: rank correlation",
        figure=ordering.rank_correlation,
        unit="",
        detail=f"of {count} candidates",
    )
    for first in (1, FEW):
        yield Row(name=f"{ordering.name}: {_choice_text(first)}", figure=ordering.choice(first), unit="x")
    yield Row(name=f"{ordering.name}: scatter", figure=ordering.scatter, unit="x", detail="of measured over predicted")
    yield Row(name=f"{ordering.name}: measured over predicted", figure=ordering.error, unit="x")


def ordered(ground: Ground, each: Work) -> Ordering | None:
    """Times the candidates of a work in turn; None where fewer than two run."""
    ground.say(f"{each.name}: analysing candidates")
    task = each.task(ground.options.threads)
    chosen = chosen_of(Space(task, this_machine()), min(ground.options.trials, MOST))
    ground.say(f"{each.name}: timing {len(chosen)} in turn")
    with Measurer(task, Protocol(threads=task.threads)) as measurer:
        results = measurer.retime([candidate.schedule for candidate in chosen], ROUNDS)
    timed = [
        (candidate.predicted_s, statistics.median(samples_s))
        for candidate, samples_s in zip(chosen, results, strict=True)
        if not isinstance(samples_s, Failure)
    ]
    if len(timed) < 2:
        return None
    predicted, measured = zip(*timed, strict=True)
    return Ordering(name=each.name, predicted_s=predicted, measured_s=measured)


def chosen_of(space: Space, count: int) -> list[Candidate]:
    """The best-looking `count` candidates of a search's first look, a few of each sketch, each schedule once."""
    looked_at = first_look(space, space.near(space.ways))
    different = {candidate.schedule: candidate for candidate in looked_at}
    taken: list[Candidate] = []
    for candidate in sorted(different.values(), key=rank_of):
        of_sketch = sum(other.point[0] == candidate.point[0] for other in taken)
        if of_sketch < OF_A_SKETCH and candidate.predicted_s <= FAR * (taken or [candidate])[0].predicted_s:
            taken.append(candidate)
    return taken[:count]


def _ranks(values: Sequence[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    for rank, place in enumerate(order):
        ranks[place] = rank
    return ranks


def _choice_text(count: int) -> str:
    return "first choice, times the best's time" if count == 1 else f"best of the first {count}, likewise"
