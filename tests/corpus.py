"""The corpus of spec files, and what each of them must do on any TVM: check, lower, build, give the right numbers.

``python corpus.py FILE...`` tries files where only the package is installed, without pytest, and prints a line of JSON
before and after each: where a file ends the process, what it was is known. `check_compat.py` does so on every version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np

from autosched.spec.errors import AutoschedError
from autosched.spec.evaluate import evaluate
from autosched.spec.gpu import limits_of
from autosched.spec.inputs import random_inputs
from autosched.spec.intrinsics import INTRINSICS, intrinsics_of
from autosched.spec.numerics import array_dtype
from autosched.spec.spec_file import load_spec
from autosched.spec.task import Target, Task
from autosched.spec.testing_lowering import assert_lowers_correctly
from autosched.spec.tolerance import tolerance
from autosched.spec.tvm_call import built_function
from autosched.spec.tvm_lower import lower
from autosched.store.machine import this_machine

if TYPE_CHECKING:
    from autosched.spec.schedule import Schedule
    from autosched.spec.spec_file import SpecFile

SPECS = Path(__file__).resolve().parent / "data" / "specs"
FILES = sorted(SPECS.glob("*.json"))


def task_for_here(task: Task) -> Task:
    """The task for this machine: a file may name a CPU that someone else had, on which its numbers are as right.

    A GPU that it names is kept: its code is made, not run.
    """
    return attrs.evolve(task, target=Target()) if limits_of(task.target) is None else task


def intrinsics_lacking(schedule: Schedule) -> list[str]:
    """The intrinsics of a schedule that this machine has no instruction for; warps' own are proven by their loops."""
    has = {intrinsic.name for intrinsic in intrinsics_of(this_machine().isa)}
    named = [nest.tensorize.intrinsic for nest in schedule.nests if nest.tensorize is not None]
    return [name for name in named if name not in has and not INTRINSICS[name].of_warp]


def needs_device(path: Path) -> bool:
    """True where a file is for something else than a CPU, so that its code runs on few machines."""
    return load_spec(path).task.target.kind != "llvm"


def try_file(path: Path) -> dict[str, str | bool]:
    """What came of a file: whether it lowers, whether its numbers are right, and the first thing that went wrong."""
    found: dict[str, str | bool] = {"lowers": False, "right": False, "problem": ""}
    try:
        spec = load_spec(path)
        task = task_for_here(spec.task)
        lower(spec.schedule, task)
        found["lowers"] = True
        assert_lowers_correctly(spec.schedule, task)
        assert_a_user_can_call(spec, task)
        found["right"] = True
    except (AutoschedError, AssertionError) as error:
        found["problem"] = " ".join(str(error).split())[:300]
    return found


def assert_a_user_can_call(spec: SpecFile, task: Task) -> None:
    """Raises AssertionError unless the function that `Result.build` gives fills NumPy arrays with the right numbers.

    There is none for a GPU.
    """
    if limits_of(task.target) is not None:
        return
    workload = task.workload
    inputs = random_inputs(workload, 1, task.ranges)
    outputs = {n: np.zeros(workload.buffers[n].shape, array_dtype(workload.buffers[n].dtype)) for n in workload.outputs}
    built_function(spec.schedule, task)(*(inputs.get(name, outputs.get(name)) for name in workload.params))
    wanted = evaluate(workload, inputs, precise=True)
    for name, found in outputs.items():
        relative, absolute = tolerance(workload, name)
        np.testing.assert_allclose(found.astype(wanted[name].dtype), wanted[name], rtol=relative, atol=absolute)


def main(paths: list[str]) -> None:
    """Tries files in their order."""
    for name in paths:
        print(json.dumps({"begins": name}), flush=True)
        print(json.dumps({"file": name, **try_file(Path(name))}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
