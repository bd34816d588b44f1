"""Tiles that run past the end of their axis: loads go on where their buffers do, and results stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.windows import window_staging
from autosched.spec.expr import Binary, loads, walk
from autosched.spec.rewrite import apply_staging
from autosched.spec.schedule import Accumulate, Schedule, Split
from autosched.spec.testing_lowering import assert_rewrites_correctly

if TYPE_CHECKING:
    from autosched.spec.task import Task


def conv(length: int, kernel: int, stride: int, padding: int) -> Task:
    return get_task("conv1d", threads=1, N=1, C=2, L=length, K=3, R=kernel, stride=stride, padding=padding)


def tiled(extent: int, size: int) -> Accumulate:
    tail = "none" if extent % size == 0 else "pad"
    split = Split(axis="l", into=("lo", "li"), factors=(-(-extent // size), size), tail=tail)
    return Accumulate(stage="conv", as_="conv.acc", splits=(split,), order=("n", "lo", "k", "li"))


@given(
    st.tuples(st.integers(8, 40), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)),
    st.integers(2, 9),
    st.booleans(),
)
def test_windows_staged_with_room_need_no_clamp(window, size, in_phases):
    task = conv(*window)
    stride, padding = window[2:]
    stage = task.workload.stage("conv")
    extent = stage.extents["l"]
    buffer = task.workload.buffers["pad" if padding else "X"]
    reach = {"l": -(-extent // size) * size}
    staging = window_staging(buffer, stage, stride if in_phases else 1, reach)
    stagings = (*((staging,) if staging is not None else ()), tiled(extent, size))
    assert_rewrites_correctly(Schedule(stagings=stagings), task)
    workload = task.workload
    for each in stagings:
        workload = apply_staging(workload, each)
    reads = [load for body in workload.stage("conv.acc").body for load in loads(body) if load.buffer != "W"]
    assert not any(isinstance(n, Binary) and n.op == "min" for load in reads for p in load.indices for n in walk(p))


def test_a_load_that_would_leave_its_buffer_is_still_clamped():
    task = conv(length=11, kernel=3, stride=1, padding=0)
    acc = apply_staging(task.workload, tiled(extent=9, size=4)).stage("conv.acc")
    (read,) = [load for body in acc.body for load in loads(body) if load.buffer == "X"]
    assert any(isinstance(node, Binary) and node.op == "min" for node in walk(read.indices[-1]))


def test_windows_that_fit_are_not_copied():
    task = conv(length=18, kernel=3, stride=1, padding=0)
    assert window_staging(task.workload.buffers["X"], task.workload.stage("conv"), 1, {"l": 16}) is None
