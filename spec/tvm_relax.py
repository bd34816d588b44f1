"""Relax modules: their TensorIR functions by name, and the same module with some of them scheduled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tvm

from .errors import LoweringError
from .tvm_lower import lower
from .tvm_names import tirx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .schedule import Schedule
    from .task import Task

IS_SCHEDULED: Final = "tirx.is_scheduled"
"""The attribute of a function that later passes of TVM's leave alone."""
_NAME: Final = "global_symbol"


def primfuncs_of(mod: tvm.IRModule) -> dict[str, tirx.PrimFunc]:
    """The TensorIR functions of a module by name, sorted; LoweringError where `mod` is no module."""
    if not isinstance(mod, tvm.IRModule):
        raise LoweringError(f"found a {type(mod).__name__}; pass a tvm.IRModule, as Relax's LegalizeOps gives")
    found = {var.name_hint: func for var, func in mod.functions.items() if isinstance(func, tirx.PrimFunc)}
    return dict(sorted(found.items()))


def scheduled_primfunc(schedule: Schedule, task: Task, original: tirx.PrimFunc) -> tirx.PrimFunc:
    """The function of a schedule in the place of `original`, which `task` was read from.

    It takes the same parameters, which lie apart (``tirx.noalias``: what Relax calls it with does), at any address that
    is a multiple of 4 bytes on a CPU. Attributes of the original that lowering has no word for are kept.
    LoweringError where something is computed once: a call in a Relax module has no place for it.
    """
    if schedule.once:
        raise LoweringError(
            f"computes {', '.join(schedule.once)} once, and what calls it in a module gives no constants"
        )
    func = lower(schedule, task).mod["main"].without_attr(_NAME)
    kept = {str(name): value for name, value in (original.attrs or {}).items() if name not in (func.attrs or {})}
    return func.with_attrs({**kept, IS_SCHEDULED: True})


def with_primfuncs(mod: tvm.IRModule, changed: Mapping[str, tirx.PrimFunc]) -> tvm.IRModule:
    """A copy of a module with other functions under some names; what calls them stays as it is."""
    new = mod.clone()
    for name, func in changed.items():
        new.update_func(new.get_global_var(name), func)
    return new


def module_pass(change: Callable[[tvm.IRModule], tvm.IRModule], name: str) -> Any:
    """A pass of TVM's that does `change`, for a `tvm.transform.Sequential`."""
    return tvm.transform.module_pass(lambda mod, _: change(mod), opt_level=0, name=name)
