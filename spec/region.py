"""What part of an attached stage one step of a loop needs, or completes: a box of fixed size, or it cannot be there.

A place in the loops is known by the loops outside of it: what moves with these is where the box begins, what moves
with the loops inside is how long it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .errors import SpecError
from .expr import Axis, Binary, Const, Expr, Load, axes_in, loads, substitute, walk
from .linear import Facts, Terms, expr_from_linear, facts_from_extents, linear, sum_of
from .workload import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from .workload import IterAxis


@attrs.frozen(kw_only=True)
class Placed:
    """A stage where it runs: the extents of the loops around it and of its own, and each axis' linear form in them.

    Loops are called ``stage:loop``, so that those of several stages are told apart.
    """

    stage: Stage
    extents: Mapping[str, int]
    forms: Mapping[str, tuple[int, Terms]]

    @cached_property
    def values(self) -> dict[str, Expr]:
        """Each axis by the loops."""
        return {axis: expr_from_linear(form) for axis, form in self.forms.items()}

    def form_of(self, position: Expr) -> tuple[int, Terms]:
        """The linear form, in the loops, of an index by the stage's axes."""
        match position:
            case Axis(name):
                return self.forms[name]
            case Binary("add" | "sub" as op, a, b):
                return sum_of(self.form_of(a), self.form_of(b), 1 if op == "add" else -1)
        return linear(substitute(position, self.values), self.facts)

    @cached_property
    def facts(self) -> Facts:
        """What is known of the loops, with what was found out from it."""
        return facts_from_extents(self.extents)


@attrs.frozen(kw_only=True)
class Span:
    """Neighbouring values of an axis: `length` of them from ``base + start``, where base moves with loops outside."""

    base: frozenset[tuple[Expr, int]] = frozenset()
    start: int = 0
    length: int

    @property
    def origin(self) -> Expr:
        """The first value."""
        return expr_from_linear((self.start, dict(self.base)))


Box: TypeAlias = "dict[str, Span]"
"""Axis → the values it takes in one step of the loops outside."""


def needed_box(stage: Stage, readers: Sequence[Placed], outer: AbstractSet[str]) -> Box:
    """The part of a producer that all `readers` need in one step of the loops `outer`; its reduce axes whole.

    SpecError where that is no box of fixed size: reads by other than sums of axes, backwards, or moving apart; and of a
    reduction where pieces have gaps between them.
    """
    box = {axis.name: Span(length=axis.extent) for axis in stage.reduce}
    outputs = {output.name for output in stage.outputs}
    reads = [(reader, _reads(reader.stage, outputs)) for reader in readers]
    for dimension, axis in enumerate(stage.axes):
        spans: list[Span] = []
        for reader, found in reads:
            _check_divided(stage, reader, [load.indices[dimension] for load in found], outer)
            own = [_span_of_read(load.indices[dimension], stage, reader, outer) for load in found]
            if len({span.base for span in own}) > 1:
                message = f"{reader.stage.name!r} reads {stage.name!r} at places that move apart"
                raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
            spans += own
        if len({span.base for span in spans}) > 1:
            raise _differ(stage, readers)
        start = min(span.start for span in spans)
        length = max(span.start + span.length for span in spans) - start
        if stage.reducer is not None and _has_gaps(spans[0], length, reads[0][0].extents):
            message = f"{reads[0][0].stage.name!r} reads pieces of {stage.name!r} with gaps between them"
            remedy = f"TVM has no reduction there; give {stage.name!r} a nest of its own"
            raise SpecError(f"{message}, and {remedy}", "at.stage")
        if length > axis.extent and spans[0].base:
            # TVM would keep such a part, longer than the whole, and skip what is outside.
            message = (
                f"a step needs {length} values along axis {axis.name!r} of {stage.name!r}, which has {axis.extent}"
            )
            remedy = f"use smaller tiles, factors that divide, or give {stage.name!r} a nest of its own"
            raise SpecError(f"{message}; {remedy}", "at")
        box[axis.name] = _within(axis, Span(base=spans[0].base, start=start, length=length))
    return box


def _check_divided(stage: Stage, reader: Placed, positions: Sequence[Expr], outer: AbstractSet[str]) -> None:
    """An index that divides does so to axes that a step takes a piece of."""
    whole = {axis.name: axis for axis in (*reader.stage.axes, *reader.stage.reduce)}
    for position in positions:
        if _divides(position) and not all(_takes_piece(whole[name], reader, outer) for name in axes_in(position)):
            message = (
                f"{reader.stage.name!r} reads {stage.name!r} by a division of an axis that a step takes no piece of"
            )
            remedy = "use factors that divide, with the inner loops inside"
            raise SpecError(f"{message}; {remedy}, or give {stage.name!r} a nest of its own", "at")


def _divides(node: Expr) -> bool:
    ops = ("floordiv", "floormod", "truncdiv", "truncmod")
    return any(isinstance(part, Binary) and part.op in ops for part in walk(node))


