"""The input arrays of a workload: checked against it, or random ones that reveal wrong answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .dtypes import integer_bounds, is_float
from .errors import SpecError
from .evaluate_expr import Points, evaluate_expr
from .expr import Call, Cast, Compare, Expr, If, Load, axes_in, loads, walk
from .numerics import Array, array_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .linear import Range
    from .task import ValueRange
    from .workload import Buffer, Stage, Workload

MODEST: Final = 9
"""Greatest size of a random integer input: products of two fit int8, and no value hides another."""

_POSITIVE_ONLY: Final = frozenset({"sqrt", "rsqrt", "log", "log2", "log10", "log1p", "pow"})
"""Calls that give nan for a negative argument, and nan on both sides compares as equal."""


def check_inputs(workload: Workload, inputs: Mapping[str, Array]) -> None:
    """Raises SpecError if an array is missing, belongs to no input, or has another shape or dtype."""
    known = {buffer.name: buffer for buffer in workload.inputs}
    unknown = sorted(inputs.keys() - known.keys())
    if unknown:
        raise SpecError(f"array {unknown[0]!r} is no input; inputs: {', '.join(known) or 'none'}", "inputs")
    for name, buffer in known.items():
        if name not in inputs:
            raise SpecError(f"no array for input {name!r}; give one of {buffer.dtype} {buffer.shape}", "inputs")
        array = inputs[name]
        allowed = [array_dtype(buffer.dtype), *([np.dtype(np.float32)] if buffer.dtype == "bfloat16" else [])]
        if array.shape != buffer.shape or array.dtype not in allowed:
            raise SpecError(
                f"input {name!r} is {array.dtype} {array.shape}, the workload has {buffer.dtype} {buffer.shape}",
                "inputs",
            )


def random_inputs(workload: Workload, seed: int, ranges: Sequence[ValueRange] = ()) -> dict[str, Array]:
    """An array for each input, the same for the same seed; every input draws from a stream of its own.

    Floats have either sign and sizes of 0.5 to 1.5: no element is so small that leaving it out goes unseen, and none so
    large that it covers another. Inputs under a root or a logarithm are positive. Integers are uniform in their range
    of `ranges`, else from -9 to 9 without 0, which would hide a factor (unsigned: 1 to 9); those that index a buffer
    run over its extent and a little beyond, and most of those that are compared with a place are the place at which
    they are. Bools are fair.
    """
    positive = _positive_inputs(workload)
    spans = {**_index_spans(workload), **{r.buffer: (r.low, r.high) for r in ranges}}
    arrays = {}
    for number, buffer in enumerate(workload.inputs):
        generator = np.random.default_rng([seed, number])
        if is_float(buffer.dtype):
            arrays[buffer.name] = _random_floats(generator, buffer, buffer.name in positive)
        else:
            arrays[buffer.name] = _random_integers(generator, buffer, spans.get(buffer.name))
            span = spans.get(buffer.name, integer_bounds(buffer.dtype))
            _set_places(arrays[buffer.name], buffer.name, workload, generator, span)
    return arrays


def _random_floats(generator: np.random.Generator, buffer: Buffer, positive: bool) -> Array:
    values = generator.random(buffer.shape, dtype=np.float32)
    if positive:
        values += np.float32(0.5)
    else:
        values -= np.float32(0.5)
        values *= np.float32(2)
        values += np.copysign(np.float32(0.5), values)
    return values.astype(array_dtype(buffer.dtype), copy=False)


def _random_integers(generator: np.random.Generator, buffer: Buffer, span: tuple[int, int] | None) -> Array:
    dtype = array_dtype(buffer.dtype)
    if span is not None or buffer.dtype == "bool":
        low, high = integer_bounds(buffer.dtype)
        low, high = (max(low, span[0]), min(high, span[1])) if span is not None else (low, high)
        return generator.integers(low, high, size=buffer.shape, dtype=dtype, endpoint=True)
    values = generator.integers(1, MODEST, size=buffer.shape, dtype=np.int8, endpoint=True)
    if integer_bounds(buffer.dtype)[0] < 0:
        values *= 1 - 2 * generator.integers(0, 1, size=buffer.shape, dtype=np.int8, endpoint=True)
    return values.astype(dtype)


def _set_places(array: Array, name: str, workload: Workload, generator: np.random.Generator, span: Range) -> None:
    """Sets elements to the place they are compared with, as ``index[n, h // 2] == h``: random ones would seldom be it.

    As many points are drawn as there are elements, so that about two in three are set; none beyond `span`.
    """
    for stage, load, place in _comparisons(workload):
        if load.buffer != name:
            continue
        axes = {axis: generator.integers(0, extent, array.size) for axis, extent in stage.extents.items()}
        points = Points(axes=axes, load=_no_load, index_dtype=workload.index_dtype)
        value, *at = np.broadcast_arrays(*(evaluate_expr(entry, points) for entry in (place, *load.indices)))
        inside = (value >= span[0]) & (value <= span[1])
        for position, extent in zip(at, array.shape, strict=True):
            inside &= (position >= 0) & (position < extent)
        array[tuple(position[inside] for position in at)] = value[inside]


def _comparisons(workload: Workload) -> Iterator[tuple[Stage, Load, Expr]]:
    """Where loads are compared with what axes alone give."""
    for stage in workload.stages:
        for node in (node for body in stage.body for node in walk(body)):
            if isinstance(node, Compare) and node.op == "eq":
                for load, place in ((node.a, node.b), (node.b, node.a)):
                    if isinstance(load, Load) and axes_in(place) and not any(map(loads, (place, *load.indices))):
                        yield stage, load, place


def _no_load(node: Load, *_: object) -> Array:
    raise AssertionError(f"{node.buffer} is read where only axes are")


def _bodies(workload: Workload) -> Iterator[Expr]:
    return (node for stage in workload.stages for body in stage.body for node in walk(body))


def _positive_inputs(workload: Workload) -> set[str]:
    """Inputs that are read, directly or through copies (padding, packing), inside a call that needs them positive."""
    found = {
        load.buffer
        for node in _bodies(workload)
        if isinstance(node, Call) and node.name in _POSITIVE_ONLY
        for load in loads(node.args[0])
    }
    for stage in reversed(workload.stages):
        if stage.name in found and stage.reducer is None:
            found.update(_copied(stage.body[0]))
    return found


def _copied(node: Expr) -> Iterator[str]:
    """The buffers whose elements a value is a plain copy of."""
    match node:
        case Load(buffer, _):
            yield buffer
        case If(_, then, otherwise):
            yield from _copied(then)
            yield from _copied(otherwise)
        case Cast(_, value):
            yield from _copied(value)


def _index_spans(workload: Workload) -> dict[str, tuple[int, int]]:
    """Buffers read inside an index → a range a little wider than the extent they index (so that clamps are tested)."""
    spans: dict[str, tuple[int, int]] = {}
    for node in _bodies(workload):
        if isinstance(node, Load):
            for entry, extent in zip(node.indices, workload.buffers[node.buffer].shape, strict=True):
                for inner in loads(entry):
                    low, high = spans.get(inner.buffer, (0, 0))
                    spans[inner.buffer] = (min(low, -2), max(high, extent + 1))
    return spans
