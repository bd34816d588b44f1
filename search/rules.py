"""The rules that make the space: which layouts a reduction is tried in, and which numbers are left to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .knobs import Knob, tile_knobs
from .layouts import partial_layouts, vector_layouts
from .rule import BUILT_IN, Rule
from .together import shared_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layouts import Layout
    from .rule import Reduction


class Vectors(Rule):
    """Vectors along axes of the output, other axes as rows that share what stays; reads repacked where they must be."""

    name = BUILT_IN[0]

    def layouts(self, reduction: Reduction, found: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """Adds the layouts with a group of axes along vectors."""
        return (*found, *vector_layouts(reduction.stage, reduction.hardware))


class PartialSums(Rule):
    """Vectors along a reduce axis, whose sums are added up at the end: dot products."""

    name = BUILT_IN[1]

    def layouts(self, reduction: Reduction, found: tuple[Layout, ...]) -> tuple[Layout, ...]:
        """Adds the layouts with partial sums."""
        return (*found, *partial_layouts(reduction.stage))


class Tiles(Rule):
    """Register tiles that fit the registers, blocks for the caches, the order of the reduction, inlined producers."""

    name = BUILT_IN[2]

    def knobs(self, reduction: Reduction, layout: Layout | None, found: tuple[Knob, ...]) -> tuple[Knob, ...]:
        """Adds the numbers of a tile where there is a layout to tile."""
        if layout is None:
            return found
        return (*found, *tile_knobs(reduction.stage, layout, reduction.task.workload, reduction.hardware))


class Together(Rule):
    """All stages done together, step by step of the axes they share, where reductions run along vectors or plainly."""

    name = BUILT_IN[3]

    def knobs(self, reduction: Reduction, layout: Layout | None, found: tuple[Knob, ...]) -> tuple[Knob, ...]:
        """Adds the choice to the last reduction, where there is more than one stage to do and they share an axis."""
        workload = reduction.task.workload
        last = next(stage for stage in reversed(workload.stages) if stage.reducer is not None)
        partial = layout is not None and bool(layout.partial)
        if last.name != reduction.stage.name or not (partial or (layout is None and len(workload.stages) > 1)):
            return found
        return (*found, Knob(name="together", values=(False, True))) if shared_axes(workload) else found


RULES: Final[tuple[Rule, ...]] = (Vectors(), PartialSums(), Tiles(), Together())
"""The built-in rules. ``(*RULES, MyRule())`` adds one; a space without one of them is smaller."""


def ruled_layouts(rules: Sequence[Rule], reduction: Reduction) -> tuple[Layout, ...]:
    """The layouts that rules in turn give a reduction, each once."""
    found: tuple[Layout, ...] = ()
    for rule in rules:
        found = rule.layouts(reduction, found)
    return tuple(dict.fromkeys(found))


def ruled_knobs(rules: Sequence[Rule], reduction: Reduction, layout: Layout | None) -> tuple[Knob, ...]:
    """The knobs that rules in turn give a reduction in a layout."""
    found: tuple[Knob, ...] = ()
    for rule in rules:
        found = rule.knobs(reduction, layout, found)
    return found
