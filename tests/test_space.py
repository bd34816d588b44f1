"""The space of a task: what it yields is legal, right and reproducible, for operators and for any workload."""

from __future__ import annotations

import random
import re

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.nn.algorithms import algorithms_of
from autosched.nn.registry import get_task
from autosched.search.default import default_candidate, default_schedule
from autosched.search.free_names import FreeNames
from autosched.search.hardware import hardware_from_machine
from autosched.search.layouts import most_promising, vector_layouts
from autosched.search.space import MAX_SKETCHES, PROMISING, Space
from autosched.spec.check import check_schedule
from autosched.spec.expr import Binary, walk
from autosched.spec.guards import cut_loops
from autosched.spec.schedule import Accumulate, Inline, Reindex
from autosched.spec.task import Task
from autosched.spec.testing import workloads
from autosched.spec.testing_lowering import assert_lowers_correctly, assert_rewrites_correctly
from machines import AVX2, AVX512, NEON
from shared_spaces import shared_space

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)

OPERATORS = {
    "gemm": {"N": 24, "K": 20, "M": 48},
    "gemm of primes": {"N": 17, "K": 13, "M": 29},
    "batch_gemm": {"B": 3, "N": 8, "K": 16, "M": 32},
    "gemv": {"N": 32, "K": 64},
    "conv2d": {"N": 1, "C": 8, "H": 9, "W": 9, "K": 32, "R": 3, "S": 3, "stride": 1, "padding": 1},
    "conv2d with stride": {"N": 2, "C": 5, "H": 11, "W": 9, "K": 7, "R": 3, "S": 2, "stride": 2, "padding": 1},
    "conv2d with epilogue": {
        "N": 1, "C": 4, "H": 6, "W": 6, "K": 16, "R": 3, "S": 3, "padding": 1, "bias": True, "relu": True,
    },
    "conv1d of a prime length": {"N": 1, "C": 4, "L": 55, "K": 16, "R": 3},
    "conv1d with stride of a prime length": {"N": 1, "C": 3, "L": 75, "K": 8, "R": 3, "stride": 2, "padding": 1},
    "conv2d in groups": {"N": 1, "C": 8, "H": 6, "W": 6, "K": 32, "R": 3, "S": 3, "padding": 1, "groups": 2},
    "conv2d in groups with epilogue": {
        "N": 1, "C": 6, "H": 5, "W": 5, "K": 9, "R": 3, "S": 3, "stride": 2, "groups": 3, "bias": True, "relu": True,
    },
    "depthwise_conv2d with multiplier": {"N": 1, "C": 3, "H": 9, "W": 9, "factor": 4, "R": 3, "S": 3, "stride": 2},
    "depthwise_conv2d": {"N": 1, "C": 6, "H": 14, "W": 14, "R": 3, "S": 3, "stride": 1, "padding": 1},
}  # fmt: skip


def task_of(name: str, threads: int = 2) -> Task:
    return get_task(name.split(" ", maxsplit=1)[0], threads=threads, **OPERATORS[name])


@pytest.mark.system
@pytest.mark.parametrize("name", OPERATORS)
def test_sampled_candidates_compute_the_task(name):
    task = task_of(name)
    space = shared_space(task, AVX512)
    rng = random.Random(7)
    seen = set()
    for number in range(len(space.sketches)):
        point = next(p for p in iter(lambda: space.sample(rng), None) if p[0] == number)
        candidate = space.candidate(point)
        assert candidate is not None, space.sketches[number].text
        seen.add(candidate.schedule)
        assert_rewrites_correctly(candidate.schedule, task)
        if number % 2 == 0:
            assert_lowers_correctly(candidate.schedule, task)
    assert len(seen) == len(space.sketches)


@SLOW
@given(workloads(max_stages=3), st.sampled_from([AVX512, NEON]), st.integers(0, 2**16))
def test_spaces_of_any_workload_yield_legal_and_right_schedules(workload, machine, seed):
    task = Task(workload=workload, threads=2)
    space = Space(task, machine)
    rng = random.Random(seed)
    for _ in range(3):
        candidate = space.candidate(space.sample(rng))
        if candidate is not None:
            check_schedule(candidate.schedule, workload)
            assert candidate.predicted_s > 0
            assert_rewrites_correctly(candidate.schedule, task)


