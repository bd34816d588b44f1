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

from autosched.search.agreement import check_agrees
from autosched.spec.check import check_schedule
from autosched.spec.errors import AutoschedError, LoweringError, SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.inputs import random_inputs
from autosched.spec.nest import Plan
from autosched.spec.spec_file import SpecFile, check_spec
from autosched.spec.task import Target, TargetOption
from autosched.spec.testing_lowering import assert_close, assert_computes, runnable_module
from autosched.spec.tvm_build import compile_module, tvm_target
from autosched.spec.tvm_target import check_target
from pair_tally import BUILD_FAILURE, CORRECT, INCOMPARABLE, OTHER_ALGORITHM, REFUSED, TOO_LARGE, TVM_ERROR, WRONG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.spec.algorithm import Algorithm
    from autosched.spec.task import Task
    from autosched.spec.workload import Workload

PLAIN: Final = Target(
    options=tuple(TargetOption(name=n, value=v) for n, v in (("mcpu", "x86-64-v3"), ("num-cores", 2), ("opt-level", 0)))
)
USUAL: Final = Target()
MAX_STEPS: Final = 2**22
"""Steps of a nest, those skipped at tails included; beyond, it is checked, not run."""
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
    lowered: dict[int, Lowered] = {}
    for number, spec in enumerate(specs):
        found = _lowered(spec)
        if isinstance(found, Verdict):
            verdicts[number] = found
        else:
            lowered[number] = found
    verdicts |= _computed(lowered, tvm_target(USUAL if usual else PLAIN, 2))
    return [verdicts[number] for number in range(len(specs))]


@attrs.frozen(eq=False)
class Lowered:
    """A spec, its plan, and its functions: ``main``, and ``pack`` where something is computed once."""

    spec: SpecFile
    plan: Plan
    functions: dict[str, Any]

    def named(self, number: int) -> dict[str, Any]:
        """The functions as a module of many has them: ``f3``, ``f3_pack``."""
        names = {old: f"f{number}" if old == "main" else f"f{number}_{old}" for old in self.functions}
        return {new: self.functions[old].with_attr("global_symbol", new) for old, new in names.items()}


def _lowered(spec: SpecFile) -> Lowered | Verdict:
    try:
        check_spec(spec)
        check_target(spec.task.target)
        plan = check_schedule(spec.schedule, spec.task)
    except SpecError as error:
        return Verdict(REFUSED, str(error))
    steps = max(math.prod(loop.extent for loop in nest.loops) for nest in plan.nests)
    if is_large(spec.task.workload) or is_large(plan.workload) or steps > MAX_STEPS:
        return Verdict(TOO_LARGE)
    try:
        mod = runnable_module(plan, spec.task)
    except Exception as error:  # noqa: BLE001 # whatever it is: a defect of the checks
        return Verdict(TVM_ERROR, f"{type(error).__name__}: {error}")
    return Lowered(spec, plan, {str(name.name_hint): function for name, function in mod.functions.items()})


def is_large(workload: Workload) -> bool:
    """True where computing a workload takes more than a test may."""
    sizes = [math.prod(buffer.shape) for buffer in workload.buffers.values()]
    return max(*sizes, *(stage.points for stage in workload.stages)) > MAX_POINTS


def _computed(lowered: dict[int, Lowered], target: Any) -> dict[int, Verdict]:
    if not lowered:
        return {}
    functions = {name: func for number, one in lowered.items() for name, func in one.named(number).items()}
    try:
        executable = compile_module(tvm.IRModule(functions), target)
    except LoweringError as error:
        if len(lowered) == 1:
            return dict.fromkeys(lowered, Verdict(BUILD_FAILURE, str(error)))
        verdicts: dict[int, Verdict] = {}
        for number, one in lowered.items():
            verdicts |= _computed({number: one}, target)
        return verdicts
    return {number: _run(executable, one, f"f{number}") for number, one in lowered.items()}


def _run(executable: Any, lowered: Lowered, name: str) -> Verdict:
    """Whether the kernel computes its task; or, where its algorithm computes another one, that."""
    task, algorithm = lowered.spec.task, lowered.spec.schedule.algorithm
    verdict = _compared(executable, lowered.plan, task, name)
    if verdict.outcome == CORRECT or algorithm is None:
        return verdict
    claimed = attrs.evolve(task, workload=algorithm.workload)
    if not _is_of(algorithm, task):
        found = _compared(executable, lowered.plan, claimed, name)
        return Verdict(OTHER_ALGORITHM) if found.outcome == CORRECT else found
    return verdict if is_comparable(claimed) else Verdict(INCOMPARABLE)


def _compared(executable: Any, plan: Plan, task: Task, name: str) -> Verdict:
    try:
        assert_computes(executable, plan, task, name=name)
    except AssertionError as error:
        if not is_comparable(task):
            return Verdict(INCOMPARABLE)
        return Verdict(WRONG, str(error).strip())
    except AutoschedError as error:
        return Verdict(WRONG, f"the reference refuses what the checks accept: {error}")
    return Verdict(CORRECT)


def _is_of(algorithm: Algorithm, task: Task) -> bool:
    """True where NumPy finds that an algorithm computes what `task` asks for."""
    try:
        check_agrees(algorithm, task)
    except SpecError:
        return False
    return True


def is_comparable(task: Task) -> bool:
    """True where NumPy agrees with itself: rounding as declared, or with inputs moved a little, changes nothing.

    A mutation may compute the place of an extreme among rounded floats, or products beyond any float; then two right
    answers differ. What `workloads` draws is comparable throughout, so this is asked of nothing but disagreements.
    """
    workload = task.workload
    inputs = random_inputs(workload, 0, task.ranges)
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
