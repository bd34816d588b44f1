"""Records take lists where they hold tuples, and are then what tuples would have made."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import autosched as at
from autosched.spec.check import check_schedule
from autosched.spec.schedule import Accumulate, Schedule, Split
from autosched.spec.testing import schedules, tasks

MODULES = {f"autosched.spec.{name}" for name in ("schedule", "workload", "task")}


def with_lists(value: Any) -> Any:
    """A record made anew, each sequence of it and of its records from a list."""
    kind = type(value)
    if kind is tuple:
        return [with_lists(each) for each in value]
    if not attrs.has(kind) or kind.__module__ not in MODULES:
        return value
    return kind(**{field.alias: with_lists(getattr(value, field.name)) for field in attrs.fields(kind) if field.init})


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_lists_make_the_same_records(data: st.DataObject) -> None:
    task = data.draw(tasks())
    schedule = data.draw(schedules(task))
    for record in (task, schedule):
        made = with_lists(record)
        assert made == record
        assert hash(made) == hash(record)
    check_schedule(with_lists(schedule), with_lists(task))


def test_a_schedule_written_with_lists_is_checked_and_lowered() -> None:
    task = at.get_task("gemm", N=16, K=16, M=16, threads=1)
    split = Split(axis="j", into=["jo", "ji"], factors=[2, 8])  # type: ignore[arg-type]
    staging = Accumulate(stage="C", as_="C.acc", splits=[split], order=["jo", "i", "ji"])  # type: ignore[arg-type]
    schedule = Schedule(stagings=[staging])  # type: ignore[arg-type]
    assert "C.acc" in {stage.name for stage in at.rewrite(schedule, task).stages}
