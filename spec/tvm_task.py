"""Tasks from computations written for TVM: `Task.from_te` and `Task.from_primfunc` lead here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .check_task import check_task
from .cores import available_cores
from .task import Option, Target, Task, ValueRange, target_from_value
from .tvm_names import check_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .linear import Range
    from .tvm_names import te, tirx
    from .workload import Workload


def task_from_te(
    function: Callable[..., Sequence[te.Tensor]] | Sequence[te.Tensor],
    args: Sequence[object] = (),
    *,
    target: str | Mapping[str, Option] | Target = "llvm",
    threads: int | None = None,
    constants: Sequence[str] = (),
    ranges: Sequence[ValueRange] = (),
) -> Task:
    """The task of the tensors that ``function(*args)`` returns, or of a list of tensors: inputs, then outputs."""
    check_reads()
    from .tvm_te import workload_from_te  # its tables are of nodes that older versions of TVM do not have

    tensors = function(*args) if callable(function) else function
    return _task(workload_from_te(tensors, _known(ranges)), target, threads, constants, ranges)


def task_from_primfunc(
    func: tirx.PrimFunc,
    *,
    target: str | Mapping[str, Option] | Target = "llvm",
    threads: int | None = None,
    constants: Sequence[str] = (),
    ranges: Sequence[ValueRange] = (),
) -> Task:
    """The task of a TensorIR function that is not scheduled yet."""
    check_reads()
    from .tvm_read import workload_from_primfunc  # as above

    return _task(workload_from_primfunc(func, _known(ranges)), target, threads, constants, ranges)


def _known(ranges: Sequence[ValueRange]) -> dict[str, Range]:
    return {known.buffer: (known.low, known.high) for known in ranges}


def _task(
    workload: Workload,
    target: str | Mapping[str, Option] | Target,
    threads: int | None,
    constants: Sequence[str],
    ranges: Sequence[ValueRange],
) -> Task:
    task = Task(
        workload=workload,
        target=target_from_value(target),
        threads=available_cores() if threads is None else threads,
        constants=tuple(constants),
        ranges=tuple(ranges),
    )
    check_task(task)
    return task