def _takes_piece(axis: IterAxis, reader: Placed, outer: AbstractSet[str]) -> bool:
    """True where a step takes neighbouring values of a reader's axis, and all steps together exactly what it has.

    Of an axis that is run over in part a division may come to less than of the whole, and TVM reckons with the whole.
    """
    start, terms = reader.forms[axis.name]
    _, inner = _parted(terms, reader.extents, outer)
    if _neighbours(inner) is None:
        return False
    last = start + sum(c * (reader.extents[atom.name] - 1) for atom, c in terms.items() if isinstance(atom, Axis))
    return last == axis.extent - 1


def _reads(reader: Stage, buffers: AbstractSet[str]) -> list[Load]:
    return [load for body in reader.body for load in loads(body) if load.buffer in buffers]


def _span_of_read(position: Expr, stage: Stage, reader: Placed, outer: AbstractSet[str]) -> Span:
    """The places that one index of a load comes to: affine in the reader's loops, or refused."""
    start, terms = reader.form_of(position)
    for atom, coefficient in terms.items():
        if not isinstance(atom, Axis):
            message = f"{reader.stage.name!r} reads {stage.name!r} by an index that is not a sum of its axes"
            raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
        if coefficient < 0:
            message = f"{reader.stage.name!r} reads {stage.name!r} backwards"
            raise SpecError(f"{message}; give {stage.name!r} a nest of its own", "at.stage")
    base, inner = _parted(terms, reader.extents, outer)
    reach = sum(coefficient * (extent - 1) for coefficient, extent in inner)
    return Span(base=base, start=start, length=reach + 1)


def _parted(
    terms: Terms, extents: Mapping[str, int], outer: AbstractSet[str]
) -> tuple[frozenset[tuple[Expr, int]], list[tuple[int, int]]]:
    """The terms of loops outside, and coefficient and extent of those inside; loops of one step move nothing."""
    base, inner = [], []
    for atom, coefficient in terms.items():
        assert isinstance(atom, Axis)
        extent = extents[atom.name]
        if extent > 1 and atom.name in outer:
            base.append((atom, coefficient))
        elif extent > 1:
            inner.append((coefficient, extent))
    return frozenset(base), inner


def _neighbours(loops: Iterable[tuple[int, int]], length: int = 1) -> int | None:
    """How many values loops of these coefficients and extents come to, `length` at a time; None where gaps are left."""
    for coefficient, extent in sorted(loops):
        if coefficient > length:
            return None
        length += coefficient * (extent - 1)
    return length


def _has_gaps(span: Span, length: int, extents: Mapping[str, int]) -> bool:
    """True where a step of some loop outside moves `span` further than all steps inside reach."""
    moves = []
    for atom, coefficient in span.base:
        assert isinstance(atom, Axis)
        moves.append((coefficient, extents[atom.name]))
    return _neighbours(moves, length) is None


def _within(axis: IterAxis, span: Span) -> Span:
    """A span inside its axis: one as long as the axis is all of it."""
    return span if span.length < axis.extent else Span(length=axis.extent)


def _differ(stage: Stage, others: Sequence[Placed]) -> SpecError:
    listed = " and ".join(repr(other.stage.name) for other in others)
    message = f"{listed} need different parts of {stage.name!r}, or complete different ones"
    return SpecError(f"{message}; give {stage.name!r} a nest of its own", "at")


def done_box(stage: Stage, sources: Sequence[Placed], outer: AbstractSet[str], loop: str) -> Box:
    """The part of a consumer that one step of the loops `outer`, `loop` the last, completes by what `sources` fill.

    Each dimension of a source is an axis of the consumer, or a digit of one: ``j // 32`` and ``j % 32``. An axis that a
    source says nothing of runs over the whole. SpecError where no such box is complete.
    """
    boxes = [_done_by(stage, source, outer, loop) for source in sources]
    if any(box != boxes[0] for box in boxes):
        raise _differ(stage, sources)
    for axis in stage.reduce:
        span = boxes[0][axis.name]
        if span.length < axis.extent:
            message = f"{stage.name!r} reduces over {axis.name!r}, and only {span.length} of {axis.extent} steps are"
            raise SpecError(f"{message} there inside loop {loop!r}; attach it further out", "at.loop")
        if span.base:
            message = (
                f"{stage.name!r} reduces over {axis.name!r}, and not every step of loop {loop!r} fills what it reads"
            )
            raise SpecError(f"{message}; attach it further out", "at.loop")
    return boxes[0]


@attrs.frozen
class _Digit:
    """A dimension of a source as a digit of a consumer's axis: its weight and extent, and what is done of it."""

    stride: int
    extent: int
    done: Span


