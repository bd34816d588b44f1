"""Checks of an algorithm against its task: its workload, and that a call of it is a call of the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .check_workload import check_workload
from .claim import ACCURACY_CLASSES
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .algorithm import Algorithm
    from .claim import Claim
    from .linear import Range
    from .schedule import Schedule
    from .workload import Workload


def starting_workload(schedule: Schedule, workload: Workload) -> Workload:
    """What the stagings of a schedule begin with: its algorithm's workload, or `workload`, the task's, itself.

    SpecError, with a path, where the algorithm has other parameters than the task.
    """
    if schedule.algorithm is None:
        return workload
    try:
        check_same_parameters(schedule.algorithm.workload, workload)
    except SpecError as error:
        raise error.under("schedule.algorithm.workload") from error
    return schedule.algorithm.workload


def check_algorithm(algorithm: Algorithm, workload: Workload, ranges: Mapping[str, Range] | None = None) -> None:
    """Raises SpecError unless an algorithm is a well-formed workload with the parameters of the task's `workload`.

    `ranges` are the values that the task's integer inputs may take.
    """
    try:
        check_same_parameters(algorithm.workload, workload)
        check_workload(algorithm.workload, ranges)
    except SpecError as error:
        raise error.under("schedule.algorithm.workload") from error


def check_same_parameters(own: Workload, workload: Workload) -> None:
    """Parameters have the names, order, shapes, dtypes and roles of the task's; indices are as wide."""
    if own.params != workload.params:
        found, wanted = ", ".join(own.params) or "none", ", ".join(workload.params)
        raise SpecError(f"found {found}; the task's parameters are {wanted}: take the same, in their order", "params")
    if own.index_dtype != workload.index_dtype:
        found, wanted = own.index_dtype, workload.index_dtype
        raise SpecError(f"found {found}; the task's indices are {wanted}: take the same", "index_dtype")
    for number, name in enumerate(workload.params):
        if name not in own.buffers:
            raise SpecError(f"parameter {name!r} is no buffer of this workload", f"params[{number}]")
        found, wanted = _described(name, own), _described(name, workload)
        if found != wanted:
            raise SpecError(f"{name!r} is {found}, in the task {wanted}; make it the same", f"params[{number}]")


def _described(name: str, workload: Workload) -> str:
    buffer = workload.buffers[name]
    role = "an output" if name in workload.writer else "an input"
    return f"{role} {buffer.dtype}[{', '.join(map(str, buffer.shape))}]"


def check_claimed_accuracy(schedule: Schedule, claims: Sequence[Claim]) -> None:
    """No claim is of a stricter accuracy class than the schedule's algorithm."""
    if schedule.algorithm is None or not schedule.algorithm.is_loose:
        return
    least = schedule.algorithm.accuracy
    for number, claim in enumerate(claims):
        if ACCURACY_CLASSES.index(claim.accuracy) < ACCURACY_CLASSES.index(least):
            message = f"found {claim.accuracy!r}, and the algorithm's results are {least!r}"
            raise SpecError(f"{message}; write that", f"claims[{number}].accuracy")
