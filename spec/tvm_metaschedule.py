"""Schedules as records of TVM's MetaSchedule: a workload and a trace that its database replays on it.

Its trace holds the steps from an unscheduled function to a scheduled one. So a schedule can go there whose stagings are
none: what rewrites the computation, and what is computed once, has no such steps, and intrinsics are put in by other
means. The database finds a function by its form, names aside.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tvm
import tvm_ffi

from .check import check_schedule
from .errors import SpecError, shortened
from .tensorized import intrinsic_of
from .tvm_build import TVM_ERRORS, tvm_target, useful_line
from .tvm_lower import lower_plan
from .tvm_write import primfunc_from_workload

if TYPE_CHECKING:
    import os

    from .claim import Claim
    from .nest import Plan
    from .spec_file import SpecFile
    from .tvm_names import tirx

WORKLOADS: Final = "database_workload.json"
RECORDS: Final = "database_tuning_record.json"
"""What MetaSchedule calls the files in a folder of work."""


def save_metaschedule(spec: SpecFile, folder: str | os.PathLike[str], func: tirx.PrimFunc | None = None) -> None:
    """Adds a spec to the database of MetaSchedule in a folder, which is made where it is not there.

    `func` is the function that will be looked up, as TE, TVMScript or Relax gave it; without one the task's own is
    taken, which is what `te.create_prim_func` makes of most computations. Times are those of the last claim.
    SpecError where the schedule has no trace, where nothing is claimed of it, or where `func` is of another form.
    """
    plan = check_schedule(spec.schedule, spec.task)
    _check_traceable(spec, plan)
    claim = _claim_of(spec)
    mod = tvm.IRModule({"main": primfunc_from_workload(spec.task.workload, aligned=True)})
    if func is not None:
        _check_same_form(func, mod)
    trace = _replayable(plan, mod)
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _commit(place, mod, trace, claim, tvm_target(spec.task.target, spec.task.threads))
    except OSError as error:
        raise SpecError(f"{str(folder)!r} cannot be written: {error.strerror}; name another folder") from error


def _check_traceable(spec: SpecFile, plan: Plan) -> None:
    """SpecError, with the place, where the schedule does what a trace does not hold."""
    schedule = spec.schedule
    reason = "MetaSchedule replays a trace on the computation as it is, and has no steps for that; save a spec file"
    if schedule.stagings:
        kind = type(schedule.stagings[0]).__name__.lower()
        raise SpecError(f"{kind} rewrites the computation: {reason}", "schedule.stagings[0]")
    if schedule.once:
        raise SpecError(f"{schedule.once[0]!r} is computed once: {reason}", "schedule.once")
    for nest in plan.nests:
        if intrinsic_of(nest) is not None:
            raise SpecError(f"stage {nest.stage.name!r} is done by an intrinsic: {reason}", "schedule.nests")


def _claim_of(spec: SpecFile) -> Claim:
    """The last claim with a time."""
    timed = [claim for claim in spec.claims if claim.samples_s]
    if not timed:
        raise SpecError("nothing is claimed, and a record of MetaSchedule is ranked by its times; measure it", "claims")
    return max(timed, key=lambda claim: claim.date)


def _check_same_form(func: tirx.PrimFunc, mod: tvm.IRModule) -> None:
    """SpecError where a function would not be found under the task's."""
    wanted = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    if tvm_ffi.structural_equal(wanted, mod):
        return
    place = str(tvm_ffi.get_first_structural_mismatch(wanted, mod)[0]).rpartition('("main")].')[2]
    raise SpecError(
        f"the function has another form than what is read of it, first at {shortened(place, 100)}: the database would "
        "not find it; autosched.nn.relax.schedule_module puts schedules into functions of any form"
    )


def _replayable(plan: Plan, mod: tvm.IRModule) -> Any:
    """The trace of a plan's lowering, once it has been replayed on the module; SpecError where it cannot be."""
    lowered = lower_plan(plan)
    sch = tvm.s_tir.Schedule(mod)
    try:
        lowered.trace.apply_to_schedule(sch, remove_postproc=False)
    except TVM_ERRORS as error:
        raise SpecError(f"its trace cannot be replayed: {useful_line(error)}; save a spec file", "schedule") from error
    return lowered.trace


def _commit(folder: Path, mod: tvm.IRModule, trace: Any, claim: Claim, target: tvm.target.Target) -> None:
    """Adds a record to the database of a folder."""
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo  # brings a hundred modules of TVM's
    from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord

    try:
        database = JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))
        workload = database.commit_workload(mod)
        times = [statistics.median(claim.samples_s)]
        database.commit_tuning_record(TuningRecord(trace, workload, times, target, ArgInfo.from_prim_func(mod["main"])))
    except TVM_ERRORS as error:
        raise SpecError(f"{str(folder)!r}: MetaSchedule cannot add to what is there: {useful_line(error)}") from error
