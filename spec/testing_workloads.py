"""Hypothesis strategies of workloads: small shapes, all kinds of stages, results that can be compared numerically.

A stage is drawn around one operand: each dimension of it becomes a spatial axis, a reduce axis, a window ``h * s + r``,
or is read backwards, padded or at one place. Further operands read other buffers, or new inputs, over the axes there
are and perhaps one more. What is drawn first, and what shrinking ends at, is a copy of a vector of one element.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs
from hypothesis import strategies as st

from .canonical import stage_order
from .check_workload import check_workload
from .dtypes import UNSIGNED, integer_bounds, is_float
from .errors import SpecError
from .expr import (
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    Expr,
    If,
    Load,
    Logic,
    Select,
    const,
    index,
)
from .reducers import identity_element
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXTENTS: Final = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16)
"""Extents of new dimensions: one, primes, and powers of two."""
MAX_ELEMENTS: Final = 128
DTYPES: Final = ("float32", "int32", "float64", "int8", "int64", "uint8")
"""Dtypes that NumPy and every target have; pass others to `workloads` where a target has them."""

NARROWER: Final[Mapping[str, tuple[str, ...]]] = {
    "float32": ("float16", "bfloat16"),
    "float64": ("float32",),
    "int32": ("int8", "uint8", "int16"),
    "int64": ("int32", "int8"),
}
"""Dtype of a computation → dtypes whose inputs it may also read, cast: each value is exact there."""

_MAPPING_ROLES: Final[tuple[str, ...]] = ("spatial", "spatial", "pad", "backwards", "place", "gather")
_REDUCING_ROLES: Final[tuple[str, ...]] = ("spatial", "spatial", "reduce", "window", "padded window", "backwards")


@attrs.define
class Draft:
    """A workload that grows while it is drawn."""

    draw: st.DrawFn
    dtype: str
    read: tuple[str, ...]
    inputs: list[Buffer] = attrs.field(factory=list)
    stages: list[Stage] = attrs.field(factory=list)
    computed: dict[str, Buffer] = attrs.field(factory=dict)

    def operand(self, shape: Sequence[int]) -> Buffer:
        """A new input to compute from, of one of the dtypes that are read."""
        return self.input(shape, self.draw(st.sampled_from(self.read)))

    def input(self, shape: Sequence[int], dtype: str) -> Buffer:
        """A new input."""
        buffer = Buffer(name=f"X{len(self.inputs)}", shape=tuple(shape), dtype=dtype)
        self.inputs.append(buffer)
        return buffer

    def add(self, stage: Stage) -> None:
        """Takes a stage in."""
        self.stages.append(stage)
        for output in stage.outputs:
            self.computed[output.name] = Buffer(name=output.name, shape=stage.shape, dtype=output.dtype)


@attrs.define
class StageDraft:
    """The axes of a stage that is being drawn."""

    name: str
    spatial: list[IterAxis] = attrs.field(factory=list)
    reduce: list[IterAxis] = attrs.field(factory=list)

    def axis(self, extent: int, reduce: bool = False) -> Axis:
        """A new axis."""
        axes, letter = (self.reduce, "r") if reduce else (self.spatial, "i")
        axes.append(IterAxis(name=f"{letter}{len(axes)}", extent=extent))
        return Axis(axes[-1].name)


@st.composite
def workloads(
    draw: st.DrawFn, max_stages: int = 4, dtypes: Sequence[str] = DTYPES, inputs: Sequence[str] | None = None
) -> Workload:
    """Workloads of 1 to `max_stages` stages that pass `check_workload`, each computed in one of `dtypes`.

    Their inputs have the same dtype, and perhaps narrower ones of `dtypes`, or those of `inputs` alone: dtypes of which
    each value is exact in that of the computation, as `NARROWER` lists them. Places that are read, and those of an
    arg-max, are int32 whatever is computed.

    Sums, products, extremes and arg-max over 1 to 3 axes, element-wise stages, padding (guarded loads), windows
    ``h * s + r``, of padding too, gathers, transposes, epilogues, buffers with several readers, inputs of narrower
    dtypes, several outputs, of a stage too. The numbers stay comparable: no division by data, no place of an extreme
    among rounded floats.
    """
    dtype = draw(st.sampled_from(dtypes))
    narrower = NARROWER.get(dtype, ())
    if inputs is None:
        some = tuple(narrow for narrow in narrower if narrow in dtypes)
        read = (dtype, *some) if draw(st.booleans()) else (dtype,)
    else:
        read = tuple(each for each in inputs if each == dtype or each in narrower)
    if not read:
        allowed = ", ".join((dtype, *narrower))
        raise SpecError(f"inputs of {', '.join(inputs or ()) or 'no dtype'} for {dtype}; allowed: {allowed}", "inputs")
    draft = Draft(draw, dtype, read)
    for number in range(draw(st.integers(1, max_stages))):
        draft.add(_stage(draft, f"S{number}"))
    return _finished(draft)


def _finished(draft: Draft) -> Workload:
    """The workload: what nobody reads is an output, and some other buffers too."""
    read = {name for stage in draft.stages for name in stage.reads}
    outputs = [name for name in draft.computed if name not in read or draft.draw(st.integers(0, 3)) == 3]
    if draft.draw(st.booleans()):
        outputs.reverse()
    workload = Workload(
        inputs=tuple(draft.inputs),
        stages=tuple(draft.stages),
        params=(*(buffer.name for buffer in draft.inputs), *outputs),
        index_dtype=draft.draw(st.sampled_from(["int32", "int64"])),
    )
    needed = {stage.name for stage in stage_order(workload)}
    workload = attrs.evolve(workload, stages=tuple(stage for stage in draft.stages if stage.name in needed))
    check_workload(workload)
    return workload


def _stage(draft: Draft, name: str) -> Stage:
    stage = StageDraft(name)
    source = _operand(draft)
    reducer = draft.draw(st.sampled_from([None, None, "sum", "sum", "max", "min", "prod", "argmax", "sum and max"]))
    rounded = is_float(source.dtype) and source.name in draft.computed
    if "bfloat16" in (draft.dtype, source.dtype) and reducer in ("argmax", "sum and max"):
        reducer = "max"
    if reducer == "argmax" and rounded:
        reducer = "max"
    value = _typed(_read(draft, stage, source, reducer is not None), source, draft)
    if reducer is not None and not stage.reduce:
        reducer = None
    small = draft.dtype in ("float16", "bfloat16")
    if reducer == "prod" and small and (source.dtype == "int32" or math.prod(a.extent for a in stage.reduce) > 8):
        reducer = "min"
    if reducer in ("argmax", "sum and max"):
        return (_argmax if reducer == "argmax" else _sum_and_max)(draft, stage, value)
    if reducer is None and draft.draw(st.integers(0, 3)) == 3:
        return _two_values(draft, stage, value)
    body = _body(draft, stage, value, rich=reducer in (None, "sum"))
    axes = tuple(draft.draw(st.permutations(stage.spatial)))
    start = identity_element(reducer, draft.dtype) if reducer is not None else None
    return Stage(
        name=name,
        axes=axes,
        reduce=tuple(stage.reduce),
        outputs=(Output(name=name, dtype=draft.dtype),),
        body=(body,),
        reducer=None if reducer is None or start is None else Reducer(op=reducer, init=(start,)),
    )


def _operand(draft: Draft) -> Buffer:
    """A buffer to compute from: the last one computed, any other there is, or a new input."""
    known = [buffer for buffer in (*reversed(draft.computed.values()), *draft.inputs) if buffer.shape]
    choice = draft.draw(st.integers(0, len(known)))
    if choice < len(known):
        return known[choice]
    shape: list[int] = []
    for extent in draft.draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=3)):
        shape.append(extent if math.prod(shape) * extent <= MAX_ELEMENTS else 1)
    return draft.operand(shape)


def _read(draft: Draft, stage: StageDraft, source: Buffer, reduces: bool) -> Expr:
    """A load of every element of `source`, or of windows of it, that gives the stage its first axes."""
    indices: list[Expr] = []
    guards: list[Expr] = []
    for dimension, extent in enumerate(source.shape):
        roles = _REDUCING_ROLES if reduces else _MAPPING_ROLES
        if reduces and not stage.reduce and dimension == len(source.shape) - 1:
            roles = ("reduce", "window")
        role = draft.draw(st.sampled_from(roles))
        if role == "window" and len(stage.reduce) < 3:
            indices.append(_window(draft, stage, extent))
        elif role == "pad" or (role == "padded window" and len(stage.reduce) < 3 and draft.dtype not in UNSIGNED):
            before, after = draft.draw(st.integers(0, 2)), draft.draw(st.integers(0, 2))
            padded = extent + before + after
            axis = stage.axis(padded) if role == "pad" else _window(draft, stage, padded)
            indices.append(Binary("sub", axis, index(before)))
            guards += [Compare("ge", axis, index(before)), Compare("lt", axis, index(extent + before))]
        elif role == "backwards":
            indices.append(Binary("sub", index(extent - 1), stage.axis(extent)))
        elif role == "gather":
            places = draft.input([draft.draw(st.sampled_from(EXTENTS))], "int32")
            place = Load(places.name, (stage.axis(places.shape[0]),))
            low = Binary("max", place, const("int32", 0))
            indices.append(Binary("min", low, const("int32", extent - 1)))
        elif role == "place":
            indices.append(index(draft.draw(st.integers(0, extent - 1))))
        else:
            indices.append(stage.axis(extent, reduce=role == "reduce" and len(stage.reduce) < 3))
    load = Load(source.name, tuple(indices))
    if not guards:
        return load
    cond = guards[0]
    for guard in guards[1:]:
        cond = Logic("and", (cond, guard))
    return If(cond, load, const(source.dtype, 0))


def _window(draft: Draft, stage: StageDraft, extent: int) -> Expr:
    """``h * stride + r`` (or ``h + r``) with new axes h and r that cover a dimension of `extent`, less a rest."""
    taps = draft.draw(st.integers(1, min(3, extent)))
    stride = draft.draw(st.integers(1, 3))
    h = stage.axis((extent - taps) // stride + 1)
    r = stage.axis(taps, reduce=True)
    return Binary("add", h if stride == 1 else Binary("mul", h, index(stride)), r)


def _typed(value: Expr, source: Buffer, draft: Draft) -> Expr:
    return value if source.dtype == draft.dtype else Cast(draft.dtype, value)


def _argmax(draft: Draft, stage: StageDraft, value: Expr) -> Stage:
    """The greatest value and where it stands first, in the row-major order of the reduce axes."""
    place: Expr = index(0)
    for axis in stage.reduce:
        place = Binary("add", Binary("mul", place, index(axis.extent)), Axis(axis.name))
    stays = Compare("ge", Acc(0), value)
    lowest = identity_element("max", draft.dtype)
    outputs = (Output(name=f"{stage.name}.max", dtype=draft.dtype), Output(name=f"{stage.name}.at", dtype="int32"))
    return Stage(
        name=stage.name,
        axes=tuple(stage.spatial),
        reduce=tuple(stage.reduce),
        outputs=outputs,
        body=(Select(stays, Acc(0), value), Select(stays, Acc(1), Cast("int32", place))),
        reducer=Reducer(op="custom", init=(lowest, const("int32", 0))),
    )


def _sum_and_max(draft: Draft, stage: StageDraft, value: Expr) -> Stage:
    """The sum and the greatest of the same values, in one reduction."""
    dtype = draft.dtype
    return Stage(
        name=stage.name,
        axes=tuple(stage.spatial),
        reduce=tuple(stage.reduce),
        outputs=(Output(name=f"{stage.name}.sum", dtype=dtype), Output(name=f"{stage.name}.max", dtype=dtype)),
        body=(Binary("add", Acc(0), value), Binary("max", Acc(1), value)),
        reducer=Reducer(op="custom", init=(const(dtype, 0), identity_element("max", dtype))),
    )


def _two_values(draft: Draft, stage: StageDraft, value: Expr) -> Stage:
    """Two functions of the same value, without a reduction."""
    first, second = (_body(draft, stage, value, rich=True) for _ in range(2))
    return Stage(
        name=stage.name,
        axes=tuple(draft.draw(st.permutations(stage.spatial))),
        outputs=tuple(Output(name=f"{stage.name}.{word}", dtype=draft.dtype) for word in ("one", "two")),
        body=(first, second),
    )


def _body(draft: Draft, stage: StageDraft, value: Expr, rich: bool) -> Expr:
    """`value`, combined with other operands and passed through functions of one argument."""
    draw = draft.draw
    for _ in range(draw(st.integers(0, 2)) if rich else 0):
        op = draw(st.sampled_from(["mul", "add", "sub", "max"]))
        value = Binary(op, value, _other(draft, stage))
    for _ in range(draw(st.integers(0, 1))):
        value = draw(st.sampled_from(_functions(draft.dtype, value)))
    return value


def _other(draft: Draft, stage: StageDraft) -> Expr:
    """Another operand: an input over some of the axes and perhaps a new one, or a buffer that happens to fit."""
    axes = [*stage.spatial, *stage.reduce]
    for buffer in reversed(draft.computed.values()):
        fits = _fitting(buffer, axes)
        if fits is not None and draft.draw(st.booleans()):
            return _typed(Load(buffer.name, fits), buffer, draft)
    used = [axis for axis in axes if draft.draw(st.booleans())]
    if len(stage.spatial) < 3 and draft.draw(st.booleans()):
        extent = draft.draw(st.sampled_from(EXTENTS))
        stage.axis(extent)
        used.append(stage.spatial[-1])
    used = draft.draw(st.permutations(used))
    buffer = draft.operand([axis.extent for axis in used])
    return _typed(Load(buffer.name, tuple(Axis(axis.name) for axis in used)), buffer, draft)


def _fitting(buffer: Buffer, axes: Sequence[IterAxis]) -> tuple[Expr, ...] | None:
    """Indices of `buffer` by axes that stay inside of it, another one for each dimension; None if there are none."""
    left = list(axes)
    indices: list[Expr] = []
    for extent in buffer.shape:
        axis = next((axis for axis in left if axis.extent <= extent), None)
        if axis is None:
            return None
        left.remove(axis)
        indices.append(Axis(axis.name))
    return tuple(indices)


def _functions(dtype: str, value: Expr) -> list[Expr]:
    """Functions of one argument that leave the result comparable: continuous for floats, exact for integers."""
    zero, two, three = const(dtype, 0), const(dtype, 2), const(dtype, 3)
    found: list[Expr] = [Binary("max", value, zero), Binary("mul", value, three)]
    if is_float(dtype):
        found += [Binary("div", value, three), Call("tanh", (value,)), Call("sigmoid", (value,))]
        found += [
            Call("abs", (value,)),
            Select(Compare("gt", value, zero), value, Binary("mul", value, const(dtype, 0.5))),
        ]
    else:
        found += [Binary(op, value, three) for op in ("floordiv", "floormod", "truncdiv", "truncmod")]
        found += [Binary("bitand", value, three), Binary("shr", value, two), Binary("min", value, two)]
        if integer_bounds(dtype)[0] < 0:
            found.append(Call("abs", (value,)))
    return found
