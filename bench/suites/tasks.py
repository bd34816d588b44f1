"""Tasks of the user's choice, each tuned, then in turn with its default schedule and the peers that have its operator.

An operator of another package is timed like one of ours; peers have only those that they know by our name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...nn.registry import get_task, parse_arguments
from ...spec.errors import SpecError
from ..match import PEAK, TUNED, play
from ..report import Row, spread_row
from ..rounds import ratios, spread
from ..sweep import DEFAULT, SEARCH_S
from ..tuned import default_spec, tune
from ..works import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..match import Match
    from ..suite import Ground


def run(ground: Ground) -> Iterator[Row]:
    """The rows of each task that ``--works`` names."""
    if not ground.options.works:
        raise SpecError("found none; name tasks as for tune, 'yolo/yolo3,gemv N=64 K=32'", "works")
    for each in map(work_named, ground.options.works):
        tuned = tune(ground, each, ground.options.seconds or SEARCH_S)
        specs = {TUNED: tuned.spec, DEFAULT: default_spec(ground, each, f"{each.file_name}.default")}
        if tuned.is_searched:
            yield Row(name=f"{each.name}: search", figure=tuned.wall_s, unit="s", detail=f"{tuned.trials} trials")
        yield from match_rows(play(ground, each, specs))


def match_rows(match: Match) -> Iterator[Row]:
    """Everyone's time, and how many times as fast as each of them ours is."""
    samples = {label: taken for label, taken in match.samples.items() if label != PEAK}
    for label, taken in samples.items():
        yield spread_row(f"{match.work.name}: {label}", spread([seconds * 1e6 for seconds in taken]), "µs")
    for label, taken in samples.items():
        if label != TUNED:
            yield spread_row(f"{match.work.name}: times {label}", ratios(taken, samples[TUNED]), "x")


def work_named(text: str) -> Work:
    """The work that ``gemv N=64 K=32`` or ``gemv/gemv0`` says."""
    op, *words = text.split() or [""]
    call = get_task(op, threads=1, **parse_arguments(op, words)).op
    assert call is not None, "it was made by name"
    return Work(name=text, op=call.name, args=tuple((argument.name, argument.value) for argument in call.args))
