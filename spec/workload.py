"""The workload: what is computed, whole and inert.

Input buffers, and stages in the order of their data flow. A stage fills its output buffers over named spatial axes (one
per dimension, outermost first), reducing over its reduce axes: ``C[i, j] = sum over k of A[i, k] * B[k, j]``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping  # noqa: TC003 # cattrs resolves the types of cached properties too
from functools import cached_property, lru_cache

import attrs

from .dtypes import DTYPES, size_bytes
from .errors import SpecError
from .expr import Const, Expr, Load, loads
from .expr_text import MAX_NAME, NAME, RESERVED
from .sequences import as_tuples

REDUCERS = ("sum", "prod", "min", "max", "custom")
MAX_EXTENT = 2**40


@lru_cache(maxsize=4096)
def _is_name(value: str) -> bool:
    """Remembered: the passes make the same few axes and buffers again and again."""
    return len(value) <= MAX_NAME and NAME.match(value) is not None


def _name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if type(value) is not str or not _is_name(value):
        raise SpecError(f"{value!r} is not a name; use letters, digits, _ and dots, at most 128", attribute.name)


def _dtype(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value not in DTYPES:
        raise SpecError(f"unknown dtype {value!r}; allowed: {', '.join(DTYPES)}", attribute.name)


def _extent(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or not 1 <= value <= MAX_EXTENT:
        raise SpecError(f"extent {value!r}; allowed: a whole number from 1 to 2**40", attribute.name)


def _extents(_: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    for extent in value:
        _extent(None, attribute, extent)  # type: ignore[arg-type] # same message for each dimension


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Buffer:
    """An input: name, shape (row-major) and dtype."""

    name: str = attrs.field(validator=_name)
    shape: tuple[int, ...] = attrs.field(validator=_extents)
    dtype: str = attrs.field(validator=_dtype)

    @property
    def bytes_in_all(self) -> int:
        """Bytes of its elements, which lie side by side."""
        return size_bytes(self.dtype) * math.prod(self.shape)


@attrs.frozen(kw_only=True)
class IterAxis:
    """A named axis of a stage that runs from 0 to `extent` - 1."""

    name: str = attrs.field(validator=_name)
    extent: int = attrs.field(validator=_extent)

    def __attrs_post_init__(self) -> None:
        if self.name in RESERVED:
            raise SpecError(f"{self.name!r} is a word of the expression language; choose another name", "name")


@attrs.frozen(kw_only=True)
class Output:
    """A buffer that a stage fills; its shape is the extents of the stage's spatial axes."""

    name: str = attrs.field(validator=_name)
    dtype: str = attrs.field(validator=_dtype)


def output_names(stage: str, count: int) -> tuple[str, ...]:
    """What a stage of `count` outputs fills where nobody named its buffers: its own name; ``s0.v0``, ``s0.v1``, …"""
    return (stage,) if count == 1 else tuple(f"{stage}.v{number}" for number in range(count))


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Reducer:
    """How a reduction combines: ``acc = op(acc, body)``, or for ``custom`` ``acc = body`` with `Acc` nodes in the body.

    `init` holds the start value of each output.
    """

    op: str
    init: tuple[Const, ...]

    def __attrs_post_init__(self) -> None:
        if self.op not in REDUCERS:
            raise SpecError(f"unknown reducer {self.op!r}; allowed: {', '.join(REDUCERS)}", "op")


@attrs.frozen(kw_only=True, cache_hash=True, field_transformer=as_tuples)
class Stage:
    """One computation. A stage with one output is named as that buffer; with several, `body` has one value for each."""

    name: str = attrs.field(validator=_name)
    axes: tuple[IterAxis, ...]
    reduce: tuple[IterAxis, ...] = ()
    outputs: tuple[Output, ...]
    body: tuple[Expr, ...]
    reducer: Reducer | None = None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of each output."""
        return tuple(axis.extent for axis in self.axes)

    @cached_property
    def extents(self) -> Mapping[str, int]:
        """Axis name → extent, spatial axes first."""
        return {axis.name: axis.extent for axis in (*self.axes, *self.reduce)}

    @cached_property
    def loads(self) -> tuple[Load, ...]:
        """Every load of the body, in order, repeats included."""
        return tuple(itertools.chain.from_iterable(map(loads, self.body)))

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Names of the buffers read, each once, in order of first use."""
        return tuple(dict.fromkeys(load.buffer for load in self.loads))

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """What is filled: each output with its shape."""
        return tuple(Buffer(name=output.name, shape=self.shape, dtype=output.dtype) for output in self.outputs)

    @cached_property
    def points(self) -> int:
        """Number of times the body is computed."""
        return math.prod(axis.extent for axis in (*self.axes, *self.reduce))


@attrs.frozen(kw_only=True, cache_hash=True, field_transformer=as_tuples)
class Workload:
    """A whole computation. `params` are the buffers of a call, in order; the others are intermediate."""

    inputs: tuple[Buffer, ...]
    stages: tuple[Stage, ...]
    params: tuple[str, ...]
    index_dtype: str = "int32"

    @cached_property
    def buffers(self) -> Mapping[str, Buffer]:
        """Every buffer by name: inputs, then outputs of stages in order."""
        written = itertools.chain.from_iterable(stage.buffers for stage in self.stages)
        return {buffer.name: buffer for buffer in itertools.chain(self.inputs, written)}

    @cached_property
    def writer(self) -> Mapping[str, Stage]:
        """Buffer name → the stage that fills it."""
        return {output.name: stage for stage in self.stages for output in stage.outputs}

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The parameters that stages fill, in call order."""
        return tuple(name for name in self.params if name in self.writer)

    @cached_property
    def bytes_in_all(self) -> int:
        """Bytes of all buffers together."""
        return sum(buffer.bytes_in_all for buffer in self.buffers.values())

    def stage(self, name: str) -> Stage:
        """The stage called `name`; SpecError where there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SpecError(f"no stage {name!r}; stages here: {', '.join(stage.name for stage in self.stages)}")

    def readers(self, buffer: str) -> tuple[Stage, ...]:
        """The stages that read `buffer`, in order."""
        return self._readers.get(buffer, ())

    @cached_property
    def _readers(self) -> Mapping[str, tuple[Stage, ...]]:
        found: dict[str, list[Stage]] = {}
        for stage in self.stages:
            for buffer in stage.reads:
                found.setdefault(buffer, []).append(stage)
        return {buffer: tuple(stages) for buffer, stages in found.items()}
