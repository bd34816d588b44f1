"""Judges specs: each is refused with a SpecError, or it lowers, builds and computes its own workload.

Machine code takes most of the time, so specs are built many at once, one module of many functions. Nine batches of
ten are built without optimisation for a plain CPU with AVX2, a third of the cost: what is proven is the lowering. One
in ten is built as a user's task is, for this CPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
import tvm

from autosched.spec.check import check_schedule
from autosched.spec.errors import AutoschedError, LoweringError, SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.inputs import random_inputs
from autosched.spec.spec_file import SpecFile, check_spec
from autosched.spec.task import Target, TargetOption
from autosched.spec.testing_lowering import assert_close, assert_computes
from autosched.spec.tvm_build import compile_module, tvm_target
from autosched.spec.tvm_lower import lower_plan
from pair_tally import BUILD_FAILURE, CORRECT, INCOMPARABLE, REFUSED, TOO_LARGE, TVM_ERROR, WRONG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.spec.workload import Workload

PLAIN: Final = Target(
    options=tuple(TargetOption(name=n, value=v) for n, v in (("mcpu", "x86-64-v3"), ("num-cores", 2), ("opt-level", 0)))
)
USUAL: Final = Target()
MAX_POINTS: Final = 2**18
"""What a mutant may compute, and its buffers hold: larger ones are checked, not run."""


@attrs.frozen
class Verdict:
    """What became of a spec, and the message where it was refused or is a defect."""

    outcome: str
    detail: str = ""


def judge(specs: Sequence[SpecFile], *, usual: bool = False) -> list[Verdict]:
    """What becomes of each spec: refused by the checks, or lowered, built together, run and compared."""
    verdicts: dict[int, Verdict] = {}
    functions: dict[str, Any] = {}
    for number, spec in enumerate(specs):
        verdict, function = _lowered(spec)
        if function is None:
            verdicts[number] = verdict
        else:
            functions[f"f{number}"] = function.with_attr("global_symbol", f"f{number}")
    verdicts |= _computed(specs, functions, tvm_target(USUAL if usual else PLAIN, 2))
    return [verdicts[number] for number in range(len(specs))]


def _lowered(spec: SpecFile) -> tuple[Verdict, Any]:
    try:
        check_spec(spec)
        plan = check_schedule(spec.schedule, spec.task.workload)
    except SpecError as error:
        return Verdict(REFUSED, str(error)), None
    if is_large(spec.task.workload) or is_large(plan.workload):
        return Verdict(TOO_LARGE), None
    try:
        return Verdict(CORRECT), lower_plan(plan).mod["main"]
    except Exception as error:  # noqa: BLE001 # whatever it is: a defect of the checks
        return Verdict(TVM_ERROR, f"{type(error).__name__}: {error}"), None


def is_large(workload: Workload) -> bool:
    """True where computing a workload takes more than a test may."""
    sizes = [math.prod(buffer.shape) for buffer in workload.buffers.values()]
    return max(*sizes, *(stage.points for stage in workload.stages)) > MAX_POINTS


def _computed(specs: Sequence[SpecFile], functions: dict[str, Any], target: Any) -> dict[int, Verdict]:
    if not functions:
        return {}
    try:
        executable = compile_module(tvm.IRModule(functions), target)
    except LoweringError as error:
        if len(functions) == 1:
            (name,) = functions
            return {int(name[1:]): Verdict(BUILD_FAILURE, str(error))}
        verdicts: dict[int, Verdict] = {}
        for name, function in functions.items():
            verdicts |= _computed(specs, {name: function}, target)
        return verdicts
    return {int(name[1:]): _run(executable, specs[int(name[1:])], name) for name in functions}


def _run(executable: Any, spec: SpecFile, name: str) -> Verdict:
    try:
        assert_computes(executable, spec.task, name=name)
    except AssertionError as error:
        if not is_comparable(spec):
            return Verdict(INCOMPARABLE)
        return Verdict(WRONG, str(error).strip())
    except AutoschedError as error:
        return Verdict(WRONG, f"the reference refuses what the checks accept: {error}")
    return Verdict(CORRECT)


def is_comparable(spec: SpecFile) -> bool:
    """True where NumPy agrees with itself: rounding as declared, or with inputs moved a little, changes nothing.

    A mutation may compute the place of an extreme among rounded floats, or products beyond any float; then two right
    answers differ. What `workloads` draws is comparable throughout, so this is asked of nothing but disagreements.
    """
    workload = spec.task.workload
    inputs = random_inputs(workload, 0, spec.task.ranges)
    moved = {name: a if a.dtype.kind in "iub" else (a * (1 + 1e-6)).astype(a.dtype) for name, a in inputs.items()}
    try:
        wanted = evaluate(workload, inputs, precise=True)
        if not all(np.isfinite(array).all() for array in wanted.values() if array.dtype.kind == "f"):
            return False
        assert_close(evaluate(workload, inputs), workload, inputs)
        found = evaluate(workload, moved, precise=True)
    except AssertionError:
        return False
    # Moved inputs move results a little: beyond that, something flipped.
    return all(
        np.allclose(found[n].astype(float), wanted[n].astype(float), rtol=1e-2, atol=1e-2) for n in workload.outputs
    )
