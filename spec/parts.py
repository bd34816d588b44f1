"""Whether the parts of an attached stage, one for each step of the loops around it, tile it.

TVM moves the start of a reduction, and vectorizes it, only where its parts lie side by side: of
``P[i] + P[i + 2]`` in steps of 4 each needs 6 values of P, so they overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .expr import Axis

if TYPE_CHECKING:
    from .nest import Plan, StageNest


def tiles(plan: Plan, nest: StageNest) -> bool:
    """True where the parts of an attached stage are its whole, cut in pieces of one size, each computed once."""
    extents = {f"{host.stage.name}:{loop.name}": loop.extent for host in plan.nests for loop in host.loops}
    moved: list[str] = []
    for axis in nest.stage.axes:
        span = nest.box[axis.name]
        length = span.length
        for atom, step in sorted(span.base, key=lambda term: term[1]):
            assert isinstance(atom, Axis)
            if step != length:
                return False
            length *= extents[atom.name]
            moved.append(atom.name)
    return len(set(moved)) == len(moved)
