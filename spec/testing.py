"""Property tests for schedules, ours and users': hypothesis strategies, and a proof of one schedule by running it.

    from hypothesis import given
    from autosched.spec.testing import assert_lowers_correctly, schedules


    @given(schedules(task))
    def test_every_schedule_computes_the_task(schedule):
        assert_lowers_correctly(schedule, task)

Needs hypothesis (``pip install autosched[testing]``); nothing else in the package imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from .task import Target, Task
from .testing_expr import conditions, constants, expressions, index_expressions
from .testing_schedules import schedules
from .testing_tensorize import tensorized
from .testing_workloads import DTYPES, workloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .schedule import Schedule
    from .workload import Workload

__all__ = [
    "assert_lowers_correctly",
    "assert_rewrites_correctly",
    "conditions",
    "constants",
    "expressions",
    "index_expressions",
    "schedules",
    "tasks",
    "tensorized",
    "workloads",
]


def tasks(
    of: st.SearchStrategy[Workload] | None = None,
    *,
    dtypes: Sequence[str] = DTYPES,
    inputs: Sequence[str] | None = None,
) -> st.SearchStrategy[Task]:
    """Tasks for the CPU, of 1 or 2 threads and perhaps with constants, of any workload or of those `of` generates.

    Without `of`, workloads are computed in one of `dtypes`, and from inputs of `inputs` where these are given:
    ``tasks(dtypes=["float32"], inputs=["float16"])`` adds up halves in single precision.
    """

    def task_of(workload: Workload) -> st.SearchStrategy[Task]:
        inputs = [buffer.name for buffer in workload.inputs]
        return st.builds(
            Task,
            workload=st.just(workload),
            target=st.just(Target()),
            threads=st.integers(1, 2),
            constants=st.lists(st.sampled_from(inputs), unique=True).map(tuple) if inputs else st.just(()),
        )

    return (workloads(dtypes=dtypes, inputs=inputs) if of is None else of).flatmap(task_of)


def assert_rewrites_correctly(schedule: Schedule, task: Task | Workload, seed: int = 0) -> None:
    """Raises AssertionError unless the rewritten workload computes what `task` asks for; builds nothing."""
    # On use, here and below: the strategies must not pay for TVM's import.
    from .testing_lowering import assert_rewrites_correctly as prove

    prove(schedule, task, seed)


def assert_lowers_correctly(schedule: Schedule, task: Task, seed: int = 0) -> None:
    """Raises AssertionError unless `schedule` lowers, builds and computes what `task` asks for, on random inputs."""
    from .testing_lowering import assert_lowers_correctly as prove

    prove(schedule, task, seed)
