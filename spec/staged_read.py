"""Which of a stage's reads a reindex is about: the only one of its buffer, or the one that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canonical import is_same
from .errors import SpecError
from .expr import Const, Expr, If, Load, children, walk
from .expr_text import text_from_expr

if TYPE_CHECKING:
    from .schedule import Reindex
    from .workload import Stage


def staged_read(stage: Stage, staging: Reindex, index_dtype: str) -> Expr:
    """The read that `staging` is about: the only one of its buffer, or the one that it names."""
    units = ways_to_read(stage, staging.reads)
    if staging.load is None and len(units) == 1:
        return units[0]
    for unit in units:
        if staging.load is not None and is_same(unit, staging.load, index_dtype):
            return unit
    listed = "; ".join(text_from_expr(unit) for unit in units)
    if staging.load is None:
        ways = f"{len(units)} ways ({listed})"
        raise SpecError(f"stage {stage.name!r} reads {staging.reads!r} in {ways}; name one by load", "reads")
    found = text_from_expr(staging.load)
    raise SpecError(f"stage {stage.name!r} has no read {found}; it reads {staging.reads!r} as {listed}", "load")


def ways_to_read(stage: Stage, buffer: str) -> list[Expr]:
    """The ways in which `stage` reads `buffer`: loads, with the guards directly around them."""
    if buffer not in stage.reads:
        raise SpecError(f"stage {stage.name!r} does not read {buffer!r}; it reads {', '.join(stage.reads)}", "reads")
    units: dict[Expr, None] = {}

    def visit(node: Expr, outer: Expr) -> None:
        if isinstance(node, Load) and node.buffer == buffer:
            units.setdefault(outer)
            return
        for child in children(node):
            guarded = isinstance(node, If) and child is node.then and isinstance(node.otherwise, Const)
            plain = guarded and not any(isinstance(n, Load) for n in walk(node.cond))  # type: ignore[union-attr]
            visit(child, outer if plain else child)

    for body in stage.body:
        visit(body, body)
    return list(units)
