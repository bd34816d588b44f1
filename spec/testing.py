"""Property tests for schedules, ours and users': hypothesis strategies of expressions, workloads and tasks.

    from hypothesis import given
    from autosched.spec.testing import workloads


    @given(workloads())
    def test_something(workload): ...

Needs hypothesis (``pip install autosched[testing]``); nothing else in the package imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from .task import Target, Task
from .testing_expr import conditions, constants, expressions, index_expressions
from .testing_schedules import schedules
from .testing_workloads import workloads

if TYPE_CHECKING:
    from .workload import Workload

__all__ = ["conditions", "constants", "expressions", "index_expressions", "schedules", "tasks", "workloads"]


def tasks(of: st.SearchStrategy[Workload] | None = None) -> st.SearchStrategy[Task]:
    """Tasks for the CPU, of 1 or 2 threads, of any workload or of those that `of` generates."""
    return st.builds(
        Task,
        workload=workloads() if of is None else of,
        target=st.just(Target()),
        threads=st.integers(1, 2),
    )
