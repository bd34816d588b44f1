"""Long loops of a reduction are written out by a few steps: which, how many, and what the model makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from autosched.nn.registry import get_task
from machines import AVX512
from test_analytic import PACKED, compute_s, plan_of

if TYPE_CHECKING:
    from autosched.spec.nest import Plan

TILE: Final = (16, 4, 6)


def written_out(plan: Plan, stage: str) -> list[int]:
    """Steps of the reduce loops of a stage that are unrolled."""
    return [loop.extent for loop in plan.by_stage[stage].bound if loop.reduce and loop.to == "unroll"]


@pytest.mark.parametrize(
    ("length", "block", "steps", "expected"),
    [
        (1024, 0, 0, []),
        (1024, 0, 4, [4]),
        (1024, 0, 8, [8]),
        (1024, 128, 8, [8]),
        (90, 0, 4, [3]),
        (37, 0, 8, []),  # a prime
    ],
)
def test_a_long_reduction_is_cut_by_a_divisor(length: int, block: int, steps: int, expected: list[int]) -> None:
    task = get_task("gemm", threads=2, N=96, K=length, M=128)
    plan = plan_of(task, AVX512, PACKED, TILE, reduce_block=block, unroll_reduce=steps)
    assert written_out(plan, "C.acc") == expected
    loops = plan.by_stage["C.acc"].loops
    assert [loop.axis for loop in loops if loop.reduce] == ["k"] * (1 + (block > 0) + bool(expected))


def test_loops_of_one_step_hide_none_behind_them() -> None:
    task = get_task("conv2d", threads=2, N=1, C=64, H=28, W=28, K=128, R=1, S=1)
    plan = plan_of(task, AVX512, "conv: vectors along k, rows w, W staged", (16, 2, 14), unroll_reduce=4)
    assert written_out(plan, "conv.acc") == [4]


@pytest.mark.parametrize("window", [3, 5, 7])
def test_a_short_window_is_written_out_whole(window: int) -> None:
    task = get_task("conv2d", threads=2, N=1, C=64, H=28, W=28, K=128, R=window, S=window, padding=window // 2)
    plan = plan_of(task, AVX512, "conv: vectors along k, rows w, W staged", (16, 2, 14), unroll_reduce=4)
    assert written_out(plan, "conv.acc") == [window]


def test_steps_that_are_written_out_share_the_control_of_a_loop() -> None:
    task = get_task("gemm", threads=2, N=1024, K=1024, M=1024)
    times = [compute_s(task, AVX512, PACKED, TILE, unroll_reduce=steps) for steps in (0, 4, 8)]
    assert times == sorted(times, reverse=True)
    assert times[2] > 0.85 * times[0]
