"""The canonical form of a workload and its identity.

Two workloads that differ only in names of buffers, stages and axes, or in the order in which independent stages were
written, have one canonical form: inputs p0, p1, … in call order, stages s0, s1, … depth first from the outputs, axes
a0, a1, … by position. Operands are never commuted. The identity is the sha256 of its text, in which what can be said
in two ways that mean the same is said in one: ``a >= b`` is ``b <= a`` (so TVM's simplifier writes it), and the
workload's index dtype is ``index``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from .dtypes import INDEX, is_float
from .errors import SpecError
from .expr import Cast, Compare, Const, Expr, rename, transform
from .expr_text import text_from_expr
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload, output_names

if TYPE_CHECKING:
    from .json_text import Json

IDENTITY_VERSION = 1
_SORTED = json.JSONEncoder(sort_keys=True)


@attrs.frozen(kw_only=True)
class Names:
    """How a workload's names map to canonical ones: buffers, stages, and the axes of each stage.

    `outputs` are the buffers that each stage fills, in order, by the names that are mapped.
    """

    buffers: Mapping[str, str]
    stages: Mapping[str, str]
    axes: Mapping[str, Mapping[str, str]]
    outputs: Mapping[str, tuple[str, ...]]

    @property
    def plain(self) -> Json:
        """What tells the names of equal workloads apart, as JSON; what each stage fills follows from it."""
        axes: dict[str, Json] = {stage: dict(axes) for stage, axes in self.axes.items()}
        return {"buffers": dict(self.buffers), "stages": dict(self.stages), "axes": axes}

    @cached_property
    def text(self) -> str:
        """The same as one line."""
        return names_text(self.plain)

    @cached_property
    def inverted(self) -> Names:
        """The map back: canonical names to this workload's; axes keyed by canonical stage."""
        return Names(
            buffers={new: old for old, new in self.buffers.items()},
            stages={new: old for old, new in self.stages.items()},
            axes={self.stages[s]: {new: old for old, new in names.items()} for s, names in self.axes.items()},
            outputs={
                self.stages[s]: tuple([self.buffers[name] for name in names]) for s, names in self.outputs.items()
            },
        )


def names_text(plain: Json) -> str:
    """One text for equal names, whatever their order."""
    return _SORTED.encode(plain)


def stage_order(workload: Workload) -> tuple[Stage, ...]:
    """The stages depth first from the outputs, producers before the stages that read them."""
    order: dict[str, Stage] = {}
    on_path: set[str] = set()

    def visit(stage: Stage) -> None:
        if stage.name in order:
            return
        if stage.name in on_path:
            raise SpecError(f"stage {stage.name!r} depends on itself", "stages")
        on_path.add(stage.name)
        for buffer in stage.reads:
            if buffer in workload.writer:
                visit(workload.writer[buffer])
        order[stage.name] = stage

    for output in workload.outputs:
        visit(workload.writer[output])
    return tuple(order.values())


def canonical_names(workload: Workload) -> Names:
    """The canonical name of everything in a workload."""
    stages = stage_order(workload)
    buffers = {name: f"p{i}" for i, name in enumerate(workload.params)}
    for i, stage in enumerate(stages):
        for output, name in zip(stage.outputs, output_names(f"s{i}", len(stage.outputs)), strict=True):
            buffers.setdefault(output.name, name)
    return Names(
        buffers=buffers,
        stages={
            stage.name: buffers[stage.name] if len(stage.outputs) == 1 else f"s{i}" for i, stage in enumerate(stages)
        },
        axes={
            stage.name: {axis.name: f"a{i}" for i, axis in enumerate((*stage.axes, *stage.reduce))} for stage in stages
        },
        outputs={stage.name: tuple([output.name for output in stage.outputs]) for stage in stages},
    )


def renamed(workload: Workload, names: Names) -> Workload:
    """The workload with other names, its stages in depth-first order, its inputs in call order."""
    b = names.buffers

    def stage_renamed(stage: Stage) -> Stage:
        axes = names.axes[stage.name]
        return Stage(
            name=names.stages[stage.name],
            axes=tuple(IterAxis(name=axes[a.name], extent=a.extent) for a in stage.axes),
            reduce=tuple(IterAxis(name=axes[a.name], extent=a.extent) for a in stage.reduce),
            outputs=tuple(Output(name=b[o.name], dtype=o.dtype) for o in stage.outputs),
            body=tuple(rename(body, axes, b) for body in stage.body),
            reducer=stage.reducer,
        )

    inputs = {buffer.name: buffer for buffer in workload.inputs}
    return Workload(
        inputs=tuple(attrs.evolve(inputs[name], name=b[name]) for name in workload.params if name in inputs),
        stages=tuple(stage_renamed(stage) for stage in stage_order(workload)),
        params=tuple(b[name] for name in workload.params),
        index_dtype=workload.index_dtype,
    )


def canonical(workload: Workload) -> Workload:
    """The workload in canonical names; idempotent."""
    return renamed(workload, canonical_names(workload))


def canonical_text(workload: Workload) -> str:
    """One line per buffer and stage of the canonical form, floats as hexadecimal: what the identity is the hash of."""
    return _text(canonical(workload))


def _text(form: Workload) -> str:
    lines = [f"workload {IDENTITY_VERSION} index {form.index_dtype} params {' '.join(form.params)}"]
    lines += [_buffer_line(buffer) for buffer in form.inputs]
    for stage in form.stages:
        axes = " ".join(f"{a.name}:{a.extent}" for a in stage.axes)
        reduce = " ".join(f"{a.name}:{a.extent}" for a in stage.reduce)
        outputs = " ".join(f"{o.name}:{o.dtype}" for o in stage.outputs)
        reducer = _reducer_text(stage.reducer, form.index_dtype)
        lines.append(f"stage {stage.name} axes {axes} reduce {reduce} outputs {outputs} {reducer}")
        lines += [text_from_expr(_plain(body, form.index_dtype)) for body in stage.body]
    return "\n".join(lines)


def identity(workload: Workload) -> str:
    """The sha256 of the canonical text, as 64 hexadecimal digits."""
    return canonical_identity(canonical(workload))


def canonical_identity(form: Workload) -> str:
    """The identity of a workload that is in canonical form already."""
    return hashlib.sha256(_text(form).encode()).hexdigest()


def _buffer_line(buffer: Buffer) -> str:
    return f"input {buffer.name} {buffer.dtype} {'x'.join(map(str, buffer.shape))}"


def _reducer_text(reducer: Reducer | None, index_dtype: str) -> str:
    if reducer is None:
        return "map"
    return " ".join([reducer.op, *(text_from_expr(_plain(c, index_dtype)) for c in reducer.init)])


def is_same(a: Expr, b: Expr, index_dtype: str) -> bool:
    """True where two expressions are one to the identity: but for what can be said in two ways, they are equal."""
    return a == b or _plain(a, index_dtype) == _plain(b, index_dtype)


_MIRRORED = {"ge": "le", "gt": "lt"}


def _plain(node: Expr, index_dtype: str) -> Expr:
    """The expression in the one form that is hashed: floats as hexadecimal, no ``>``, no ``>=``, one index type."""

    def visit(n: Expr) -> Expr:
        match n:
            case Const(dtype, text) if is_float(dtype):
                return Const(dtype, float(text).hex())
            case Const(dtype, text) if dtype == index_dtype:
                return Const(INDEX, text)
            case Cast(dtype, value) if dtype == index_dtype:
                return Cast(INDEX, value)
            case Compare(op, a, b) if op in _MIRRORED:
                return Compare(_MIRRORED[op], b, a)
            case _:
                return n

    return transform(node, visit)
