"""The analytic model: what it says of registers, loads, leaps from page to page, packing and threads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.analytic import predict_s, stage_costs
from autosched.search.assemble import StageChoice, assemble
from autosched.search.default import default_candidate
from autosched.search.hardware import hardware_from_machine
from autosched.search.registers import HELD_TOO, SPILL, SWAPPED
from autosched.search.traffic import MOST_UNDER_WAY, latencies, leap_of
from autosched.spec.builder import build, compute, constant, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.check import check_schedule
from autosched.spec.footprint import LINE_BYTES, accesses_of
from autosched.spec.task import Task
from machines import AVX2, AVX512
from shared_spaces import shared_space

if TYPE_CHECKING:
    from autosched.search.analytic import StageCost
    from autosched.search.traffic import Leap
    from autosched.spec.claim import Machine
    from autosched.spec.nest import Plan

GEMM = get_task("gemm", threads=2, N=480, K=512, M=480)
CONV = get_task("conv2d", threads=2, N=1, C=64, H=44, W=48, K=192, R=3, S=3, padding=1)
ONE_BY_ONE = get_task("conv2d", threads=2, N=1, C=64, H=44, W=48, K=192, R=1, S=1)


def plan_of(task: Task, machine: Machine, sketch: str, tile: tuple[int, int, int], **knobs: Any) -> Plan:
    """The plan of a point: a sketch by its text, a tile, and the first value of each knob that is not named."""
    space = shared_space(task, machine)
    found = next(each for each in space.sketches if each.text == sketch)
    ((stage, layout),) = found.layouts
    values = {knob.name: knob.values[0] for knob in found.knobs}
    values |= {f"{stage}/{name}": value for name, value in knobs.items()} | {f"{stage}/tile": tile}
    schedule, _ = assemble(task, {stage: StageChoice.from_knobs(layout, stage, values)}, space.hardware)
    return check_schedule(schedule, task)


def cost_of(plan: Plan, machine: Machine) -> StageCost:
    """The predicted cost of the stage with the register tile."""
    return next(cost for cost in stage_costs(plan, hardware_from_machine(machine, 2)) if cost.stage.endswith(".acc"))


def compute_s(task: Task, machine: Machine, sketch: str, tile: tuple[int, int, int], **knobs: Any) -> float:
    return cost_of(plan_of(task, machine, sketch, tile, **knobs), machine).compute_s


PACKED = "C: vectors along j, rows i, A and B staged"


def test_the_model_prefers_tiles_that_fit_registers():
    space = shared_space(get_task("gemm", threads=2, N=512, K=512, M=512), AVX512)
    number = next(i for i, s in enumerate(space.sketches) if s.text == "C: vectors along j, rows i, B staged")
    tiles = space.sketches[number].knobs[0].values
    rest = tuple(0 for _ in space.sketches[number].knobs[1:])

    def predicted(tile: tuple[int, ...]) -> float:
        candidate = space.candidate((number, tiles.index(tile), *rest))
        assert candidate is not None
        return candidate.predicted_s

    assert predicted((16, 2, 8)) < predicted((16, 1, 1))
    assert predicted((16, 2, 8)) < predicted((16, 1, 2))


def test_the_model_charges_packing_and_tells_its_bounds():
    space = shared_space(get_task("gemm", threads=2, N=512, K=512, M=512), AVX512)
    candidate = default_candidate(space)
    costs = stage_costs(candidate.plan, space.hardware)
    assert {cost.stage for cost in costs} == {stage.name for stage in candidate.plan.workload.stages}
    assert all(cost.seconds >= max(cost.compute_s, cost.l2_s, cost.l3_s, cost.memory_s) for cost in costs)
    assert sum(cost.seconds for cost in costs) == pytest.approx(predict_s(candidate.plan, space.hardware))


def test_more_threads_predict_less_time():
    task = get_task("gemm", threads=4, N=512, K=512, M=512)
    plan = default_candidate(shared_space(task, AVX512)).plan
    one, four = (predict_s(plan, hardware_from_machine(AVX512, threads)) for threads in (1, 4))
    assert four < one / 2


def test_a_register_too_many_costs_its_part() -> None:
    """LLVM holds the accumulators, a vector of each column and a broadcast: 3 by 4 fill 16 registers."""
    fits, over = (compute_s(GEMM, AVX2, PACKED, tile) for tile in ((8, 3, 4), (8, 3, 5)))
    assert over / fits == pytest.approx(1 + 3 * SPILL, rel=0.15)  # loop control is shared by more
    assert compute_s(GEMM, AVX512, PACKED, (16, 3, 5)) <= compute_s(GEMM, AVX512, PACKED, (16, 3, 4))


def test_long_tiles_of_one_vector_are_slow_where_a_broadcast_takes_a_register() -> None:
    """Seen in machine code: accumulators go through memory from eight rows on."""
    six, eight = (compute_s(GEMM, AVX2, PACKED, (8, 1, rows)) for rows in (6, 8))
    assert eight > 0.6 * SWAPPED * six
    assert compute_s(GEMM, AVX512, PACKED, (16, 1, 8)) < compute_s(GEMM, AVX512, PACKED, (16, 1, 6))


def test_what_overlapping_taps_share_takes_registers() -> None:
    """Rows along w meet the elements of the next tap; they do not where the reduction over taps is outside."""
    sketch = "conv: vectors along k, rows w, W staged"
    innermost, outside = (compute_s(CONV, AVX2, sketch, (8, 3, 4), rotate=turn) for turn in (0, 2))
    assert innermost / outside == pytest.approx(1 + HELD_TOO * math.sqrt(3), rel=0.05)  # three beside the 16 it takes
    roomy = [compute_s(CONV, AVX2, sketch, (8, 2, 4), rotate=turn) for turn in (0, 2)]
    assert roomy[0] == pytest.approx(roomy[1], rel=0.05)


def test_fused_rows_meet_at_taps_where_a_piece_is_whole_rows() -> None:
    """LLVM knows then which elements are the same; else it divides for each of them while the kernel runs."""
    sketch = "conv: vectors along k, rows h*w, W staged"
    task = get_task("conv2d", threads=2, N=1, C=64, H=14, W=14, K=64, R=3, S=3, padding=1)
    whole, crooked = (
        compute_s(task, AVX512, sketch, (16, 1, rows), rotate=0)
        / compute_s(task, AVX512, sketch, (16, 1, rows), rotate=2)
        for rows in (28, 24)
    )
    assert whole > 1.3 * crooked


def test_taps_of_a_transposed_convolution_are_shared_backwards() -> None:
    sketch = "conv: vectors along k, rows w, W staged"
    task = get_task("conv_transpose2d", threads=2, N=1, C=64, H=8, W=28, K=64, R=3, S=3, padding=1)
    innermost, outside = (compute_s(task, AVX512, sketch, (16, 1, 28), rotate=turn) for turn in (0, 2))
    assert innermost > 1.3 * outside


def test_taps_that_go_backwards_share_as_much() -> None:
    found = []
    for turn in (1, -1):
        x, w = placeholder((64, 30), name="X"), placeholder((64, 64, 3), name="W")
        c, s = reduce_axis(64, name="c"), reduce_axis(3, name="s")
        out = compute(
            (64, 28),
            lambda k, i: sum_over(x[c, i + (s if turn > 0 else 2 - s)] * w[k, c, s], axis=(c, s)),  # noqa: B023 # now
            name="conv",
        )
        task = Task(workload=build([x, w, out]), threads=2)
        found.append(compute_s(task, AVX512, "conv: vectors along k, rows i, W staged", (16, 1, 28)))
    assert found[0] == found[1]


def test_a_sum_that_reads_nothing_has_a_cost() -> None:
    k = reduce_axis(64, name="k")
    count = compute((64, 48), lambda i, j: sum_over(constant(1.0, "float32"), axis=k), name="S")
    task = Task(workload=build([count]), threads=2)
    assert default_candidate(shared_space(task, AVX512)).predicted_s > 0


def test_vectors_that_rows_and_taps_share_take_registers_too() -> None:
    """Seen in machine code: of taps two rows apart, 14 sums and what they share still fit; 18 do not, by far."""
    sketch = "conv: vectors along w, rows h, windows of pad in 2 phases"
    stem = get_task("conv2d", threads=2, N=1, C=3, H=448, W=448, K=64, R=7, S=7, stride=2, padding=3)
    fits, over = (compute_s(stem, AVX512, sketch, (16, 2, rows), rotate=2) for rows in (5, 9))
    assert over > 1.3 * fits


def test_vectors_that_begin_anywhere_touch_more_lines() -> None:
    """Eight elements of 32 bytes cross a line at 7 of 16 places, and a window begins at each of them."""
    sketch = "conv: vectors along w, rows h"
    found = [compute_s(task, AVX2, sketch, (8, 2, 4)) / task_steps(task) for task in (CONV, ONE_BY_ONE)]
    assert found[0] > 1.2 * found[1]


def test_taps_of_a_window_of_one_element_share_nothing() -> None:
    sketch = "conv: vectors along k, rows w, W staged"
    found = [compute_s(task, AVX2, sketch, (8, 3, 4)) / task_steps(task) for task in (CONV, ONE_BY_ONE)]
    assert found[0] / found[1] == pytest.approx(1 + HELD_TOO * math.sqrt(3), rel=0.05)


def task_steps(task: Task) -> int:
    """Multiply-adds of the reduction."""
    return max(stage.points for stage in task.workload.stages)


def leaps(plan: Plan, stage: str) -> dict[str, Leap | None]:
    """How each access of a stage leaps, by buffer."""
    nest = plan.by_stage[stage]
    return {access.buffer: leap_of(access, nest) for access in accesses_of(nest, plan.workload)}


def test_rows_that_share_a_set_of_the_cache_push_one_another_out() -> None:
    """Rows of 8 KiB begin in the same set: 128 of them, in place, cannot wait there for the next tile."""
    in_place, packed = "C: vectors along j, rows i", "C: vectors along j, rows i, B staged"
    found = {}
    for size in (2048, 2016):
        task = get_task("gemm", threads=2, N=size, K=size, M=size)
        found[size] = [compute_s(task, AVX2, sketch, (8, 4, 2), reduce_block=128) for sketch in (in_place, packed)]
    assert found[2048][0] > 1.5 * found[2048][1]
    assert found[2016][0] < 1.1 * found[2016][1]


def test_weights_read_in_place_leap_from_channel_to_channel() -> None:
    """Those of a transposed convolution lie 256 x 9 elements apart: a piece of a few lines, then another page."""
    task = get_task("conv_transpose2d", threads=2, N=1, C=64, H=16, W=16, K=256, R=3, S=3, padding=1)
    found = leaps(plan_of(task, AVX2, "conv: vectors along h*w, rows k, expand staged", (8, 2, 4)), "conv.acc")
    weights, packed = found["W"], found["X.pack" if "X.pack" in found else "expand.pack"]
    assert weights is not None
    assert weights.lines == pytest.approx(4 * 9 * 4 / LINE_BYTES, rel=0.3)
    assert packed is None or packed.lines > 16 * weights.lines


def test_a_block_of_several_rows_of_an_image_reads_weights_less_often() -> None:
    task = get_task("conv2d", threads=2, N=1, C=256, H=28, W=28, K=512, R=3, S=3, padding=1)
    moved = {}
    for rows in (1, 4):
        plan = plan_of(
            task, AVX2, "conv: vectors along k, rows w, W staged", (8, 2, 4),
            vector_block=32, reduce_block=16, unroll_reduce=4, batch_block=rows,
        )  # fmt: skip
        order = [loop.name for loop in next(nest for nest in plan.nests if nest.stage.name == "conv.acc").loops]
        assert ("ht" in order) == (rows > 1)
        moved[rows] = cost_of(plan, AVX2).moved_bytes[1]
    assert moved[4] < 0.4 * moved[1]


def test_who_has_little_to_do_between_leaps_waits_for_several_at_a_time() -> None:
    """A row of 8 KiB for every step of a tile, as against nine steps of a window in each channel."""
    wide = get_task("gemm", threads=2, N=2048, K=2048, M=2048)
    often = leaps(plan_of(wide, AVX2, "C: vectors along j, rows i", (8, 2, 4)), "C.acc")["B"]
    assert often is not None
    assert often.under_way == MOST_UNDER_WAY
    task = get_task("conv_transpose2d", threads=2, N=1, C=64, H=16, W=16, K=256, R=3, S=3, padding=1)
    seldom = leaps(plan_of(task, AVX2, "conv: vectors along h*w, rows k, expand staged", (8, 2, 4)), "conv.acc")["W"]
    assert seldom is not None
    assert 1 <= seldom.under_way < often.under_way
    plan = check_schedule(default_candidate(shared_space(GEMM, AVX2)).schedule, GEMM)
    for name in plan.by_stage:
        for leap in leaps(plan, name).values():
            assert leap is None or (leap.lines > 0 and 1 <= leap.under_way <= 5)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=4))
def test_an_access_that_never_leaps_never_waits(amounts: list[float]) -> None:
    assert latencies([None] * len(amounts), amounts) == 0


@given(st.integers(1, 64))
def test_pieces_of_vectors_never_cost_more_than_whole_ones(lanes: int):
    halves = hardware_from_machine(AVX512, 1)
    whole = hardware_from_machine(attrs.evolve(AVX512, vendor="GenuineIntel", family=6), 1)
    assert lanes / 16 <= halves.whole_vectors(lanes, 4) <= whole.whole_vectors(lanes, 4) == -(-lanes // 16)


def test_vectors_read_from_anywhere_bound_a_machine_that_loads_halves() -> None:
    """Each multiply-add reads a vector of its own, which begins anywhere: two halves of two lines, two ports."""
    sketch = "conv: vectors along w, rows h"
    halves, whole = (
        attrs.evolve(AVX512, vendor=vendor, family=family)
        for vendor, family in (("AuthenticAMD", 25), ("AuthenticAMD", 26))
    )
    taps, none = (
        [compute_s(task, machine, sketch, (16, 3, 4)) / task_steps(task) for machine in (halves, whole)]
        for task in (CONV, ONE_BY_ONE)
    )
    assert taps[0] > 1.7 * none[0]
    assert taps[1] < 2 * none[1]
    assert hardware_from_machine(halves, 1).pieces(16, 4) == 2 == 2 * hardware_from_machine(whole, 1).pieces(16, 4)
