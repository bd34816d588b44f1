"""Steps over padding that a sum leaves out: which loops can, how much work that saves, and what is left of a nest's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

from ..spec.expr import axes_in, loads
from ..spec.zeros import step_tests, zero_tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..spec.expr import Compare
    from ..spec.nest import StageNest
    from ..spec.workload import Stage, Workload
    from .layouts import Layout

LEAST_SAVED: Final = 0.04
"""Part of the work of a reduction that lies in padding, where leaving it out is worth a choice."""
_LEAST_ROWS: Final = 2
"""Rows of a register tile at least: they read padding together, or the step is done."""
_MOST_STEPS: Final = 2**18
"""Steps that are looked at one by one."""


def tap_axes(stage: Stage, layout: Layout, workload: Workload, lanes: int) -> tuple[str, ...]:
    """The reduce axes whose steps may be left out in a layout, in their order; none where too little would be saved."""
    tests = [test for test in _own_tests(stage, workload) if _is_beside(test, stage, layout, lanes)]
    if not tests or 1 - done_share(tuple(tests), tuple(stage.extents.items())) < LEAST_SAVED:
        return ()
    named = frozenset().union(*map(axes_in, tests))
    return tuple(axis.name for axis in stage.reduce if axis.name in named)


def _own_tests(stage: Stage, workload: Workload) -> list[Compare]:
    """What tells padding along a spatial and a reduce axis of a sum."""
    if stage.reducer is None or stage.reducer.op != "sum" or len(stage.body) > 1:
        return []
    spatial, reduce = {axis.name for axis in stage.axes}, {axis.name for axis in stage.reduce}
    tests = dict.fromkeys(zero_tests(stage.body[0], workload))
    return [test for test in tests if not loads(test) and axes_in(test) & spatial and axes_in(test) & reduce]


def _is_beside(test: Compare, stage: Stage, layout: Layout, lanes: int) -> bool:
    """True where all elements of a register tile mostly pass or fail a test together."""
    for group, least in ((layout.vector, lanes), (layout.rows, _LEAST_ROWS)):
        for position, name in enumerate(group):
            if name in axes_in(test) and math.prod(stage.extents[inner] for inner in group[position + 1 :]) < least:
                return False
    return True


def share_of_steps(nest: StageNest, workload: Workload) -> float:
    """The part of a nest's steps that is done: 1.0 where it leaves none out."""
    if nest.nest.skip is None:
        return 1.0
    extents = tuple((loop.name, loop.extent) for loop in nest.loops)
    return done_share(step_tests(nest, workload, nest.nest.skip), extents)


@lru_cache(maxsize=4096)
def done_share(tests: Sequence[Compare], extents: Sequence[tuple[str, int]]) -> float:
    """The part of all steps in which every test holds; of too many, as if tests had nothing to do with one another."""
    import numpy as np

    from ..spec.evaluate_expr import Points, evaluate_expr

    named = frozenset().union(*map(axes_in, tests))
    sizes = {name: extent for name, extent in extents if name in named}
    if math.prod(sizes.values()) > _MOST_STEPS:
        if len(tests) == 1:
            return 1.0
        return math.prod(done_share((test,), tuple(extents)) for test in tests)
    grid = np.meshgrid(*(np.arange(size) for size in sizes.values()), indexing="ij", sparse=True)
    points = Points(axes=dict(zip(sizes, grid, strict=True)), load=_no_load, index_dtype="int64")
    held = np.ones([1] * len(sizes), dtype=bool)
    for test in tests:
        held = held & evaluate_expr(test, points)
    return float(np.broadcast_to(held, tuple(sizes.values())).mean())


def _no_load(*_: object) -> NoReturn:
    raise AssertionError("a test of padding reads no buffer")
