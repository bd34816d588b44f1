"""Evaluates single elements of an output: only what they need of each stage is computed, and that only once."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from .errors import SpecError
from .evaluate_expr import Mask, Points, positions
from .evaluate_stage import BLOCK_ELEMENTS, Box, reduce_steps, stage_values
from .inputs import check_inputs
from .numerics import Array, compute_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .expr import Load
    from .workload import Stage, Workload

DENSE_RATIO: Final = 256
"""Distinct positions are found with a flag per element of a buffer of up to this many per position, else by sorting.

A flag takes a fraction of a nanosecond, sorting a position about a hundred.
"""


def evaluate_points(workload: Workload, inputs: Mapping[str, Array], output: str, points: Array) -> Array:
    """The elements of buffer `output` at `points`, an int64 array (n, rank); the result has shape (n,).

    Floats are computed and returned in float64, as by `evaluate` with `precise`. Any buffer may be asked for. SpecError
    if an input does not fit, a point is outside of the buffer, or a load that is not guarded lies out of bounds.
    """
    check_inputs(workload, inputs)
    buffer = workload.buffers.get(output)
    if buffer is None:
        raise SpecError(f"no buffer {output!r}; buffers: {', '.join(workload.buffers)}")
    rank = len(buffer.shape)
    if points.ndim != 2 or points.shape[1] != rank:
        raise SpecError(f"points of {output!r} have shape {points.shape}; allowed: (n, {rank})", "points")
    if np.any(points < 0) or np.any(points >= np.array(buffer.shape, dtype=np.int64)):
        raise SpecError(f"a point is outside of {output!r}, which has shape {buffer.shape}", "points")
    strides = [math.prod(buffer.shape[d + 1 :]) for d in range(rank)]
    flat = points.astype(np.int64) @ np.array(strides, dtype=np.int64)
    with np.errstate(all="ignore"):
        return Demand(workload, inputs).elements(output, flat)


@attrs.frozen(eq=False)
class Known:
    """Elements of an intermediate buffer that have been computed: values, and flags of where they hold."""

    values: Array
    valid: Array


class Demand:
    """Elements of the buffers of one workload, computed as they are asked for and kept."""

    def __init__(self, workload: Workload, inputs: Mapping[str, Array]) -> None:
        self._workload = workload
        self._inputs = inputs
        self._known: dict[str, Known] = {}

    def elements(self, buffer: str, flat: Array) -> Array:
        """The elements of `buffer` at row-major positions, in an array shaped as `flat`."""
        info = self._workload.buffers[buffer]
        if buffer in self._inputs:
            found = np.asarray(self._inputs[buffer].reshape(-1).take(flat))
            return found.astype(compute_dtype(info.dtype, precise=True), copy=False)
        known = self._of(buffer)
        missing = flat[~known.valid.take(flat)]
        if missing.size:
            self._compute(self._workload.writer[buffer], _distinct(missing, known.valid.size))
        return np.asarray(known.values.take(flat))

    def _of(self, buffer: str) -> Known:
        if buffer not in self._known:
            info = self._workload.buffers[buffer]
            size = math.prod(info.shape)
            # Pages of zeros are mapped when written: a big buffer of which little is needed is cheap.
            values = np.zeros(size, dtype=compute_dtype(info.dtype, precise=True))
            self._known[buffer] = Known(values, np.zeros(size, dtype=np.bool_))
        return self._known[buffer]

    def _compute(self, stage: Stage, flat: Array) -> None:
        """Computes all outputs of a stage at distinct positions, in runs of bounded size."""
        steps = reduce_steps(stage)
        run = max(1, BLOCK_ELEMENTS // math.prod(steps))
        for first in range(0, flat.size, run):
            part = flat[first : first + run]
            try:
                values = stage_values(stage, (part.size,), functools.partial(self._points, stage, part), steps)
            except SpecError as error:
                raise (error if error.path else error.under(f"stage {stage.name!r}")) from error
            for output, value in zip(stage.outputs, values, strict=True):
                known = self._of(output.name)
                known.values[part] = value
                known.valid[part] = True

    def _points(self, stage: Stage, flat: Array, lows: Box, sizes: Box) -> Points:
        """Points of a stage: its spatial axes along dimension 0, at the positions `flat`, its reduce axes behind."""
        rank = 1 + len(sizes)
        places = np.unravel_index(flat, stage.shape) if stage.axes else ()
        axes: dict[str, Array] = {}
        for axis, place in zip(stage.axes, places, strict=True):
            axes[axis.name] = place.astype(np.int64, copy=False).reshape([-1] + [1] * len(sizes))
        for n, (axis, low, size) in enumerate(zip(stage.reduce, lows, sizes, strict=True)):
            shape = [-1 if d == n + 1 else 1 for d in range(rank)]
            axes[axis.name] = np.arange(low, low + size, dtype=np.int64).reshape(shape)
        return Points(axes=axes, load=self._load, index_dtype=self._workload.index_dtype, precise=True)

    def _load(self, node: Load, points: Points, mask: Mask) -> Array:
        flat = positions(node, self._workload.buffers[node.buffer].shape, points, mask)
        if mask is not None and node.buffer not in self._inputs:
            # Where nothing is needed, any needed element does: it must not make the demand larger.
            needed, flat = np.broadcast_arrays(mask, flat)
            flat = np.where(needed, flat, flat[needed][0])
        return self.elements(node.buffer, flat)


def _distinct(flat: Array, size: int) -> Array:
    """Each position once, ascending."""
    if size > DENSE_RATIO * flat.size + BLOCK_ELEMENTS:
        return np.unique(flat)
    marks = np.zeros(size, dtype=np.bool_)
    marks[flat] = True
    return np.flatnonzero(marks)
