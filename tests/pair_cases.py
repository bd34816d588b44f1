"""Pairs of a task and a schedule by number: drawn by the public hypothesis strategies from one seed, each on its own.

`fuzz_one_input` is hypothesis' own way to run a property on bytes from outside. Bytes that are random make every choice
evenly, where the engine of `given` prefers small ones; pair 1234 of a seed needs no pair before it.
"""

from __future__ import annotations

import random
from typing import Final

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.schedule import Schedule
from autosched.spec.task import Task
from autosched.spec.testing import schedules, tasks, workloads

DTYPES: Final = ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64")
"""What workloads compute in: all that NumPy can check and x86 has."""
BYTES: Final = 16384
"""Random bytes a pair: the largest need half of them."""


@attrs.frozen
class Pair:
    """A task, a schedule that passes the checks, and one that was drawn without asking them."""

    task: Task
    legal: Schedule
    bold: Schedule


@attrs.define
class _Drawn:
    """What the last run of `_draw` drew; hypothesis hands nothing back."""

    pair: Pair | None = None


_DRAWN: Final = _Drawn()


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), tasks(workloads(dtypes=DTYPES)))
def _draw(data: st.DataObject, task: Task) -> None:
    bold = data.draw(schedules(task, max_stagings=2, checked=False))
    _DRAWN.pair = Pair(task=task, legal=data.draw(schedules(task)), bold=bold)


def pair(seed: int, number: int) -> Pair:
    """Pair `number` of a seed: the same on every machine with the same hypothesis."""
    for attempt in range(100):
        noise = random.Random(f"{seed} {number} {attempt}").randbytes(BYTES)
        _DRAWN.pair = None
        if _draw.hypothesis.fuzz_one_input(noise) is not None and _DRAWN.pair is not None:
            return _DRAWN.pair
    raise AssertionError(f"pair {number} of seed {seed}: 100 attempts gave none")
