"""The value of one stage over given points: reductions in boxes of bounded size, sums of products as contractions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import numpy as np

from .contract import contract
from .evaluate_expr import Points, evaluate_expr
from .expr import Binary, Expr, axes_in
from .numerics import Array, compute_dtype, constant_array

if TYPE_CHECKING:
    from .workload import Stage

BLOCK_ELEMENTS: Final = 2**20
"""Points computed at once: 8 MB for each temporary array."""
FACTOR_ELEMENTS: Final = 2**22
"""Elements of one factor of a product at once: its windows are copied out, 32 MB in float64."""

Box: TypeAlias = tuple[int, ...]
PointsAt: TypeAlias = Callable[[Box, Box], Points]
"""First values and sizes of a box of reduce axes → the points there."""

_COMBINE: Final[Mapping[str, np.ufunc]] = {
    "sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def factors(stage: Stage) -> tuple[Expr, ...]:
    """The factors of a sum's body; the whole body where it is no sum of products."""

    def split(node: Expr) -> tuple[Expr, ...]:
        return (*split(node.a), *split(node.b)) if isinstance(node, Binary) and node.op == "mul" else (node,)

    return split(stage.body[0]) if stage.reducer is not None and stage.reducer.op == "sum" else stage.body


def block_sizes(stage: Stage) -> dict[str, int]:
    """How far each axis runs at once, so that no array grows beyond a few million elements.

    A sum of products is bounded by its factors and its result, anything else by its points. Spatial axes are cut first,
    outermost first: a reduction that is not cut is a single matrix product.
    """
    sizes = dict(stage.extents)
    spatial = {axis.name for axis in stage.axes}
    parts = factors(stage)
    groups: list[Collection[str]] = [set(sizes)]
    limit = BLOCK_ELEMENTS
    if stage.reducer is not None and stage.reducer.op == "custom":
        sizes.update({axis.name: 1 for axis in stage.reduce})
    elif len(parts) > 1:
        groups = [spatial, *(axes_in(part) for part in parts)]
        limit = FACTOR_ELEMENTS
    for group in groups:
        for name in stage.extents:
            total = math.prod(sizes[n] for n in group)
            if name in group and total > limit:
                sizes[name] = max(1, limit * sizes[name] // total)
    return sizes


def reduce_steps(stage: Stage) -> list[int]:
    """How far each reduce axis runs at once where single points are computed."""
    steps = [axis.extent for axis in stage.reduce]
    if stage.reducer is not None and stage.reducer.op == "custom":
        return [1] * len(steps)
    for n, step in enumerate(steps):
        steps[n] = max(1, step * BLOCK_ELEMENTS // max(BLOCK_ELEMENTS, math.prod(steps)))
    return steps


def boxes(extents: Sequence[int], steps: Sequence[int]) -> Iterator[tuple[Box, Box]]:
    """Boxes that cover an iteration space in row-major order: first values and sizes."""
    for lows in itertools.product(*(range(0, e, step) for e, step in zip(extents, steps, strict=True))):
        yield lows, tuple(min(step, e - low) for low, e, step in zip(lows, extents, steps, strict=True))


def stage_values(stage: Stage, shape: Box, points_at: PointsAt, steps: Sequence[int]) -> list[Array]:
    """Each output of a stage at points whose first dimensions are `shape`, the next ones the reduce axes.

    Reduce axes are walked in boxes of `steps`, in order; custom reducers step by step.
    """
    reducer = stage.reducer
    if reducer is None:
        points = points_at((), ())
        return [np.broadcast_to(evaluate_expr(body, points), shape) for body in stage.body]
    points = points_at((0,) * len(stage.reduce), (1,) * len(stage.reduce))
    totals = [
        np.broadcast_to(constant_array(start, points.precise), shape + (1,) * len(stage.reduce))
        for start in reducer.init
    ]
    for lows, sizes in boxes([axis.extent for axis in stage.reduce], steps):
        points = points_at(lows, sizes)
        if reducer.op == "custom":
            points = attrs.evolve(points, accumulators=tuple(totals))
            totals = [evaluate_expr(body, points) for body in stage.body]
        else:
            totals = [np.asarray(_COMBINE[reducer.op](totals[0], _partial(stage, points, shape, sizes)))]
    return [np.broadcast_to(total, shape + (1,) * len(stage.reduce)).reshape(shape) for total in totals]


def _partial(stage: Stage, points: Points, shape: Box, sizes: Box) -> Array:
    """One reducer's result over a box of reduce axes, which are left with size 1."""
    op = stage.reducer.op if stage.reducer is not None else ""
    rank = len(shape)
    values = [_ranked(evaluate_expr(part, points), rank + len(sizes)) for part in factors(stage)]
    if op == "sum":
        # Index arithmetic as a factor is int64 until here.
        dtype = compute_dtype(stage.outputs[0].dtype, points.precise)
        return contract([value.astype(dtype, copy=False) for value in values], (*shape, *sizes), range(rank))
    (value,) = values
    if op == "prod":
        value = np.broadcast_to(value, (*value.shape[:rank], *sizes))
    dims = tuple(range(rank, rank + len(sizes)))
    return np.asarray(_COMBINE[op].reduce(value, axis=dims, dtype=value.dtype, keepdims=True))


def _ranked(value: Array, rank: int) -> Array:
    return value.reshape((1,) * (rank - value.ndim) + value.shape)
