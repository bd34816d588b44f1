"""Index types: the same computation with narrower indices, which is another workload by identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .check_task import check_task
from .errors import SpecError

if TYPE_CHECKING:
    from .task import Task


def with_index_dtype(task: Task, index_dtype: str) -> Task | None:
    """The task with indices of another type; None where they do not fit, or where a value is computed from one.

    Relax counts in int64 where TE and the operators here count in int32: what is known of one holds for the other.
    """
    if task.workload.index_dtype == index_dtype:
        return task
    other = attrs.evolve(task, workload=attrs.evolve(task.workload, index_dtype=index_dtype))
    try:
        check_task(other)
    except SpecError:
        return None
    return other
