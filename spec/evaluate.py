"""Evaluates workloads in NumPy: the reference that every schedule is compared with, independent of TVM.

Stages are computed whole, one after another; `evaluate_points` computes single elements of an output on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.lib.stride_tricks import as_strided

from .errors import SpecError
from .evaluate_expr import Mask, Points, affine, positions
from .evaluate_points import evaluate_points
from .evaluate_stage import Box, block_sizes, boxes, stage_values
from .inputs import check_inputs, random_inputs
from .numerics import Array, array_dtype, compute_dtype, rounded
from .tolerance import tolerance

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .expr import Load
    from .workload import Stage, Workload

__all__ = ["evaluate", "evaluate_points", "random_inputs", "tolerance"]


@attrs.frozen(kw_only=True)
class Block:
    """A box of a stage's iteration space: for each axis (spatial first) its name, first value and number of values."""

    names: tuple[str, ...]
    lows: Box
    sizes: Box


def evaluate(
    workload: Workload,
    inputs: Mapping[str, Array],
    *,
    precise: bool = False,
    keep: Collection[str] = (),
) -> dict[str, Array]:
    """The output parameters of `workload`, and the intermediate buffers named in `keep`, by name.

    With `precise`, floats are computed and returned in float64 from the given inputs, never rounded: the reference for
    results in any order of operations, up to `tolerance`. Without, each stage computes in float32 (float64 where it
    says so) and its result is rounded to the declared dtype. Integers wrap as their dtype does. SpecError if an input
    does not fit, or a load that is not guarded lies out of bounds.
    """
    check_inputs(workload, inputs)
    buffers = {
        buffer.name: inputs[buffer.name].astype(compute_dtype(buffer.dtype, precise), copy=False)
        for buffer in workload.inputs
    }
    wanted = {*workload.outputs, *keep}
    last_reader = {buffer: number for number, stage in enumerate(workload.stages) for buffer in stage.reads}
    found: dict[str, Array] = {}
    for number, stage in enumerate(workload.stages):
        try:
            with np.errstate(all="ignore"):
                values = _evaluate_stage(stage, buffers, workload.index_dtype, precise)
        except SpecError as error:
            raise error.under(f"stage {stage.name!r}") from error
        for output, value in zip(stage.outputs, values, strict=True):
            buffers[output.name] = value
            if output.name in wanted:
                found[output.name] = value if precise else value.astype(array_dtype(output.dtype))
        for buffer in stage.reads:
            if last_reader[buffer] == number:
                del buffers[buffer]
    return found


def _evaluate_stage(stage: Stage, buffers: Mapping[str, Array], index_dtype: str, precise: bool) -> list[Array]:
    """Every output of a stage, in the dtype it is computed in, rounded to the declared one unless `precise`."""
    results = [np.empty(stage.shape, dtype=compute_dtype(output.dtype, precise)) for output in stage.outputs]
    limits = block_sizes(stage)
    names = tuple(stage.extents)
    steps = tuple(limits[axis.name] for axis in stage.reduce)
    for lows, sizes in boxes(stage.shape, [limits[axis.name] for axis in stage.axes]):

        def points_at(reduce_lows: Box, reduce_sizes: Box, lows: Box = lows, sizes: Box = sizes) -> Points:
            block = Block(names=names, lows=(*lows, *reduce_lows), sizes=(*sizes, *reduce_sizes))
            return _points(block, buffers, index_dtype, precise)

        window = tuple(slice(low, low + size) for low, size in zip(lows, sizes, strict=True))
        for result, value in zip(results, stage_values(stage, sizes, points_at, steps), strict=True):
            result[window] = value
    if precise:
        return results
    return [r if r.dtype.kind != "f" else rounded(r, o.dtype) for r, o in zip(results, stage.outputs, strict=True)]


def _points(block: Block, buffers: Mapping[str, Array], index_dtype: str, precise: bool) -> Points:
    """The points of a box: each axis runs along its own dimension."""

    def load(node: Load, points: Points, mask: Mask) -> Array:
        data = buffers[node.buffer]
        view = window_view(node, data, block)
        if view is not None:
            return view
        return np.asarray(data.reshape(-1).take(positions(node, data.shape, points, mask)))

    rank = len(block.names)
    axes = {
        name: np.arange(low, low + size, dtype=np.int64).reshape([-1 if d == n else 1 for d in range(rank)])
        for n, (name, low, size) in enumerate(zip(block.names, block.lows, block.sizes, strict=True))
    }
    return Points(axes=axes, load=load, index_dtype=index_dtype, precise=precise)


def window_view(node: Load, data: Array, block: Block) -> Array | None:
    """What a load reads over a box, as a strided view of the buffer; None if not affine or not in bounds throughout.

    ``X[h * 2 + r]`` over h, r has strides (2, 1), as in numpy.lib.stride_tricks.sliding_window_view.
    """
    corner: list[slice] = []
    strides = [0] * len(block.names)
    for entry, extent, stride in zip(node.indices, data.shape, data.strides, strict=True):
        form = affine(entry)
        if form is None:
            return None
        first = low = high = form[0]
        for n, (name, start, size) in enumerate(zip(block.names, block.lows, block.sizes, strict=True)):
            coefficient = form[1].get(name, 0)
            reach = coefficient * (size - 1)
            first += coefficient * start
            low += coefficient * start + min(reach, 0)
            high += coefficient * start + max(reach, 0)
            strides[n] += coefficient * stride
        if low < 0 or high >= extent:
            return None
        corner.append(slice(first, None))
    shape = [size if stride else 1 for stride, size in zip(strides, block.sizes, strict=True)]
    return as_strided(data[tuple(corner)], shape, strides, writeable=False)