@SLOW
@given(workloads(max_stages=2), st.integers(0, 2**16))
def test_candidates_of_any_workload_lower_to_right_numbers(workload, seed):
    task = Task(workload=workload, threads=2)
    space = Space(task, AVX512)
    candidate = space.candidate(space.sample(random.Random(seed)))
    if candidate is not None:
        assert_lowers_correctly(candidate.schedule, task)


@SLOW
@given(workloads(max_stages=3))
def test_every_workload_has_a_default_schedule(workload):
    check_schedule(default_schedule(Task(workload=workload, threads=2), AVX512), workload)


def test_pieces_of_axes_are_not_called_by_words_of_the_language():
    free = FreeNames(["no", "a"])
    assert [free("not"), free("as"), free("no"), free("max")] == ["not_", "as_", "no_", "max_"]
    space = shared_space(get_task("softmax", threads=2, N=96, K=24), AVX2)
    (number,) = [n for n, sketch in enumerate(space.sketches) if sketch.text.count("vectors along n") == 2]
    point = list(space.standard_point(number))
    for place, knob in enumerate(space.sketches[number].knobs, start=1):
        point[place] = {"tile": 0, "vector_block": 1}.get(knob.name.rpartition("/")[2], point[place])
    candidate = space.candidate(tuple(point))
    assert candidate is not None, "blocks of the outer piece of n: no and not"
    assert "not_" in str(candidate.schedule)


def test_rules_offer_packing_and_register_tiles_for_a_matrix_product():
    space = Space(get_task("gemm", threads=2, N=2048, K=2048, M=2048), AVX2)
    texts = [sketch.text for sketch in space.sketches]
    assert "C: vectors along j, rows i, B staged" in texts
    assert "C: vectors along j, rows i, A and B staged" in texts
    best = default_candidate(space)
    accumulate = next(s for s in best.schedule.stagings if isinstance(s, Accumulate))
    assert any(isinstance(s, Reindex) for s in best.schedule.stagings)
    assert any(split.factors[-1] % 8 == 0 for split in accumulate.splits)


def test_where_sketches_are_too_many_those_along_whole_runs_of_axes_are_kept():
    """A transposed convolution of volumes by its phases: three channels and eight phases are one axis of 24."""
    task = get_task("conv_transpose3d", N=1, C=8, D=8, H=8, W=24, K=3, T=5, R=5, S=5, stride=2, threads=2)
    space = Space(task, AVX2, algorithms=algorithms_of(task, ("exact", "reassociated")))
    texts = [sketch.text for sketch in space.sketches]
    assert any(text.startswith("by phases; phases: vectors along k*d_phase*h_phase*w_phase, rows w") for text in texts)
    assert any(text.startswith("by columns; columns: vectors along d*h*w, rows k*t*r*s") for text in texts)
    assert all(len(way) <= MAX_SKETCHES for way in space.ways)
    assert any(len(way) == PROMISING for way in space.ways)


@SLOW
@given(workloads(max_stages=2))
def test_the_most_promising_layouts_are_the_same_ones_in_another_order(workload):
    for stage in workload.stages:
        if stage.reducer is not None:
            layouts = vector_layouts(stage, hardware_from_machine(AVX2, 2))
            assert sorted(map(repr, most_promising(layouts, stage))) == sorted(map(repr, layouts))


def test_whole_runs_of_axes_and_the_last_ones_promise_more_than_their_parts():
    task = get_task("conv3d", N=1, C=8, D=8, H=8, W=8, K=16, T=3, R=3, S=3, padding=1, threads=2)
    stage = task.workload.stages[-1]
    layouts = vector_layouts(stage, hardware_from_machine(AVX2, 2))
    along = [layout.vector for layout in most_promising(layouts, stage) if layout.rows == ("k",)]
    assert {("d",), ("h",), ("d", "h"), ("w",), ("h", "w"), ("d", "h", "w")} == set(along)
    parts = [axes in (("d",), ("h",), ("d", "h")) for axes in along]
    assert parts == sorted(parts)
    assert next(layout.vector for layout in layouts if layout.rows == ("k",)) == ("d",), "in the order of axes"


def test_grouped_channels_share_their_inputs():
    space = Space(get_task("conv2d", threads=2, N=1, C=16, H=8, W=8, K=64, R=3, S=3, groups=2), AVX512)
    texts = [sketch.text for sketch in space.sketches]
    assert "conv.digits: vectors along km, rows w, W staged" in texts


