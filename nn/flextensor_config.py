"""FlexTensor's configs as schedules: what its template for CPUs makes of the factors that a search chose.

A config is ``[[config of an operator, ...], config of the graph]``, operators from inputs to outputs. Of the template's
knobs these decide something on a CPU: ``spatial`` and ``reduce``, the factors of each axis, outermost first, and the
graph's ``inline``. (``fuse``, ``reorder`` and ``unroll`` are in each config, and the template does not look at them.)

before: ``{"spatial": [[4, 1, 2, 8], [2, 1, 1, 16]], "reduce": [[8, 1, 1, 4]]}`` for ``C[i, j] += A[i, k] * B[k, j]``
after: ``for i.p0, j.p0 in parallel: for k.p0, i.p2 unrolled, k.p3, i.p3 unrolled, j.p3 along vectors: C.acc += …``

A loop of one step is left out. The accumulator has the output's layout, and is attached where the template does it: at
the first loop of the second parts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from ..spec.errors import SpecError
from ..spec.schedule import Accumulate, At, BindFused, BindLoop, Inline, Nest, Schedule, Split
from ..spec.strict_cattrs import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..spec.json_text import Json
    from ..spec.schedule import Bind
    from ..spec.workload import IterAxis, Stage, Workload

    Object = dict[str, Json]

MOST_PARTS: Final = 8
"""Parts of one axis: the seed's levels are 4 and 3."""
PARALLEL: Final = "outer"
"""The name of the parallel loop that several become."""


class Piece(NamedTuple):
    """One loop of an axis: which part of the config it is, and its steps; more than one."""

    axis: str
    part: int
    extent: int


class Cut(NamedTuple):
    """What a config cuts axes into: in `parts` parts each, of which `pieces` have steps, part by part."""

    parts: int
    pieces: tuple[Piece, ...]


def schedule_from_config(workload: Workload, config: Json, reduce_order: Sequence[int] | None = None) -> Schedule:
    """The schedule of a config for a workload: its last operator is the last stage, the one before reads into it.

    `reduce_order` says which reduce axis of the last stage stands where in the config, if not each at its own place.
    SpecError, with the place in the config, where it is none, or is another computation's. The schedule is not checked.
    """
    operators, graph = _parts_of(config)
    inlined = _inlined(graph, len(operators))
    count = min(len(operators), len(workload.stages))
    stagings: list[Inline | Accumulate] = []
    nests: list[Nest] = []
    # The seed pads by 0 too, and spreads before it pads, where one stage does both here: what is missing is in front.
    for number, stage in zip(range(len(operators) - count, len(operators)), workload.stages[-count:], strict=True):
        is_last, place = number == len(operators) - 1, f"config[0][{number}]"
        if inlined[number] and not is_last:
            stagings.append(Inline(stage=stage.name))
            continue
        spatial = _cut(operators[number], "spatial", stage.axes, place)
        nests.append(_outer_nest(stage, spatial))
        if stage.reducer is not None:
            reduced = [stage.reduce[at] for at in reduce_order] if reduce_order and is_last else stage.reduce
            sums = _cut(operators[number], "reduce", reduced, place)
            acc = Accumulate(stage=stage.name, as_=f"{stage.name}.acc", order=tuple(axis.name for axis in stage.axes))
            stagings.append(acc)
            nests.append(_sum_nest(acc.as_, stage, spatial, sums))
    return Schedule(stagings=tuple(stagings), nests=tuple(nests))


# --- loops ------------------------------------------------------------------------------------------------------------


class _Loops:
    """The loops of one stage: axes, and the pieces that some of them are cut into."""

    def __init__(self, axes: Iterable[IterAxis], pieces: Iterable[Piece]) -> None:
        self.by_axis: dict[str, list[Piece]] = {axis.name: [] for axis in axes}
        for piece in pieces:
            self.by_axis[piece.axis].append(piece)

    def name(self, piece: Piece) -> str:
        """``i.p0`` of an axis that is cut, ``i`` of one that is not."""
        return piece.axis if len(self.by_axis[piece.axis]) == 1 else f"{piece.axis}.p{piece.part}"

    @property
    def whole(self) -> list[str]:
        """The axes of one step."""
        return [axis for axis, pieces in self.by_axis.items() if not pieces]

    @property
    def splits(self) -> tuple[Split, ...]:
        return tuple(
            Split(axis=axis, into=tuple(map(self.name, pieces)), factors=tuple(piece.extent for piece in pieces))
            for axis, pieces in self.by_axis.items()
            if len(pieces) > 1
        )


def _around(stage: Stage, spatial: Cut) -> tuple[_Loops, list[str], list[Piece]]:
    """A stage's own loops: the names of those that are parallel together, and the pieces inside."""
    loops = _Loops(stage.axes, spatial.pieces)
    outer = [*loops.whole, *(loops.name(piece) for piece in spatial.pieces if piece.part == 0)]
    return loops, outer, [piece for piece in spatial.pieces if piece.part > 0]


