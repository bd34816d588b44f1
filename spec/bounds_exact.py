"""Exact bounds of index expressions by enumeration, where intervals are too coarse to show that a load is in bounds.

Intervals treat the axes of ``i * 3 // 4 - i // 2`` as if each occurrence moved by itself. Up to a million points are
cheap to look at instead. Of what a check imports only this needs NumPy, and `check_workload` comes here last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from .errors import SpecError
from .evaluate_expr import Mask, Points, evaluate_expr
from .expr import Expr, Load, axes_in, loads, walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .linear import Range
    from .numerics import Array

MAX_POINTS: Final = 1_000_000


def exact_range(
    node: Expr, guards: Sequence[tuple[Expr, bool]], extents: Mapping[str, int], work: list[int] | None = None
) -> Range | None:
    """Least and greatest value of an index expression at the points where every guard has its value.

    None where that takes more than `MAX_POINTS`, or more operations on points than are left in ``work[0]``, which it
    takes them off, or the expression has loads. Guards with loads are left out, and so are those on further axes that
    make it too much: the range is then an outer bound. (0, 0) where no point is left.
    """
    if loads(node):
        return None
    axes = set(axes_in(node))
    if _points(axes, extents) > MAX_POINTS:
        return None
    used = []
    for guard, holds in sorted(guards, key=lambda item: len(axes_in(item[0]) - axes)):
        if not loads(guard) and _points(axes | axes_in(guard), extents) <= MAX_POINTS:
            axes |= axes_in(guard)
            used.append((guard, holds))
    if work is not None:
        nodes = sum(1 for expr in (node, *(guard for guard, _ in used)) for _ in walk(expr))
        work[0] -= nodes * _points(axes, extents)
        if work[0] < 0:
            return None
    return _enumerated(node, used, {name: extents[name] for name in sorted(axes)})


def _points(axes: set[str] | frozenset[str], extents: Mapping[str, int]) -> int:
    return math.prod(extents[name] for name in axes)


def _enumerated(node: Expr, guards: Sequence[tuple[Expr, bool]], extents: Mapping[str, int]) -> Range:
    rank = len(extents)
    points = Points(
        axes={
            name: np.arange(extent, dtype=np.int64).reshape([-1 if d == n else 1 for d in range(rank)])
            for n, (name, extent) in enumerate(extents.items())
        },
        load=_no_load,
    )
    with np.errstate(all="ignore"):
        values = evaluate_expr(node, points)
        taken: Array = np.ones((), dtype=np.bool_)
        for guard, holds in guards:
            taken = taken & (evaluate_expr(guard, points) == holds)
    values, taken = np.broadcast_arrays(values, taken)
    left = values[taken]
    return (int(left.min()), int(left.max())) if left.size else (0, 0)


def _no_load(node: Load, _points: Points, _mask: Mask) -> Array:
    raise SpecError(f"a load of {node.buffer!r} where bounds are enumerated")
