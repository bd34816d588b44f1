"""Relax modules: their TensorIR functions by name, and the same module with some of them scheduled."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import tvm

from .check import check_schedule
from .errors import LoweringError
from .once import PACK
from .tvm_build import compile_module, tvm_target
from .tvm_lower import module_from_plan
from .tvm_names import tirx
from .tvm_relax_calls import Further, with_further_arguments
from .tvm_run import packing_of

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


def scheduled_primfunc(schedule: Schedule, task: Task, original: tirx.PrimFunc) -> tirx.PrimFunc | Further:
    """The function of a schedule in the place of `original`, which `task` was read from.

    It takes the same parameters, which lie apart (``tirx.noalias``: what Relax calls it with does), at any address that
    is a multiple of 4 bytes on a CPU. Where the schedule computes something once, that comes before the outputs, and
    how it is made of the task's constants comes with the function. Attributes of the original that lowering has no word
    for are kept.
    """
    plan = check_schedule(schedule, task)
    mod = module_from_plan(plan)
    func = mod["main"].without_attr(_NAME)
    kept = {str(name): value for name, value in (original.attrs or {}).items() if name not in (func.attrs or {})}
    func = func.with_attrs({**kept, IS_SCHEDULED: True})
    if not plan.once:
        return func
    params, count = list(func.params), len(task.workload.params)
    outputs = count - len(task.workload.inputs)
    # Relax calls a function with its outputs last.
    order = [*params[: count - outputs], *params[count:], *params[count - outputs : count]]
    func = tirx.PrimFunc(order, func.body, func.ret_type, attrs=func.attrs)
    executable = compile_module(tvm.IRModule({PACK: mod[PACK]}), tvm_target(task.target, task.threads))
    packing = packing_of(plan, executable.jit())
    assert packing is not None
    places = tuple(task.workload.params.index(name) for name in packing.constants)
    return Further(func, places, functools.partial(_in_a_thread, packing.packed))


def _in_a_thread(call: Callable[..., Any], *arguments: object) -> Any:
    """What a call gives in a thread of its own: TVM's pool of this one keeps the size that its user will choose."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(call, *arguments).result()


def with_functions(mod: tvm.IRModule, changed: Mapping[str, tirx.PrimFunc | Further]) -> tvm.IRModule:
    """A copy of a module with other functions under some names, and calls changed of those that take more."""
    new = mod.clone()
    further = {name: func for name, func in changed.items() if isinstance(func, Further)}
    for name, func in changed.items():
        if not isinstance(func, Further):
            new.update_func(new.get_global_var(name), func)
    return with_further_arguments(new, further) if further else new


def module_pass(change: Callable[[tvm.IRModule], tvm.IRModule], name: str) -> Any:
    """A pass of TVM's that does `change`, for a `tvm.transform.Sequential`."""
    return tvm.transform.module_pass(lambda mod, _: change(mod), opt_level=0, name=name)