def test_strided_windows_are_read_in_phases():
    space = Space(get_task("depthwise_conv2d", threads=2, N=1, C=4, H=34, W=34, R=3, S=3, stride=2), AVX512)
    assert "conv: vectors along w, rows h, windows of X in 2 phases" in [sketch.text for sketch in space.sketches]


@pytest.mark.parametrize("length", [56, 60])
def test_a_line_that_is_copied_in_phases_is_read_once(length: int) -> None:
    """Also where the windows run past the padding: what is read there is zero already."""
    task = get_task("depthwise_conv2d", N=1, C=8, H=length, W=length, R=3, S=3, stride=2, padding=1, threads=2)
    space = Space(task, AVX2)
    number = next(n for n, sketch in enumerate(space.sketches) if "in 2 phases" in sketch.text)
    found = [space.candidate(point) for point in space.neighbours(space.standard_point(number))]
    candidate = next(each for each in found if each is not None and Inline(stage="pad") in each.schedule.stagings)
    nest = check_schedule(candidate.schedule, task).by_stage["pad.windows"]
    *_, line, phase = (loop for loop in nest.bound if loop.extent > 1)
    assert (phase.to, phase.extent) == ("unroll", 2)
    assert cut_loops(nest) == (line.name,)
    assert not any(isinstance(node, Binary) and node.op == "min" for node in walk(nest.stage.body[0]))
    assert_lowers_correctly(candidate.schedule, task)


@pytest.mark.parametrize(
    ("window", "is_steady"),
    [({"R": 3, "S": 3, "padding": 1}, True), ({"R": 1, "S": 1, "stride": 2}, True), ({}, False)],
)
def test_what_it_takes_to_find_a_place_is_done_once_for_several_channels(
    window: dict[str, int], is_steady: bool
) -> None:
    """Along a run of rows an image with borders is read by quotients and conditions; whole, it is one line."""
    args = {"N": 1, "C": 32, "H": 14, "W": 14, "K": 16, "R": 1, "S": 1, **window}
    task = get_task("conv2d", threads=2, **args)
    space = Space(task, AVX2)
    (number, *_) = (
        n for n, s in enumerate(space.sketches) if re.search(r"along h\*w, rows k, (X|pad)\b.*staged", s.text)
    )
    whole = [int(knob.name != "conv/pack_inside") for knob in space.sketches[number].knobs]
    point = (number, *(index * keeps for index, keeps in zip(space.standard_point(number)[1:], whole, strict=True)))
    candidate = space.candidate(point)
    assert candidate is not None
    by_stage = check_schedule(candidate.schedule, task).by_stage
    innermost = next(by_stage[name] for name in ("pad.pack", "X.pack") if name in by_stage).loops[-1]
    assert ((innermost.axis, innermost.extent) == ("c", 32)) == is_steady
    assert_lowers_correctly(candidate.schedule, task)


@pytest.mark.parametrize("constants", [(), ("W",)])
def test_reads_are_packed_by_the_piece_before_the_tiles_that_need_it(constants: tuple[str, ...]) -> None:
    """Inside of what the read moves with, outside of the rest; what no call computes is packed as a whole."""
    args = {"N": 1, "C": 32, "H": 7, "W": 7, "K": 32, "R": 3, "S": 3, "padding": 1}
    task = attrs.evolve(get_task("conv2d", threads=2, **args), constants=constants)
    space = Space(task, AVX2)
    number = next(n for n, s in enumerate(space.sketches) if s.text == "conv: vectors along k, rows h*w, W staged")
    places = {knob.name: place for place, knob in enumerate(space.sketches[number].knobs, start=1)}
    point = list(space.standard_point(number))
    point[places["conv/reduce_block"]] = 2
    point[places["conv/pack_inside"]] = 1
    candidate = space.candidate(tuple(point))
    assert candidate is not None
    assert candidate.schedule.once == (("W.pack",) if constants else ())
    by_stage = check_schedule(candidate.schedule, task).by_stage
    at, host = by_stage["W.pack"].at, by_stage["conv.acc"]
    if constants:
        assert at is None
    else:
        assert at is not None
        place = host.bound_position(at.loop)
        serial = [bound.parts[0].axis for bound in host.bound[1 : place + 1] if bound.extent > 1]
        inside = {loop.axis for loop in host.loops[host.position(at.loop) + 1 :]}
        assert serial
        assert {*serial} <= {"ko", "c"}
        assert "ko" not in inside
        assert_lowers_correctly(candidate.schedule, task)


