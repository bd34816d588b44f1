"""Which loops are cut where a condition changes, so that all vectors but those at the edges are whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .expr import Compare, If, axes_in, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nest import StageNest
    from .workload import Stage

_CUT: Final = ("serial", "parallel")
"""What loops that are cut may be; unrolled ones are cut as they are unrolled."""
_LONG: Final = 4
"""Copies of a body in a loop: more are not written out once more for each end of it."""


def is_guarded(stage: Stage) -> bool:
    """True where some value is chosen by a guard, as in padding."""
    return any(isinstance(node, If) for body in stage.body for node in walk(body))


def cut_loops(nest: StageNest) -> tuple[str, ...]:
    """The loops of a nest to cut: of each condition that differs along a vector, the innermost loop in it but that one.

    before: ``for ko in 13: vectorize ki in 16: Y[ko * 16 + ki] = ... if ko * 16 + ki < 200``
    after: ``for ko in 12: vectorize ki in 16: Y[ko * 16 + ki] = ...``, then the last step with its condition.
    Of a vector that a condition divides, the compiler makes single elements. Of a loop without a condition it makes
    vectors by itself: where a map has none, its innermost loop is cut by what the body says of that loop alone.
    Where loops further out move a condition, none is: TVM does not keep the cut inside of the loop then, and does steps
    twice, or some before the first.
    """
    loops = [loop for loop in nest.bound if loop.to in _CUT and len(loop.parts) == 1 and loop.extent > 1]
    vector = nest.vector
    if not loops:
        return ()
    if vector is None or vector.extent == 1:
        last, inner = loops[-1].name, nest.bound[nest.bound_position(loops[-1].name) + 1 :]
        within = [loop for loop in nest.bound if loop.extent == 1 or (loop.to == "unroll" and loop in inner)]
        if nest.stage.reduce or math.prod(loop.extent for loop in within) > _LONG:
            return ()
        alone = {last, *(loop.name for loop in within)}
        return (last,) if any(last in names <= alone for names in _guards(nest)) else ()
    lanes = vector.parts[-1].name
    found: dict[str, None] = {}
    for names in _conditions(nest):
        inside = [loop.name for loop in loops if loop.name in names]
        if lanes in names and inside and not _moves(nest, inside[-1], names):
            found[inside[-1]] = None
    return tuple(found)


def _moves(nest: StageNest, loop: str, names: frozenset[str]) -> bool:
    """True where a condition on `names` has loops of several steps outside of `loop`."""
    outside = nest.loops[: nest.position(loop)]
    return any(each.name in names and each.extent > 1 for each in outside)


def _conditions(nest: StageNest) -> Iterator[frozenset[str]]:
    """The loops in each condition: tails that are skipped, and comparisons in the body."""
    extents = {axis.name: axis.extent for axis in nest.axes}
    for split in nest.nest.splits:
        if split.tail == "predicate" and math.prod(split.factors) > extents[split.axis]:
            yield frozenset(split.into)
    yield from _guards(nest)


def _guards(nest: StageNest) -> Iterator[frozenset[str]]:
    """The loops in each comparison of the body."""
    if is_guarded(nest.stage):
        guards = (node for body in nest.body for node in walk(body) if isinstance(node, If))
        yield from (axes_in(test) for guard in guards for test in walk(guard.cond) if isinstance(test, Compare))
