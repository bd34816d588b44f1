"""Networks of Relax: the functions of a legalised module in the schedules that a store knows for them.

    mod = relax.transform.LegalizeOps()(mod)          # and FuseOps, FuseTIR, if at all, before
    scheduled = schedule_module(mod, store=Store())
    executable = tvm.compile(scheduled.mod, target=scheduled.target)

TVM's own way, MetaScheduleApplyDatabase, replays a trace on the function as it is, and cannot take a schedule that
rewrites the computation; here the whole function is replaced by another that computes the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..search.budget import Budget, budget_of
from ..spec.cores import available_cores
from ..spec.errors import LoweringError, SpecError
from ..spec.narrow import with_index_dtype
from ..spec.task import Option, Target, Task, ValueRange, target_from_value
from ..store.layers import Layers
from ..store.records import Record
from ..store.store import DEFAULT_ALLOW, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPLACED: Final = "replaced"
UNKNOWN: Final = "not known"
REFUSED: Final = "refused"


@attrs.frozen(kw_only=True)
class FunctionReport:
    """What became of one function: `state` is "replaced", "not known" (no schedule is there) or "refused".

    `reason` says why where it stays as it was. `task` is what was read of it, None where it cannot be read; the task
    that `record` is of may count in narrower indices.
    """

    name: str
    state: str
    reason: str = ""
    task: Task | None = None
    record: Record | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.state}" + (f": {self.reason}" if self.reason else "")


@attrs.frozen(kw_only=True, eq=False)
class ScheduledModule:
    """A Relax module, the target of TVM's to compile it for, and what became of each of its functions, by name."""

    mod: Any
    target: Any
    functions: tuple[FunctionReport, ...]

    @property
    def replaced(self) -> int:
        """How many functions have a schedule of ours."""
        return sum(report.state == REPLACED for report in self.functions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.functions))


def schedule_module(
    mod: Any,
    store: Store | None = None,
    *,
    target: str | Mapping[str, Option] | Target = "llvm",
    threads: int | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    ranges: Mapping[str, Sequence[ValueRange]] | None = None,
    allow: Collection[str] = DEFAULT_ALLOW,
) -> ScheduledModule:
    """A copy of `mod`, legalised by Relax, with the fastest schedule that is known in the place of each function.

    Known is what `store` and the layers around it know. Nothing is measured unless `trials` or `seconds` are given:
    then what is not known is searched for, so long for each function. A function that cannot be read, or of which
    nothing is known, stays as it is, and the report says why. `ranges` are those of the integer inputs of a function,
    by its name. Compile the module for the target that comes with it: code for another CPU than the one that was tuned
    for is slow at best. It runs in as many threads as TVM's pool has: set TVM_NUM_THREADS to `threads`, which are the
    cores that this process may use unless given.
    """
    from ..spec.tvm_build import tvm_target
    from ..spec.tvm_relax import primfuncs_of, with_functions
    from ..spec.tvm_relax_calls import constant_arguments

    functions, constants = primfuncs_of(mod), constant_arguments(mod)
    kind, cores = target_from_value(target), available_cores() if threads is None else threads
    seek = _Search(store or Store(), _budget(trials, seconds), allow)
    reports, changed = [], {}
    for name, func in functions.items():
        try:
            task = Task.from_primfunc(func, target=kind, threads=cores, ranges=(ranges or {}).get(name, ()))
        except (LoweringError, SpecError) as error:
            reports.append(FunctionReport(name=name, state=REFUSED, reason=str(error)))
            continue
        known = tuple(task.workload.params[place] for place in sorted(constants.get(name, ())))
        report, scheduled = _scheduled(name, func, attrs.evolve(task, constants=known), seek)
        reports.append(report)
        if scheduled is not None:
            changed[name] = scheduled
    return ScheduledModule(mod=with_functions(mod, changed), target=tvm_target(kind, cores), functions=tuple(reports))


def schedule_pass(report: Callable[[ScheduledModule], None] | None = None, **options: Any) -> Any:
    """`schedule_module` as a pass of TVM's, for a `tvm.transform.Sequential`; `options` are those of `schedule_module`.

    `report` is told what became of the module, each time that the pass runs.
    """
    from ..spec.tvm_relax import module_pass

    def change(mod: Any) -> Any:
        scheduled = schedule_module(mod, **options)
        if report is not None:
            report(scheduled)
        return scheduled.mod

    return module_pass(change, "autosched.schedule_module")


def _budget(trials: int | None, seconds: float | None) -> Budget | None:
    """None where nothing is to be measured."""
    return None if trials is None and seconds is None else budget_of(trials, seconds)


def _scheduled(name: str, func: Any, task: Task, seek: _Search) -> tuple[FunctionReport, Any]:
    """What becomes of a function, and the one in its place; None where it stays."""
    from ..spec.tvm_relax import scheduled_primfunc

    try:
        record, reason = seek.record(task)
        if record is None:
            return FunctionReport(name=name, state=UNKNOWN, reason=reason, task=task), None
        scheduled = scheduled_primfunc(record.schedule, record.task, func)
    except (LoweringError, SpecError) as error:
        return FunctionReport(name=name, state=REFUSED, reason=str(error), task=task), None
    said = f"{record.latency_s or 0:.3g} s, {record.origin}"
    return FunctionReport(name=name, state=REPLACED, reason=said, task=task, record=record), scheduled


@attrs.frozen
class _Search:
    """Where schedules come from: a store, and a search where there is a budget for it."""

    store: Store
    budget: Budget | None
    allow: Collection[str]

    def record(self, task: Task) -> tuple[Record | None, str]:
        """The best that is known of a task, or else with narrower indices or without constants; why there is none."""
        layers, narrow = Layers(store=self.store), with_index_dtype(task, "int32")
        asked = [form for form in (task, narrow) if form is not None]
        if task.constants:
            asked += [attrs.evolve(form, constants=()) for form in asked]
        for known in asked:
            found = layers.best(known, allow=self.allow)
            if found is not None:
                return found.record, ""
        if self.budget is None:
            return None, "no schedule is stored; give trials to search for one"
        from ..search.tuner import tune

        tuned = tune(narrow or task, self.store, self.budget)
        failures = ", ".join(f"{count} {kind}" for kind, count in tuned.failures) or "no trial was made"
        return tuned.record, f"nothing was measured: {failures}"