def _done_by(stage: Stage, source: Placed, outer: AbstractSet[str], loop: str) -> Box:
    reads = _reads(stage, {output.name for output in source.stage.outputs})
    digits: dict[str, list[_Digit]] = {name: [] for name in stage.extents}
    if len({load.indices for load in reads}) != 1:
        raise SpecError(f"{stage.name!r} reads {source.stage.name!r} in several ways; one is allowed", "at.stage")
    for dimension, (axis, where) in enumerate(zip(source.stage.axes, reads[0].indices, strict=True)):
        done = _span_done(axis, source, outer, loop)
        match where:
            case Axis(name):
                digits[name].append(_Digit(1, axis.extent, done))
            case Binary("floordiv", Axis(name) | Binary("floormod", Axis(name), Const()), Const(_, by)):
                digits[name].append(_Digit(int(by), axis.extent, done))
            case Binary("floormod", Axis(name), Const()):
                digits[name].append(_Digit(1, axis.extent, done))
            case Const() if axis.extent == 1:
                if done.base:  # loops of an axis of one step: all others are skipped, and would be run again here
                    raise _runs_in_tail(stage, axis.name)
                continue
            case _:
                message = f"{stage.name!r} reads dimension {dimension} of {source.stage.name!r}"
                remedy = f"give {stage.name!r} a nest of its own"
                raise SpecError(f"{message} by something else than one axis, or a digit of one; {remedy}", "at.stage")
    return {axis.name: _joined(stage, axis, digits[axis.name]) for axis in (*stage.axes, *stage.reduce)}


def _span_done(axis: IterAxis, source: Placed, outer: AbstractSet[str], loop: str) -> Span:
    """The neighbouring values of a source's axis that one step runs over, a skipped tail too; SpecError if apart."""
    start, terms = source.forms[axis.name]
    base, inner = _parted(terms, source.extents, outer)
    length = _neighbours(inner)
    if length is None:
        message = f"axis {axis.name!r} of {source.stage.name!r} is not whole or one piece inside loop {loop!r}"
        raise SpecError(f"{message}; order its outer pieces outside", "at.loop")
    if length > axis.extent and base:
        message = (
            f"a step takes {length} values of axis {axis.name!r} of {source.stage.name!r}, which has {axis.extent}"
        )
        raise SpecError(f"{message}; use factors that divide, or attach further out", "at.loop")
    return Span(base=base, start=start, length=length)


def _runs_in_tail(stage: Stage, axis: str) -> SpecError:
    message = f"{stage.name!r} would also run where the tail of axis {axis!r} is skipped"
    return SpecError(f"{message}; use factors that divide, or attach further out", "at.loop")


def _joined(stage: Stage, axis: IterAxis, digits: Sequence[_Digit]) -> Span:
    """The values of an axis that its digits make together."""
    if not digits:
        return Span(length=axis.extent)
    name, stride = axis.name, 1
    ordered = sorted(digits, key=lambda digit: (digit.stride, digit.extent))
    for digit in ordered:
        stride *= digit.extent if digit.stride == stride else 0
    if stride < axis.extent:
        message = f"axis {name!r} is read by some of its digits only, so no step completes values side by side"
        raise SpecError(f"{message}; give the stage a nest of its own", "at.stage")
    moves = any(digit.done.base for digit in ordered)
    for digit in ordered:
        if digit.done.length > digit.extent and moves and stride == axis.extent:
            # TVM would take the steps that are skipped for more values, where its digits are exactly the axis.
            message = (
                f"axis {name!r} is laid out in pieces of {digit.extent}, and steps for {digit.done.length} are run"
            )
            raise SpecError(f"{message}; use factors that divide, or attach further out", "at.loop")
    length = 1
    for digit in ordered[:-1]:
        if digit.done.length < digit.extent:
            # TVM takes whole inner digits here, and would read what is not computed yet.
            message = f"axis {name!r} is laid out in pieces of {digit.extent}, and only {digit.done.length} of one are"
            remedy = "attach further out, or order the inner piece's loops inside"
            raise SpecError(f"{message} done inside the loop; {remedy}", "at.loop")
        if digit.done.base:  # the piece is whole: where loops outside move on, they are past its end
            raise _runs_in_tail(stage, name)
        length *= digit.extent
    last = ordered[-1]
    base = frozenset((atom, coefficient * last.stride) for atom, coefficient in last.done.base)
    done = min(last.done.length, last.extent)  # a skipped tail is not completed
    span = Span(base=base, start=last.done.start * last.stride, length=length * done)
    if span.length > axis.extent and moves:
        message = f"a step completes {span.length} values of axis {name!r} of {stage.name!r}, which has {axis.extent}"
        raise SpecError(f"{message}; use factors that divide, or give {stage.name!r} a nest of its own", "at.loop")
    return span if span.base else _within(axis, span)


def placed(stage: Stage, around: Mapping[str, int], box: Box, loops: Sequence[tuple[str, str, int, int]]) -> Placed:
    """A stage with the loops `around` it, its axes as `box` says, and its own loops: name, axis, stride, extent."""
    forms = {axis: (span.start, dict(span.base)) for axis, span in box.items()}
    extents = dict(around)
    for name, axis, stride, extent in loops:
        own = f"{stage.name}:{name}"
        extents[own] = extent
        forms[axis][1][Axis(own)] = stride
    return Placed(stage=stage, extents=extents, forms=forms)