def _outer_nest(stage: Stage, spatial: Cut) -> Nest:
    """The loops of a stage itself: part by part, the first parts together parallel, the last loop along vectors."""
    loops, outer, inside = _around(stage, spatial)
    inner = [loops.name(piece) for piece in inside]
    bind: list[Bind] = []
    if len(outer) > 1:
        bind.append(BindFused(fuse=tuple(outer), as_=PARALLEL, to="parallel"))
    elif outer:
        bind.append(BindLoop(loop=outer[0], to="parallel"))
    if inner and (stage.reducer is None or len(inner) > (inside[0].part == 1)):  # the sum is not inside a vector
        bind.append(BindLoop(loop=inner[-1], to="vectorize"))
    return Nest(stage=stage.name, splits=loops.splits, order=(*outer, *inner), bind=tuple(bind))


def _sum_nest(acc: str, stage: Stage, spatial: Cut, sums: Cut) -> Nest:
    """The loops of a stage's accumulator: part by part, spatial before reduce but in the last, vectors innermost."""
    around, outer, inside = _around(stage, spatial)
    first = inside[0] if inside and inside[0].part == 1 else None
    at = around.name(first) if first else PARALLEL if len(outer) > 1 else next(iter(outer), None)
    left = [piece for piece in inside if piece is not first]
    loops, last = _Loops((*stage.axes, *stage.reduce), (*left, *sums.pieces)), spatial.parts - 1
    levels = [(piece.part, piece.part == last, piece) for piece in left]
    for piece in sums.pieces:
        level = last if piece.part == sums.parts - 1 else min(piece.part, last)
        levels.append((level, level != last, piece))
    inner = [loops.name(piece) for _, _, piece in sorted(levels, key=lambda entry: entry[:2])]
    vector = left[-1] if left and left[-1].part == last else None
    unrolled = [p for p in left if p is not vector and p.part >= max(last - 1, 1)]
    bind = [BindLoop(loop=loops.name(piece), to="unroll") for piece in unrolled]
    if vector is not None:
        bind.append(BindLoop(loop=loops.name(vector), to="vectorize"))
    start = next((name for name in inner if name.partition(".")[0] in {axis.name for axis in stage.reduce}), None)
    return Nest(
        stage=acc,
        at=None if at is None else At(stage=stage.name, loop=at),
        splits=loops.splits,
        order=(*loops.whole, *inner),
        bind=tuple(bind),
        start=start,
    )


# --- the config -------------------------------------------------------------------------------------------------------


def _parts_of(config: Json) -> tuple[list[Object], Object]:
    """The configs of the operators, and that of the graph."""
    if not (isinstance(config, list) and len(config) == 2 and isinstance(config[0], list) and config[0]):
        raise SpecError("found something else; a config is [[operator, ...], graph], each an object", "config")
    operators = [_object(part, f"config[0][{number}]") for number, part in enumerate(config[0])]
    return operators, _object(config[1], "config[1]")


def _object(part: Json, place: str) -> Object:
    if not isinstance(part, dict):
        raise SpecError(f"found {described(part)}; need an object with spatial, reduce, inline ...", place)
    return part


def _inlined(graph: Object, count: int) -> list[bool]:
    """Which operators the graph computes where they are read."""
    rows = graph.get("inline", [])
    if rows == []:
        return [False] * count
    flags = rows[0] if isinstance(rows, list) else None
    if not isinstance(flags, list) or len(flags) < count or any(flag not in (0, 1) for flag in flags):
        raise SpecError(
            f"found {described(rows)}; need a list with 0 or 1 for each of {count} operators", "config[1].inline"
        )
    return [flag == 1 for flag in flags[:count]]


def _cut(operator: Object, what: str, axes: Sequence[IterAxis], place: str) -> Cut:
    """The loops that the factors under `what` cut axes into; those of one step are left out."""
    place = f"{place}.{what}"
    rows = operator.get(what, [])
    if not isinstance(rows, list) or len(rows) != len(axes):
        found = len(rows) if isinstance(rows, list) else described(rows)
        names = ", ".join(axis.name for axis in axes) or "none"
        raise SpecError(f"found {found}; need factors for {len(axes)} axes: {names}", place)
    pieces: list[Piece] = []
    parts = 1
    for number, (axis, factors) in enumerate(zip(axes, rows, strict=True)):
        at = f"{place}[{number}]"
        if not isinstance(factors, list) or not 1 <= len(factors) <= MOST_PARTS:
            raise SpecError(f"found {described(factors)}; need 1 to {MOST_PARTS} factors of axis {axis.name!r}", at)
        whole = [factor for factor in factors if type(factor) is int and factor > 0]
        if len(whole) != len(factors) or math.prod(whole) != axis.extent:
            raise SpecError(f"factors {factors} of axis {axis.name!r}; need whole ones that give {axis.extent}", at)
        if number and len(factors) != parts:
            raise SpecError(f"{len(factors)} factors where other axes have {parts}; each needs as many", at)
        parts = len(factors)
        pieces += [Piece(axis.name, part, factor) for part, factor in enumerate(whole) if factor > 1]
    place_of = {axis.name: position for position, axis in enumerate(axes)}
    return Cut(parts, tuple(sorted(pieces, key=lambda piece: (piece.part, place_of[piece.axis]))))
