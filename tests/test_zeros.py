"""Steps over padding that sums leave out: which they are, what is left of them, and when a search has the choice."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched import get_task
from autosched.search.skipping import done_share, share_of_steps
from autosched.search.space import Space
from autosched.spec import builder
from autosched.spec.check import check_schedule
from autosched.spec.diff import compare_specs
from autosched.spec.errors import SpecError
from autosched.spec.expr import Axis, Binary, Compare, index
from autosched.spec.expr_text import text_from_expr
from autosched.spec.schedule import Accumulate, BindLoop, Fuse, Inline, Nest, Reindex, Schedule, Split
from autosched.spec.spec_file import SpecFile
from autosched.spec.task import Task
from autosched.spec.testing_lowering import assert_lowers_correctly
from autosched.spec.zeros import step_tests, zero_tests
from machines import AVX2

if TYPE_CHECKING:
    from collections.abc import Callable

    from autosched.spec.workload import Workload


def taps(length: int, count: int, before: int, stride: int = 1, dilation: int = 1) -> Task:
    """Y[h, k] = the sum of pad[c, h * stride + r * dilation] * W[r, c, k], with as much padding behind as `before`."""
    channels = 3
    x = builder.placeholder((channels, length), name="X")
    w = builder.placeholder((count, channels, 8), name="W")
    pad = builder.compute(
        (channels, length + 2 * before),
        lambda c, h: builder.if_then_else(builder.all(h >= before, h < length + before), x[c, h - before], 0.0),
        name="pad",
    )
    r, c = builder.reduce_axis(count, name="r"), builder.reduce_axis(channels, name="c")
    steps = (length + 2 * before - dilation * (count - 1) - 1) // stride + 1
    y = builder.compute(
        (steps, 8),
        lambda h, k: builder.sum(pad[c, h * stride + r * dilation] * w[r, c, k], axis=[r, c]),
        name="Y",
    )
    return Task(workload=builder.build([x, w, y]), threads=1)


def nest(**changed: object) -> Nest:
    plain = Nest(stage="Y", order=("h", "r", "c", "k"), bind=(BindLoop(loop="k", to="vectorize"),), start="r", skip="r")
    return attrs.evolve(plain, **changed)


def told(schedule: Schedule, task: Task, stage: str = "Y") -> list[str]:
    plan = check_schedule(schedule, task)
    own = plan.by_stage[stage]
    assert own.nest.skip is not None
    return [text_from_expr(test) for test in step_tests(own, plan.workload, own.nest.skip)]


def test_a_step_is_asked_by_the_elements_inside_of_it() -> None:
    task = taps(8, 3, 1)
    assert told(Schedule(nests=(nest(),)), task) == ["h + r >= 1", "h + r < 9"]
    pieces = Split(axis="h", into=("ho", "hi"), factors=(4, 2))
    wide = nest(splits=(pieces,), order=("ho", "r", "c", "hi", "k"))
    with pytest.raises(SpecError, match="reads padding alone"):
        check_schedule(Schedule(nests=(wide,)), task)  # a tile of two rows and one of padding at the border
    pieces = attrs.evolve(pieces, factors=(5, 2))
    further = Schedule(nests=(attrs.evolve(wide, splits=(pieces,)),))
    assert told(further, taps(8, 3, 2)) == ["ho * 2 + r + 1 >= 2", "ho * 2 + r < 10"]


def test_padding_is_found_behind_copies_and_inside_of_the_sum() -> None:
    task = taps(8, 3, 1)
    copied = Reindex(stage="Y", reads="pad", as_="pad.copy", order=("h", "r", "c"))
    assert told(Schedule(stagings=(copied,), nests=(nest(),)), task) == ["h + r >= 1", "h + r < 9"]
    assert told(Schedule(stagings=(Inline(stage="pad"),), nests=(nest(),)), task) == ["h + r >= 1", "h + r < 9"]


def test_a_row_of_a_fused_run_is_told_from_the_next() -> None:
    x, w = builder.placeholder((2, 4, 4), name="X"), builder.placeholder((2, 3, 8), name="W")
    pad = builder.compute(
        (2, 6, 4),
        lambda c, h, w: builder.if_then_else(builder.all(h >= 1, h < 5), x[c, h - 1, w], 0.0),
        name="pad",
    )
    c, r = builder.reduce_axis(2, name="c"), builder.reduce_axis(3, name="r")
    y = builder.compute((4, 4, 8), lambda h, v, k: builder.sum(pad[c, h + r, v] * w[c, r, k], axis=[c, r]), name="Y")
    task = Task(workload=builder.build([x, w, y]), threads=1)
    acc = Accumulate(
        stage="Y",
        as_="Y.acc",
        fuses=(Fuse(fuse=("h", "v"), as_="hv"),),
        splits=(Split(axis="hv", into=("o", "i"), factors=(8, 2)),),
        order=("o", "i", "k"),
    )
    own = Nest(stage="Y.acc", order=("o", "r", "c", "i", "k"), start="r", skip="r")
    schedule = Schedule(stagings=(acc,), nests=(own,))
    assert told(schedule, task, "Y.acc") == ["o // 2 + r >= 1", "o // 2 + r < 5"]
    assert_lowers_correctly(schedule, task)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Task, Schedule]:
    """A padded window, its rows in tiles, with steps over padding left out where there are any."""
    length, count, before = draw(st.integers(3, 12)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    length = max(length, dilation * (count - 1) + 1 - 2 * before)
    task = taps(length, count, before, stride, dilation)
    steps = task.workload.stage("Y").extents["h"]
    rows = draw(st.integers(1, steps))
    tail = "none" if steps % rows == 0 else "predicate"
    pieces = Split(axis="h", into=("ho", "hi"), factors=(-(-steps // rows), rows), tail=tail)
    order = draw(
        st.sampled_from([("ho", "r", "c", "hi", "k"), ("r", "ho", "hi", "c", "k"), ("r", "c", "ho", "k", "hi")])
    )
    bind = draw(st.sampled_from([(), (BindLoop(loop=order[-1], to="vectorize"),)]))
    skip = draw(st.sampled_from(order[:-1]))
    return task, Schedule(nests=(Nest(stage="Y", splits=(pieces,), order=order, bind=bind, start=order[0], skip=skip),))


@given(windows())
def test_what_is_left_out_is_exactly_what_reads_padding_alone(case: tuple[Task, Schedule]) -> None:
    task, schedule = case
    own = schedule.nests[0]
    needed, steps = needed_steps(task.workload, own)
    if needed == steps:
        with pytest.raises(SpecError, match="reads padding alone"):
            check_schedule(schedule, task)
        return
    plan = check_schedule(schedule, task)
    assert share_of_steps(plan.by_stage["Y"], plan.workload) == pytest.approx(needed / steps)
    assert_lowers_correctly(schedule, task)


def needed_steps(workload: Workload, own: Nest) -> tuple[int, int]:
    """How many steps of the loop `own.skip` read anything but padding, and how many there are."""
    stage = workload.stage("Y")
    pieces = own.splits[0]
    sizes = {"ho": pieces.factors[0], "hi": pieces.factors[1], **{n: stage.extents[n] for n in ("r", "c", "k")}}
    place = own.order.index(own.skip or "") + 1
    cond = workload.stage("pad").body[0].cond  # type: ignore[union-attr] # padding is a choice
    low, high = (int(test.b.text) for test in cond.args)
    position = stage.body[0].a.indices[1]  # type: ignore[union-attr] # a product of loads
    code = compile(text_from_expr(position), "position", "eval")
    outer = [range(sizes[name]) for name in own.order[:place]]
    inner = [range(sizes[name]) for name in own.order[place:]]
    needed = 0
    for begun in product(*outer):
        for rest in product(*inner):
            at = dict(zip(own.order, (*begun, *rest), strict=True))
            h = at["ho"] * sizes["hi"] + at["hi"]
            if low <= eval(code, {"h": h, "r": at["r"]}) < high:  # noqa: S307 # our own text of an index
                needed += 1
                break
    return needed, len(list(product(*outer)))


def shifted(source: builder.Tensor) -> Callable[..., Any]:
    def value(i: Any) -> Any:
        return math.prod(builder.if_then_else(i >= step, source[i - step], 0.0) for step in range(1, 41))

    return value


def test_padding_behind_many_reads_is_found_in_bounded_time() -> None:
    """Each stage reads the one before forty times, each time under another condition: ways through them are 10^8."""
    buffers = [builder.placeholder((64,), name="X")]
    for number in range(5):
        buffers.append(builder.compute((64,), shifted(buffers[-1]), name=f"S{number}"))
    workload = builder.build([buffers[0], buffers[-1]])
    assert len(tuple(zero_tests(workload.stages[-1].body[0], workload))) < 10_000


def test_many_steps_are_reckoned_test_by_test() -> None:
    tests = (
        Compare("ge", Binary("add", Axis("h"), Axis("r")), index(1)),
        Compare("lt", Binary("add", Axis("v"), Axis("s")), index(1000)),
    )
    few = (("h", 10), ("r", 3), ("v", 10), ("s", 3))
    many = (("h", 999), ("r", 3), ("v", 999), ("s", 3))
    assert done_share(tests, few) == pytest.approx(29 / 30)
    assert done_share(tests, many) == pytest.approx((1 - 1 / 2997) * (1 - 2 / 2997), abs=1e-3)


@pytest.mark.parametrize(
    ("args", "has"),
    [
        ({"C": 64, "H": 7, "W": 7, "K": 64, "R": 3, "S": 3, "padding": 1}, True),
        ({"C": 64, "H": 7, "W": 7, "K": 64, "R": 1, "S": 1, "padding": 0}, False),
        ({"C": 64, "H": 112, "W": 112, "K": 64, "R": 3, "S": 3, "padding": 1}, False),
    ],
)
def test_a_search_has_the_choice_where_it_saves_much(args: dict[str, int], has: bool) -> None:
    space = Space(get_task("conv2d", N=1, stride=1, threads=2, **args), AVX2)
    knobs = {knob.name for sketch in space.sketches for knob in sketch.knobs}
    assert any(name.endswith("/skip_padding") for name in knobs) == has


def test_the_model_takes_off_what_is_left_out() -> None:
    task = get_task("conv3d", N=1, C=256, D=4, H=8, W=8, K=64, T=3, R=3, S=3, stride=1, padding=1, threads=2)
    space = Space(task, AVX2)
    predicted: list[tuple[float, float]] = []
    for number, sketch in enumerate(space.sketches):
        point = space.standard_point(number)
        if not space.values(point).get("conv/skip_padding"):
            continue
        place = [knob.name for knob in sketch.knobs].index("conv/skip_padding")
        without = space.candidate((*point[: place + 1], 0, *point[place + 2 :]))
        skipping = space.candidate(point)
        if without is not None and skipping is not None:
            predicted.append((skipping.predicted_s, without.predicted_s))
    best, best_without = map(min, zip(*predicted, strict=True))
    assert 0.6 < best / best_without < 0.95  # a sixth of the planes' taps, and an eighth of the rows', are padding


def test_a_difference_is_told() -> None:
    task = taps(8, 3, 1)
    before, after = (
        SpecFile(task=task, schedule=Schedule(nests=(own,)), claims=()) for own in (nest(skip=None), nest())
    )
    found = compare_specs(before, after).schedule
    assert [(change.place, change.before, change.after) for change in found] == [
        ("nest of Y, skip", None, "steps of r")
    ]
