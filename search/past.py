"""What other tasks on this machine teach: trees from a share of their trials, kept as text beside the store.

Looking at a trial again takes a millisecond or two, so the trees are written down when they are made, and made anew
once a quarter more is known, something they learned from is gone, or the features have changed. A file that is damaged
or of another kind is not used, and written anew: nothing is lost with it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from ..spec.check import check_schedule
from ..spec.errors import SpecError
from ..store.keys import task_key
from .features import features_of
from .learned import Row, past_trees
from .past_file import read_trees, write_trees
from .space import candidate_from_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..spec.schedule import Schedule
    from .hardware import Hardware
    from .history import PastTask
    from .learned import Trees

MOST_ROWS: Final = 1024
"""Trials that trees are made of, in all."""


def past_model(past: Sequence[PastTask], hardware: Hardware, kept: Path | None = None) -> Trees | None:
    """Trees that other tasks have taught; None where there are none.

    `kept` is the file where they are looked for first, and written where they are made.
    """
    if not past:
        return None
    known = {task_key(task.task): len(task.trials) for task in past}
    if kept is not None and (trees := read_trees(kept, known)) is not None:
        return trees
    trees = _made(tuple(past), hardware)
    if kept is not None:
        write_trees(kept, trees, known)
    return trees


@functools.lru_cache(maxsize=16)
def _made(past: tuple[PastTask, ...], hardware: Hardware) -> Trees:
    share = MOST_ROWS // len(past)
    return past_trees([_rows(task, share, hardware) for task in past])


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(past: PastTask, count: int, hardware: Hardware) -> list[Row]:
    """The rows of `count` trials, evenly taken; those that no longer pass the checks are left out."""
    step = max(1.0, len(past.trials) / max(1, count))
    chosen = [past.trials[int(number * step)] for number in range(min(count, len(past.trials)))]
    return [row for schedule, seconds in chosen if (row := _row(past, schedule, seconds, hardware)) is not None]


def _row(past: PastTask, schedule: Schedule, seconds: float, hardware: Hardware) -> Row | None:
    try:
        plan = check_schedule(schedule, past.task)
    except SpecError:
        return None
    candidate = candidate_from_plan((), schedule, plan, hardware)
    return Row(features=features_of(candidate, past.task, hardware), predicted_s=candidate.predicted_s, outcome=seconds)
