"""Copies along runs of axes that the source has side by side: vectors of both sides, in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.hardware import hardware_from_machine
from autosched.search.nests import plain_nest
from autosched.search.structure import together_along
from autosched.spec.evaluate import evaluate
from autosched.spec.expr_text import expr_from_text
from autosched.spec.footprint import LINE_BYTES, accesses_of
from autosched.spec.inputs import random_inputs
from autosched.spec.workload import IterAxis, Output, Stage, Workload
from machines import AVX2, AVX512
from shared_spaces import shared_space
from test_analytic import plan_of

if TYPE_CHECKING:
    from autosched.spec.claim import Machine
    from autosched.spec.nest import Plan, StageNest
    from autosched.spec.task import Task


def run_of(task: Task) -> str | None:
    """The sketch with vectors along the image, which it stages as a whole; None where there is none."""
    texts = [sketch.text for sketch in shared_space(task, AVX512).sketches]
    return next(
        (text for text in texts if text.startswith("conv: vectors along h*w, rows k, ") and "W" not in text), None
    )


def plan_of_conv(height: int, width: int, window: int, tile: tuple[int, int, int], **knobs: Any) -> Plan | None:
    """The plan of a tile along the image; None where images are so small that there is none."""
    task = get_task("conv2d", threads=2, N=1, C=32, H=height, W=width, K=16, R=window, S=window, padding=window // 2)
    sketch = run_of(task)
    return None if sketch is None else plan_of(task, AVX512, sketch, tile, **knobs)


def lanes(nest: StageNest) -> int:
    """Steps of a nest's vectorized loop; 1 where there is none."""
    return 1 if nest.vector is None else nest.vector.extent


@pytest.mark.parametrize(
    ("height", "width", "packed", "out"),
    [(56, 56, 16, 8), (28, 28, 16, 4), (14, 14, 4, 1), (16, 48, 48, 16), (7, 7, 1, 1)],
)
def test_a_run_without_windows_is_copied_by_vectors(height: int, width: int, packed: int, out: int) -> None:
    plan = plan_of_conv(height, width, 1, (16, 3, 4))
    assert plan is not None
    assert lanes(plan.by_stage["X.pack"]) == packed
    assert lanes(plan.by_stage["conv"]) == out


def test_windows_leave_gaps_in_a_run() -> None:
    plan = plan_of_conv(56, 56, 3, (16, 3, 4))
    assert plan is not None
    (packed,) = (name for name in plan.by_stage if name.endswith(".pack"))
    assert lanes(plan.by_stage[packed]) == 1
    assert lanes(plan.by_stage["conv"]) == 8


@pytest.mark.parametrize(("machine", "vector"), [(AVX512, 16), (AVX2, 1)])
@pytest.mark.parametrize(("window", "outside"), [(1, "cy"), (3, "s")])
def test_weights_are_packed_by_vectors_of_single_loads_where_llvm_gathers(
    machine: Machine, vector: int, window: int, outside: str
) -> None:
    task = get_task("conv2d", threads=2, N=1, C=32, H=8, W=8, K=96, R=window, S=window, padding=window // 2)
    plan = plan_of(task, machine, "conv: vectors along k, rows w, W staged", (vector if vector > 1 else 8, 3, 4))
    nest = plan.by_stage["W.pack"]
    assert lanes(nest) == vector
    names = [loop.name for loop in nest.loops if loop.extent > 1]
    assert (names[-2:] == [outside, nest.vector.name]) if nest.vector else (names[-1] == outside)
    inputs = random_inputs(task.workload, 0)
    np.testing.assert_array_equal(evaluate(plan.workload, inputs)["conv"], evaluate(task.workload, inputs)["conv"])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 24),
    width=st.sampled_from([1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 20, 24, 28, 48, 56]),
    vectors=st.sampled_from([1, 2, 3]),
)
def test_what_is_said_to_lie_together_does(height: int, width: int, vectors: int) -> None:
    """Of every copy-out along a run: the places it reads, in pieces from each multiple of their length on."""
    plan = plan_of_conv(height, width, 1, (16, vectors, 4))
    assume(plan is not None)
    assert plan is not None
    stage = plan.by_stage["conv"].stage
    source = plan.workload.buffers["conv.acc"]
    piece = together_along(stage, "w")
    alone = Workload(inputs=(source,), stages=(stage,), params=(source.name, "conv"))
    places = evaluate(alone, {source.name: np.arange(np.prod(source.shape), dtype="float32").reshape(source.shape)})
    pieces = places["conv"].reshape(-1, piece)
    assert width % piece == 0
    assert np.array_equal(pieces - pieces[:, :1], np.broadcast_to(np.arange(piece), pieces.shape))


@pytest.mark.parametrize("inside", [("w",), ("h", "w"), ("k", "h", "w")])
def test_digits_of_a_run_touch_the_lines_that_they_do(inside: tuple[str, ...]) -> None:
    plan = plan_of_conv(56, 56, 1, (16, 3, 8))
    assert plan is not None
    nest = plan.by_stage["conv"]
    access = accesses_of(nest, plan.workload)[0]
    extents = {loop.name: loop.extent for loop in nest.loops if loop.axis in inside}
    source = plan.workload.buffers["conv.acc"]
    alone = Workload(inputs=(source,), stages=(nest.stage,), params=(source.name, "conv"))
    flat = np.arange(np.prod(source.shape), dtype="float32").reshape(source.shape)
    places = evaluate(alone, {source.name: flat})["conv"][0].astype(int)
    part = places[tuple(slice(None) if axis in inside else 3 for axis in ("k", "h", "w"))]
    assert access.lines(extents) == pytest.approx(len(np.unique(part * 4 // LINE_BYTES)), rel=0.5)


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ("X[c, a]", ("b", "a", "c")),  # a line of X serves the next steps of a; b reads nothing new
        ("X[c, b]", ("a", "b", "c")),
        ("X[c, a * 2]", ("a", "b", "c")),
    ],
)
def test_a_copy_across_lines_uses_them_up(body: str, order: tuple[str, ...]) -> None:
    axes = tuple(IterAxis(name=name, extent=extent) for name, extent in (("a", 16), ("b", 16), ("c", 32)))
    outputs = (Output(name="Y", dtype="float32"),)
    across = Stage(name="copy", axes=axes, outputs=outputs, body=(expr_from_text(body),))
    assert plain_nest(across, hardware_from_machine(AVX512, 1)).order == order
