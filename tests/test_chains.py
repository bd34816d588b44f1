"""Chains of stages computed at one loop: epilogues behind a reduction, producers in front of it."""

from __future__ import annotations

import pytest

from autosched.nn.registry import get_task
from autosched.spec import builder
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.schedule import At, BindLoop, Nest, Schedule, Split
from autosched.spec.task import Task
from autosched.spec.testing_lowering import assert_lowers_correctly

CONV = get_task("conv2d", threads=2, N=1, C=4, H=8, W=8, K=16, R=3, S=3, stride=1, padding=1, bias=True, relu=True)
AT_ROW = At(stage="conv", loop="h")
TILE = Nest(stage="conv", order=("n", "k", "h", "w", "c", "r", "s"), bind=(BindLoop(loop="n", to="parallel"),))


def test_pad_conv_bias_and_relu_at_one_row():
    schedule = Schedule(
        nests=(
            Nest(stage="pad", at=AT_ROW),
            TILE,
            Nest(stage="bias_add", at=AT_ROW, bind=(BindLoop(loop="w", to="vectorize"),)),
            Nest(stage="relu", at=AT_ROW, bind=(BindLoop(loop="w", to="vectorize"),)),
        )
    )
    plan = check_schedule(schedule, CONV.workload)
    rows = {nest.stage.name: tuple(axis.extent for axis in nest.axes) for nest in plan.nests}
    assert rows["pad"] == (1, 4, 3, 10)
    assert rows["bias_add"] == rows["relu"] == (1, 1, 1, 8)
    assert_lowers_correctly(schedule, CONV)


def test_the_end_of_a_chain_may_not_come_before_its_middle():
    schedule = Schedule(nests=(TILE, Nest(stage="relu", at=AT_ROW)))
    with pytest.raises(SpecError, match="'relu' and 'conv' do not read one another, nor does a stage at the same loop"):
        check_schedule(schedule, CONV.workload)


def softmax_task(rows: int, columns: int) -> Task:
    x = builder.placeholder((rows, columns), name="X")
    k, j = builder.reduce_axis(columns, "k"), builder.reduce_axis(columns, "j")
    top = builder.compute((rows,), lambda i: builder.max(x[i, k], axis=k), name="top")
    e = builder.compute((rows, columns), lambda i, c: builder.call("exp", x[i, c] - top[i]), name="e")
    total = builder.compute((rows,), lambda i: builder.sum(e[i, j], axis=j), name="total")
    y = builder.compute((rows, columns), lambda i, c: e[i, c] / total[i], name="Y")
    return Task(workload=builder.build([x, y]), threads=2)


def test_softmax_row_by_row():
    task = softmax_task(6, 16)
    row = At(stage="total", loop="i")
    schedule = Schedule(
        nests=(
            Nest(stage="top"),
            Nest(stage="e"),
            Nest(stage="total", bind=(BindLoop(loop="i", to="parallel"),), start="j"),
            Nest(
                stage="Y",
                splits=(Split(axis="c", into=("co", "ci"), factors=(2, 8)),),
                bind=(BindLoop(loop="ci", to="vectorize"),),
            ),
        )
    )
    assert_lowers_correctly(schedule, task)
    # Y also reads e, which has a nest of its own before: so Y cannot move to where the total is.
    moved = Schedule(nests=(*schedule.nests[:3], Nest(stage="Y", at=row)))
    with pytest.raises(SpecError, match="'Y' also reads 'e', which is not computed at 'i'"):
        check_schedule(moved, task.workload)


def test_a_producer_that_two_stages_read_keeps_its_own_nest():
    task = softmax_task(4, 8)
    schedule = Schedule(nests=(Nest(stage="e", at=At(stage="total", loop="i")),))
    with pytest.raises(SpecError, match="'e' is read by Y and total"):
        check_schedule(schedule, task.workload)
