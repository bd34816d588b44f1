"""Checks of a task: its workload, and that what is said of its inputs is about inputs it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .check_workload import check_workload
from .dtypes import integer_bounds, is_integer
from .errors import SpecError

if TYPE_CHECKING:
    from .task import Task

MAX_THREADS: Final = 4096


def check_task(task: Task) -> None:
    """Raises SpecError, with the path inside the task, unless a task is well formed."""
    check_threads(task)
    check_ranges(task)
    try:
        check_workload(task.workload, {r.buffer: (r.low, r.high) for r in task.ranges})
    except SpecError as error:
        raise error.under("workload") from error
    check_constants(task)


def check_threads(task: Task) -> None:
    """The number of threads is one a machine may have."""
    if not 1 <= task.threads <= MAX_THREADS:
        raise SpecError(f"{task.threads} threads; allowed: 1 to {MAX_THREADS}", "threads")


def check_constants(task: Task) -> None:
    """Constants are inputs, each named once."""
    inputs = {buffer.name for buffer in task.workload.inputs}
    for number, name in enumerate(task.constants):
        place = f"constants[{number}]"
        if name not in inputs:
            raise SpecError(f"constant {name!r} is no input; inputs: {', '.join(sorted(inputs))}", place)
        if name in task.constants[:number]:
            raise SpecError(f"constant {name!r} is listed twice; keep one of them", place)


def check_ranges(task: Task) -> None:
    """Ranges bound integer inputs, each once, by values that the input's dtype holds."""
    dtypes = {buffer.name: buffer.dtype for buffer in task.workload.inputs}
    seen: set[str] = set()
    for number, known in enumerate(task.ranges):
        place = f"ranges[{number}]"
        dtype = dtypes.get(known.buffer)
        if dtype is None:
            raise SpecError(f"range of {known.buffer!r}, which is no input; inputs: {', '.join(sorted(dtypes))}", place)
        if known.buffer in seen:
            raise SpecError(f"a second range of {known.buffer!r}; keep one of them", place)
        if not is_integer(dtype):
            raise SpecError(f"range of {known.buffer!r}, which is {dtype}; ranges are for integer inputs", place)
        low, high = integer_bounds(dtype)
        if not low <= known.low <= known.high <= high:
            raise SpecError(
                f"range {known.low}..{known.high} of {known.buffer!r}; allowed: low <= high within {low}..{high}",
                place,
            )
        seen.add(known.buffer)
