"""Chains of stages computed at one loop: epilogues behind a reduction, producers in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import te

from autosched.nn.registry import get_task
from autosched.spec import builder
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.schedule import Accumulate, At, BindFused, BindLoop, Nest, Partial, Schedule, Split
from autosched.spec.task import Task
from autosched.spec.testing import schedules
from autosched.spec.testing_lowering import assert_lowers_correctly
from row_chains import row_chains

if TYPE_CHECKING:
    from autosched.spec.workload import Workload

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


def vectors(loop: str) -> tuple[BindLoop, ...]:
    return (BindLoop(loop=loop, to="vectorize"),)


PARALLEL_ROWS = (BindLoop(loop="i", to="parallel"),)


def row_extents(schedule: Schedule, task: Task) -> dict[str, tuple[int, ...]]:
    plan = check_schedule(schedule, task.workload)
    return {nest.stage.name: tuple(axis.extent for axis in nest.axes) for nest in plan.nests}


def test_a_softmax_row_at_the_loop_of_its_last_stage():
    """Every producer of the row in front of it; e has two readers there, and top and total reduce."""
    task, row = softmax_task(6, 16), At(stage="Y", loop="i")
    schedule = Schedule(
        nests=(
            Nest(stage="top", at=row),
            Nest(stage="e", at=row, bind=vectors("c")),
            Nest(stage="total", at=row),
            Nest(stage="Y", bind=(*PARALLEL_ROWS, *vectors("c"))),
        )
    )
    assert row_extents(schedule, task) == {"top": (1, 16), "e": (1, 16), "total": (1, 16), "Y": (6, 16)}
    assert_lowers_correctly(schedule, task)


def test_a_softmax_row_behind_its_first_stage():
    """Every consumer of the row behind it; total reduces over what e completes there."""
    task, row = softmax_task(6, 16), At(stage="top", loop="i")
    schedule = Schedule(
        nests=(
            Nest(stage="top", bind=PARALLEL_ROWS, start="k"),
            Nest(stage="e", at=row, bind=vectors("c")),
            Nest(stage="total", at=row, start="j"),
            Nest(stage="Y", at=row, bind=vectors("c")),
        )
    )
    assert row_extents(schedule, task) == {"top": (6, 16), "e": (1, 16), "total": (1, 16), "Y": (1, 16)}
    assert_lowers_correctly(schedule, task)


def test_rows_of_a_softmax_in_pieces():
    """Three rows at a time; the sum of exponentials in partial sums, one for each lane."""
    task, rows = softmax_task(6, 16), At(stage="Y", loop="io")
    lanes = Split(axis="j", into=("jo", "ji"), factors=(4, 4))
    schedule = Schedule(
        stagings=(Partial(stage="total", as_="total.part", splits=(lanes,), keep=("ji",)),),
        nests=(
            Nest(stage="top", at=rows),
            Nest(stage="e", at=rows),
            Nest(stage="total.part", at=rows, order=("i", "jo", "ji"), bind=vectors("ji"), start="jo"),
            Nest(stage="total", at=rows),
            Nest(stage="Y", splits=(Split(axis="i", into=("io", "ii"), factors=(2, 3)),)),
        ),
    )
    assert row_extents(schedule, task)["e"] == (3, 16)
    assert_lowers_correctly(schedule, task)


def test_what_is_read_on_both_sides_of_a_host_has_no_place_there():
    """TVM moves a stage only if all its readers, or all that it reads, are there already; here each waits for another.

    So a chain hangs at its first stage or at its last one, not at one between.
    """
    task, row = softmax_task(4, 8), At(stage="total", loop="i")
    schedule = Schedule(nests=(Nest(stage="e", at=row), Nest(stage="Y", at=row)))
    with pytest.raises(SpecError, match=r"nests\[1\].at: 'Y' reads 'e', which is computed there for 'total' or others"):
        check_schedule(schedule, task.workload)


def test_a_producer_is_not_left_by_one_of_its_readers():
    task = softmax_task(4, 8)
    schedule = Schedule(nests=(Nest(stage="e", at=At(stage="total", loop="i")),))
    with pytest.raises(SpecError, match="'Y' reads 'e' too, outside loop 'i'"):
        check_schedule(schedule, task.workload)


def layer_norm_task(rows: int, columns: int) -> Task:
    x, scale = builder.placeholder((rows, columns), name="X"), builder.placeholder((columns,), name="scale")
    k, j = builder.reduce_axis(columns, "k"), builder.reduce_axis(columns, "j")
    total = builder.compute((rows,), lambda i: builder.sum(x[i, k], axis=k), name="total")
    mean = builder.compute((rows,), lambda i: total[i] / float(columns), name="mean")
    d = builder.compute((rows, columns), lambda i, c: x[i, c] - mean[i], name="d")
    var = builder.compute((rows,), lambda i: builder.sum(d[i, j] * d[i, j], axis=j), name="var")
    y = builder.compute(
        (rows, columns),
        lambda i, c: d[i, c] * builder.call("rsqrt", var[i] / float(columns) + 1e-5) * scale[c],
        name="Y",
    )
    return Task(workload=builder.build([x, scale, y]), threads=2)


@pytest.mark.parametrize(
    ("host", "moved"), [("Y", ("total", "mean", "d", "var")), ("total", ("mean", "d", "var", "Y"))]
)
def test_a_layer_norm_row_at_one_loop(host: str, moved: tuple[str, ...]):
    task, row = layer_norm_task(6, 16), At(stage=host, loop="i")
    wide = ("d", "Y")
    nests = [Nest(stage=name, at=row, bind=vectors("c") if name in wide else ()) for name in moved]
    schedule = Schedule(nests=(Nest(stage=host, bind=PARALLEL_ROWS), *nests))
    assert set(row_extents(schedule, task).values()) == {(6, 16), (1, 16), (1,)}
    assert_lowers_correctly(schedule, task)


def test_two_sums_of_one_stage_at_the_loop_of_its_reader():
    """Relax's layer norm sums values and squares at once: a stage with two outputs, both read at the row."""
    x, k = te.placeholder((6, 16), name="X"), te.reduce_axis((0, 16), "k")
    both = te.comm_reducer(
        lambda a, b: (a[0] + b[0], a[1] + b[1]), lambda *t: [te.const(0.0, d) for d in t], name="two"
    )
    sums = te.compute((6,), lambda i: both((x[i, k], x[i, k] * x[i, k]), axis=k), name="sums")
    y = te.compute((6, 16), lambda i, c: (x[i, c] - sums[0][i] / 16.0) * sums[1][i], name="Y")
    task = Task.from_te([x, y], threads=2)
    at = At(stage="Y", loop="i")
    nests = (Nest(stage=task.workload.stages[0].name, at=at), Nest(stage="Y", bind=PARALLEL_ROWS))
    assert_lowers_correctly(Schedule(nests=nests), task)