@pytest.mark.parametrize(("op", "outer"), [("conv2d", ("ko", "c")), ("conv_transpose2d", ("c", "ko"))])
def test_whole_pieces_are_copied_in_the_order_of_the_source(op: str, outer: tuple[str, str]) -> None:
    """Weights lie by output channels, those of transposed convolutions by input channels; their taps stay together."""
    space = Space(get_task(op, N=1, C=64, H=7, W=7, K=64, R=5, S=5, padding=2, threads=2), AVX2)
    number = next(n for n, s in enumerate(space.sketches) if s.text == "conv: vectors along k, rows h*w, W staged")
    values = {knob.name: knob.values for knob in space.sketches[number].knobs}
    wanted = {"conv/tile": (8, 2, 1), "conv/pack_inside": False}
    standard = space.standard_point(number)[1:]
    point = [
        values[name].index(wanted[name]) if name in wanted else index
        for name, index in zip(values, standard, strict=True)
    ]
    candidate = space.candidate((number, *point))
    assert candidate is not None
    (nest,) = (nest for nest in candidate.schedule.nests if nest.stage == "W.pack")
    assert nest.order[:2] == outer


def test_a_fused_tile_over_rows_of_an_image_is_offered():
    space = Space(get_task("conv2d", threads=2, N=1, C=16, H=14, W=14, K=32, R=3, S=3, padding=1), AVX512)
    assert any("vectors along h*w, rows k" in sketch.text for sketch in space.sketches)


def test_dot_products_are_summed_in_parts():
    space = Space(get_task("gemv", threads=2, N=64, K=256), AVX512)
    assert any("partial sums along k" in sketch.text for sketch in space.sketches)


@pytest.mark.parametrize("op", ["mean", "variance"])
def test_an_axis_of_one_step_does_not_hide_what_lies_side_by_side(op: str) -> None:
    """``X[n, k, m]`` with one m: along k, elements are neighbours."""
    texts = [sketch.text for sketch in Space(get_task(op, N=64, K=256, threads=2), AVX2).sketches]
    assert any("partial sums along k" in text for text in texts), texts
    strided = [sketch.text for sketch in Space(get_task(op, N=64, K=256, M=4, threads=2), AVX2).sketches]
    assert not any("partial sums along k" in text for text in strided), strided


def test_sampling_repeats_with_the_seed_and_stays_inside():
    task = task_of("conv2d")
    first, second = Space(task, AVX512), Space(task, AVX512)
    a, b = random.Random(3), random.Random(3)
    for _ in range(20):
        point = first.sample(a)
        assert point == second.sample(b)
        mutated = first.mutated(point, a)
        assert mutated == second.mutated(point, b)
        for p in (point, mutated, *first.neighbours(point)):
            knobs = first.sketches[p[0]].knobs
            assert len(p) == len(knobs) + 1
            assert all(0 <= i < len(knob.values) for i, knob in zip(p[1:], knobs, strict=True))


def test_points_are_counted_and_enumerated_once():
    space = Space(get_task("gemv", threads=1, N=16, K=32), AVX512)
    points = list(space.points())
    assert len(points) == len(set(points)) == space.size


def test_neighbours_differ_in_one_knob():
    space = shared_space(task_of("gemm"), AVX512)
    point = space.sample(random.Random(0))
    near = list(space.neighbours(point))
    assert near
    for other in near:
        assert sum(a != b for a, b in zip(point, other, strict=True)) == 1


def test_the_default_is_the_same_every_time():
    task = task_of("conv2d")
    assert default_schedule(task, AVX512) == default_candidate(Space(task, AVX512)).schedule


def test_half_vectors_are_offered_where_they_pad_less_and_cost_nothing():
    """14 x 14 points are 24.5 half vectors: five times five of them pad less than whole ones in pairs do."""
    task = get_task("conv2d", N=1, C=32, H=14, W=14, K=32, R=3, S=3, stride=1, padding=1, threads=2)
    intel = attrs.evolve(AVX512, vendor="GenuineIntel", family=6)
    lanes = {}
    for machine in (AVX512, intel):
        tiles = [k.values for s in Space(task, machine).sketches for k in s.knobs if k.name == "conv/tile"]
        lanes[machine.vendor] = {tile[:2] for values in tiles for tile in values if tile[0] == 8}
    assert (8, 5) in lanes["AuthenticAMD"]
    assert (8, 6) not in lanes["AuthenticAMD"], "pads more than whole vectors"
    assert (8, 5) not in lanes["GenuineIntel"], "half a vector takes as long as a whole one there"
