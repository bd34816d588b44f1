"""Axes of which reads take digits, as of the channels of a grouped convolution: cut into those before they are tiled.

``conv[k] += X[k // 48 * 16 + c] * W[k, c]`` reads with every `k`, and nothing seems to be shared along it. As
``conv.digits[ko, ki] += X[ko * 16 + c] * W[ko * 48 + ki, c]`` it is a batch of convolutions: X stays along `ki`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..spec.expr import Axis, Binary, Const, loads, walk
from ..spec.rewrite import STAGINGS_KEPT
from ..spec.schedule import Accumulate, Split
from .free_names import FreeNames

if TYPE_CHECKING:
    from ..spec.workload import Stage, Workload


def digit_stagings(workload: Workload) -> tuple[Accumulate, ...]:
    """A staging for each reduction whose reads take digits of its axes; none needs another one applied first."""
    return tuple(staging for stage in workload.stages if (staging := _staging(stage)) is not None)


@lru_cache(maxsize=STAGINGS_KEPT)
def _staging(stage: Stage) -> Accumulate | None:
    """The stage over digits of its axes, in the memory order of before; None where reads take none."""
    splits = []
    order: list[str] = []
    name = FreeNames(tuple(stage.extents))
    for axis in stage.axes:
        size = _digit_size(stage, axis.name) if stage.reducer is not None else 1
        if size == 1:
            order.append(axis.name)
            continue
        pieces = (name(f"{axis.name}g"), name(f"{axis.name}m"))
        splits.append(Split(axis=axis.name, into=pieces, factors=(axis.extent // size, size)))
        order += pieces
    if not splits:
        return None
    return Accumulate(stage=stage.name, as_=f"{stage.name}.digits", splits=tuple(splits), order=tuple(order))


def _digit_size(stage: Stage, axis: str) -> int:
    """How many steps of an axis one of its upper digits takes, where reads agree on that; else 1."""
    found = {
        int(node.b.text)
        for body in stage.body
        for load in loads(body)
        for position in load.indices
        for node in walk(position)
        if isinstance(node, Binary) and node.op in ("floordiv", "floormod")
        if node.a == Axis(axis) and isinstance(node.b, Const)
    }
    size = found.pop() if len(found) == 1 else 1
    extent = stage.extents[axis]
    return size if 1 < size < extent and extent % size == 0 else 1
