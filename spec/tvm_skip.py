"""A loop of a sum whose steps over padding are left out: a condition around what it does.

Before                                         After (skip r)

    for h, r in T.grid(14, 3):                     for h, r in T.grid(14, 3):
        for c in range(64):                            if h + r >= 1 and h + r < 15:
            with T.sblock("Y_update"): ...                 for c in range(64):
                                                               with T.sblock("Y_update"): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tvm_names import stmts, tirx
from .tvm_write import written_condition
from .zeros import step_tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nest import BoundLoop, StageNest
    from .workload import Workload


def skipping_loop(nest: StageNest, workload: Workload, around: Sequence[Any]) -> Any:
    """What takes the place of the last of TVM's loops `around`, those of a nest down to the one that it skips."""
    axes: dict[str, Any] = {}
    for bound, loop in zip(nest.bound, around, strict=False):
        axes |= _parts(bound, loop.loop_var)
    loop = around[-1]
    tests = step_tests(nest, workload, nest.bound[len(around) - 1].name)
    body = stmts.IfThenElse(written_condition(tests, axes, workload.index_dtype), loop.body, None)
    return stmts.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, None, loop.annotations)


def _parts(bound: BoundLoop, variable: Any) -> dict[str, Any]:
    """The loops that were fused into one, by its variable."""
    found, step = {}, 1
    for part in reversed(bound.parts):
        value = variable if step == 1 else tirx.floordiv(variable, step)
        found[part.name] = value if part is bound.parts[0] else tirx.floormod(value, part.extent)
        step *= part.extent
    return found
