"""Whether a task can be measured here: asked before anything is allocated, built or written."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from ..spec.cores import available_cores
from ..spec.errors import SpecError
from ..spec.expr import loads
from ..spec.triple import foreign_triple, this_arch

if TYPE_CHECKING:
    from ..spec.task import Task
    from ..spec.workload import Workload

MAX_REFERENCE_STEPS: Final = 2**27
"""Evaluations of stage bodies that the reference's points may take: some seconds in NumPy."""
LEAST_POINTS: Final = 8
"""Elements of each output that are compared with the reference, at the very least."""


def check_measurable(task: Task) -> None:
    """Raises SpecError for a task that cannot be measured here.

    Code for another machine, more threads than cores, buffers that do not fit into memory, or elements that take the
    reference longer than anybody waits.
    """
    if task.threads > (cores := available_cores()):
        raise SpecError(f"found {task.threads}; this process may use {cores} cores: allowed: 1 to {cores}", "threads")
    if task.target.kind != "llvm":
        raise SpecError(f"found {task.target.kind!r}; only 'llvm' can be measured so far: tune for that", "target.kind")
    if (triple := foreign_triple(task.target)) is not None:
        raise SpecError(
            f"found {triple!r}; only code for {this_arch()}, this machine's own, can be measured: leave mtriple out, "
            "or tune on such a machine; autosched lower --asm shows the code for others",
            "target.mtriple",
        )
    check_memory(task.workload)
    check_reference(task.workload)
    if task.target.options:
        from ..spec.tvm_target import check_target

        check_target(task.target)  # imports TVM, which a plain target saves


# --- memory -----------------------------------------------------------------------------------------------------------


def check_memory(workload: Workload) -> None:
    """Raises SpecError where the buffers of a task, and the copies that measuring takes, do not fit."""
    needed, free = needed_bytes(workload), available_bytes()
    if needed > free:
        raise SpecError(
            f"its buffers take {_gib(needed)} with the copies that measuring needs, {_gib(free)} are available; make "
            "the task smaller, or measure where there is more memory",
            "workload",
        )
    folder = tempfile.gettempdir()
    on_disk = sum(workload.buffers[name].bytes_in_all for name in workload.params)
    if on_disk > (free := shutil.disk_usage(folder).free):
        raise SpecError(
            f"its inputs and outputs take {_gib(on_disk)} in {folder}, {_gib(free)} are free there; free some "
            "space, or name another folder in TMPDIR",
            "workload",
        )


def needed_bytes(workload: Workload) -> int:
    """Memory that measuring a task takes: inputs here and in the workers, outputs of a kernel and what they must be.

    Also the buffers between stages, and what making the largest input takes on the way.
    """
    inputs = [buffer.bytes_in_all for buffer in workload.inputs]
    outputs = sum(workload.buffers[name].bytes_in_all for name in workload.outputs)
    return 2 * sum(inputs) + max(inputs, default=0) + 2 * outputs + inner_bytes(workload)


def own_bytes(workload: Workload) -> int:
    """Memory that a kernel of the task fills: its outputs and the buffers between stages."""
    return inner_bytes(workload) + sum(workload.buffers[name].bytes_in_all for name in workload.outputs)


def inner_bytes(workload: Workload) -> int:
    """Memory of the buffers between stages."""
    return sum(workload.buffers[name].bytes_in_all for name in workload.writer if name not in workload.params)


def available_bytes() -> int:
    """Memory that this process may still take: of the machine, and of its control group."""
    return min([int(psutil.virtual_memory().available), *_group_bytes()])


def _group_bytes() -> list[int]:
    """What the control group has left, as containers have one; empty where there is no limit."""
    for limit, used, files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        root = Path("/sys/fs/cgroup")
        try:
            most, taken = int((root / limit).read_text()), int((root / used).read_text())
            stat = ((root / used).parent / "memory.stat").read_text().split()
        except (OSError, ValueError):  # no such group, or "max"
            continue
        cached = int(stat[stat.index(files) + 1]) if files in stat else 0
        return [max(0, most - taken + cached)]
    return []


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


# --- the reference ----------------------------------------------------------------------------------------------------


def check_reference(workload: Workload) -> None:
    """Raises SpecError where a few elements of an output take the reference too long."""
    for name in workload.outputs:
        steps = reference_steps(workload, name, LEAST_POINTS)
        if steps > MAX_REFERENCE_STEPS:
            raise SpecError(
                f"{LEAST_POINTS} elements of {name!r} take {steps} steps, and the NumPy reference that results are "
                f"compared with makes at most {MAX_REFERENCE_STEPS}; make its reductions shorter",
                "workload",
            )


def reference_steps(workload: Workload, output: str, points: int) -> int:
    """An upper bound of how often stage bodies are evaluated for `points` elements of `output`.

    Each stage computes what the later ones read of it, and every element once.
    """
    wanted = {output: points}
    steps = 0
    for stage in reversed(workload.stages):
        asked = sum(wanted.get(result.name, 0) for result in stage.outputs)
        if not asked:
            continue
        made = min(asked, math.prod(stage.shape)) * math.prod(axis.extent for axis in stage.reduce)
        steps += made
        for body in stage.body:
            for load in loads(body):
                wanted[load.buffer] = wanted.get(load.buffer, 0) + made
    return steps


def affordable_points(workload: Workload, output: str, points: int) -> int:
    """How many of `points` elements the reference can compute in its number of steps."""
    while points > LEAST_POINTS and reference_steps(workload, output, points) > MAX_REFERENCE_STEPS:
        points //= 2
    return max(points, 1)