def test_pad_conv_bias_and_relu_at_a_tile():
    """The whole layer in tiles of 2 by 4: the register tile, its copy and the epilogue behind, the input in front."""
    tile = At(stage="conv.acc", loop="tile")
    pieces = tuple(
        Split(axis=axis, into=(f"{axis}o", f"{axis}i"), factors=factors)
        for axis, factors in (("h", (4, 2)), ("w", (2, 4)), ("k", (2, 8)))
    )
    schedule = Schedule(
        stagings=(
            Accumulate(stage="conv", as_="conv.acc", splits=pieces, order=("n", "ko", "ho", "wo", "hi", "wi", "ki")),
        ),
        nests=(
            Nest(
                stage="conv.acc",
                order=("n", "ko", "ho", "wo", "c", "r", "s", "hi", "wi", "ki"),
                bind=(BindFused(fuse=("n", "ko", "ho", "wo"), as_="tile", to="parallel"), *vectors("ki")),
                start="c",
            ),
            *(Nest(stage=name, at=tile) for name in ("pad", "conv", "bias_add", "relu")),
        ),
    )
    extents = row_extents(schedule, CONV)
    assert extents["pad"] == (1, 4, 4, 6)
    assert extents["conv"] == extents["bias_add"] == extents["relu"] == (1, 8, 2, 4)
    assert_lowers_correctly(schedule, CONV)


def test_pad_conv_and_bias_in_front_of_a_tile_of_relu():
    tile = At(stage="relu", loop="wo")
    pieces = tuple(
        Split(axis=axis, into=(f"{axis}o", f"{axis}i"), factors=factors)
        for axis, factors in (("h", (4, 2)), ("w", (2, 4)))
    )
    host = Nest(stage="relu", splits=pieces, order=("n", "ho", "wo", "k", "hi", "wi"))
    schedule = Schedule(nests=(host, *(Nest(stage=name, at=tile) for name in ("pad", "conv", "bias_add"))))
    extents = row_extents(schedule, CONV)
    assert extents["pad"] == (1, 4, 4, 6)
    assert extents["conv"][:4] == extents["bias_add"] == (1, 16, 2, 4)
    assert_lowers_correctly(schedule, CONV)


def test_a_reader_further_in_counts_for_what_is_needed():
    """P at io is read by Y there and by N, which is computed at ii: 6 values for 4, and for single ones."""
    x = builder.placeholder((66,), name="X")
    p = builder.compute((66,), lambda i: x[i] * 2.0, name="P")
    n = builder.compute((64,), lambda i: p[i] + p[i + 1], name="N")
    y = builder.compute((64,), lambda i: n[i] * p[i + 2], name="Y")
    task = Task(workload=builder.build([x, y]), threads=1)
    schedule = Schedule(
        nests=(
            Nest(stage="P", at=At(stage="Y", loop="io")),
            Nest(stage="N", at=At(stage="Y", loop="ii")),
            Nest(stage="Y", splits=(Split(axis="i", into=("io", "ii"), factors=(16, 4)),)),
        )
    )
    assert row_extents(schedule, task) == {"P": (6,), "N": (1,), "Y": (64,)}
    assert_lowers_correctly(schedule, task)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data(), row_chains())
def test_whatever_stands_at_a_row_computes_it(data: st.DataObject, workload: Workload):
    task = Task(workload=workload, threads=2)
    assert_lowers_correctly(data.draw(schedules(task, max_stagings=1)), task)
