"""Pairs of a task and a schedule by number: drawn by the public hypothesis strategies from one seed, each on its own.

`fuzz_one_input` is hypothesis' own way to run a property on bytes from outside. Bytes that are random make every choice
evenly, where the engine of `given` prefers small ones; pair 1234 of a seed needs no pair before it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.intrinsics import INTRINSICS, is_had
from autosched.spec.schedule import SCOPES, Schedule, Tensorize
from autosched.spec.task import Task, target_from_value
from autosched.spec.testing import schedules, tasks, tensorized, workloads
from gpu_products import gpu_products
from wmma_products import Product, small_wmma_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.spec.workload import Workload

DTYPES: Final = ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64")
"""What workloads compute in: all that NumPy can check and x86 has."""
EVERYWHERE: Final = tuple(one for one in INTRINSICS.values() if is_had(one, ("avx2",)))
"""The intrinsics of any CPU that batches are built for; the others are proven in tests/test_tensorize.py."""
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
    """What the last run of a property drew; hypothesis hands nothing back."""

    pair: Pair | None = None


_DRAWN: Final = _Drawn()
_SETTINGS: Final = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
KINDS: Final = 16
"""Of so many pairs one is done by tensor intrinsics of a CPU, and three are for a GPU, one of them by tensor cores."""


@_SETTINGS
@given(st.data(), tasks(workloads(dtypes=DTYPES)))
def _draw(data: st.DataObject, task: Task) -> None:
    bold = data.draw(schedules(task, max_stagings=2, checked=False))
    _DRAWN.pair = Pair(task=task, legal=data.draw(schedules(task)), bold=bold)


@_SETTINGS
@given(st.data(), workloads())
def _draw_for_gpu(data: st.DataObject, workload: Workload) -> None:
    arch = data.draw(st.sampled_from(["sm_80", "sm_90"]))
    task = Task(workload=workload, target=target_from_value({"kind": "cuda", "arch": arch}), threads=1)
    legal = data.draw(schedules(task))
    _DRAWN.pair = Pair(task=task, legal=legal, bold=_with_another(data, legal, "scope", SCOPES))


@_SETTINGS
@given(st.data(), gpu_products())
def _draw_product_for_gpu(data: st.DataObject, pair: tuple[Task, Schedule]) -> None:
    task, legal = pair
    field, values = data.draw(st.sampled_from([("scope", SCOPES), ("ahead", range(4)), ("align", (None,))]))
    _DRAWN.pair = Pair(task=task, legal=legal, bold=_with_another(data, legal, field, values))


@_SETTINGS
@given(st.data(), small_wmma_products())
def _draw_for_tensor_cores(data: st.DataObject, product: Product) -> None:
    legal = product.schedule()
    names = [nest.tensorize for nest in legal.nests]
    changes = [("scope", SCOPES), ("tensorize", names), ("ahead", range(4)), ("align", (None,))]
    field, values = data.draw(st.sampled_from(changes))
    _DRAWN.pair = Pair(task=product.task(), legal=legal, bold=_with_another(data, legal, field, values))


@_SETTINGS
@given(st.data(), tensorized(EVERYWHERE))
def _draw_tensorized(data: st.DataObject, pair: tuple[Task, Schedule]) -> None:
    task, legal = pair
    others = [
        Tensorize(loop=n.tensorize.loop, intrinsic=i.name) for n in legal.nests if n.tensorize for i in EVERYWHERE
    ]
    _DRAWN.pair = Pair(task=task, legal=legal, bold=_with_another(data, legal, "tensorize", [None, *others]))


def _with_another(data: st.DataObject, schedule: Schedule, field: str, values: Sequence[Any]) -> Schedule:
    """The schedule with a field of one of its nests changed, whether it fits or not."""
    if not schedule.nests:
        return schedule
    number = data.draw(st.integers(0, len(schedule.nests) - 1))
    nest = attrs.evolve(schedule.nests[number], **{field: data.draw(st.sampled_from(list(values)))})
    return attrs.evolve(schedule, nests=(*schedule.nests[:number], nest, *schedule.nests[number + 1 :]))


_OTHERS: Final = {3: _draw_tensorized, 7: _draw_for_gpu, 11: _draw_product_for_gpu, 15: _draw_for_tensor_cores}


def pair(seed: int, number: int) -> Pair:
    """Pair `number` of a seed: the same on every machine with the same hypothesis."""
    draw = _OTHERS.get(number % KINDS, _draw)
    for attempt in range(100):
        noise = random.Random(f"{seed} {number} {attempt}").randbytes(BYTES)
        _DRAWN.pair = None
        if draw.hypothesis.fuzz_one_input(noise) is not None and _DRAWN.pair is not None:
            return _DRAWN.pair
    raise AssertionError(f"pair {number} of seed {seed}: 100 attempts gave none")
