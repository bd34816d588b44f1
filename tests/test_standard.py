"""The point by which a sketch is known at first: within the caches, with work for every thread, good by the model."""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search.first_look import first_look, rank_of
from autosched.search.knobs import Knob
from autosched.search.space import Space
from autosched.search.standard import SHARE, standard_indices
from autosched.spec.task import Task
from autosched.spec.testing import workloads
from machines import AVX2, AVX512, NEON
from shared_spaces import shared_space

if TYPE_CHECKING:
    from autosched.spec.claim import Machine

SLOW = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=20
)

CASES: Final = {
    "gemm": get_task("gemm", N=512, M=512, K=512, threads=2),
    "conv2d": get_task("conv2d", N=1, C=256, H=28, W=28, K=512, R=3, S=3, padding=1, threads=2),
    "conv3d": get_task("conv3d", N=1, C=128, D=4, H=28, W=28, K=256, T=3, R=3, S=3, padding=1, threads=2),
    "1x1": get_task("conv2d", N=1, C=256, H=56, W=56, K=128, R=1, S=1, threads=2),
}


@SLOW
@given(
    workload=workloads(max_stages=3), threads=st.sampled_from([1, 2, 8]), machine=st.sampled_from([AVX2, AVX512, NEON])
)
def test_every_sketch_has_one_among_its_points(workload, threads: int, machine: Machine):  # type: ignore[no-untyped-def]
    space = Space(Task(workload=workload, threads=threads), machine)
    for number, sketch in enumerate(space.sketches):
        point = space.standard_point(number)
        assert point[0] == number
        assert len(point) == 1 + len(sketch.knobs)
        assert all(0 <= index < len(knob.values) for index, knob in zip(point[1:], sketch.knobs, strict=True))


@pytest.mark.system
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("machine", [AVX2, AVX512], ids=["avx2", "avx512"])
def test_the_best_of_them_is_nearly_the_best_of_the_first_look(name: str, machine: Machine) -> None:
    space = shared_space(CASES[name], machine)
    best = min(first_look(space, space.ways), key=rank_of).predicted_s
    standards = [space.candidate(space.standard_point(number)) for number in range(len(space.sketches))]
    assert min(each.predicted_s for each in standards if each is not None) < 1.4 * best


@pytest.mark.system
@pytest.mark.parametrize("name", CASES)
def test_they_are_better_than_most_points_drawn(name: str) -> None:
    """Of the sketches that count, in the mean of them."""
    space, rng = shared_space(CASES[name], AVX2), random.Random(0)
    standards = [space.candidate(space.standard_point(number)) for number in range(len(space.sketches))]
    known = [each for each in standards if each is not None]
    best_s = min(each.predicted_s for each in known)
    beaten = []
    for standard in known:
        if standard.predicted_s < 1.5 * best_s:
            drawn = [space.candidate(space.drawn(rng, standard.point[0])) for _ in range(24)]
            others = [each.predicted_s >= standard.predicted_s for each in drawn if each is not None]
            beaten.append(sum(others) / len(others))
    assert statistics.mean(beaten) > 0.85


@pytest.mark.system
def test_each_is_better_than_most_points_drawn_of_its_sketch() -> None:
    """In each of the sketches of a matrix product that count: better than three of four points drawn."""
    space, rng = shared_space(CASES["gemm"], AVX2), random.Random(0)
    best = min(first_look(space, space.ways), key=rank_of)
    standards = [space.candidate(space.standard_point(number)) for number in range(len(space.sketches))]
    near = [each for each in standards if each is not None and each.predicted_s < 2 * best.predicted_s]
    assert len(near) > 1
    for standard in near:
        drawn = [space.candidate(space.drawn(rng, standard.point[0])) for _ in range(40)]
        slower = [each.predicted_s >= standard.predicted_s for each in drawn if each is not None]
        assert sum(slower) >= 0.75 * len(slower)


def test_the_standard_tile_fills_vectors_where_it_can() -> None:
    """Also where rows are read in place, so that widths that divide the axis are few."""
    for width in (28, 56, 64, 104):
        space = Space(get_task("conv2d", N=1, C=16, H=14, W=width, K=16, R=1, S=1, threads=2), AVX2)
        for number, sketch in enumerate(space.sketches):
            for name, tile in space.values(space.standard_point(number)).items():
                if name.endswith("/tile"):
                    lanes = next(each.values for each in sketch.knobs if each.name == name)
                    assert isinstance(tile, tuple)
                    assert tile[0] >= 0.8 * max(value[0] for value in lanes if isinstance(value, tuple)), sketch.text


@pytest.mark.parametrize("name", CASES)
def test_what_is_to_stay_in_the_first_cache_fits_there(name: str) -> None:
    space = shared_space(CASES[name], AVX2)
    (stage,) = [stage for stage in CASES[name].workload.stages if stage.reducer is not None]
    taps = math.prod(axis.extent for axis in stage.reduce[1:])
    for number in range(len(space.sketches)):
        values = {knob.rpartition("/")[2]: value for knob, value in space.values(space.standard_point(number)).items()}
        block, tile = values["reduce_block"], values["tile"]
        assert isinstance(tile, tuple)
        assert isinstance(block, int)
        width_bytes = 4 * tile[0] * tile[1]
        assert block > 0 or stage.reduce[0].extent * taps * width_bytes <= SHARE * space.hardware.l1_bytes
        if block > 8:
            assert block * taps * width_bytes <= SHARE * space.hardware.l1_bytes


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_there_is_work_for_every_thread(threads: int) -> None:
    task = get_task("gemm", N=512, M=512, K=512, threads=threads)
    space = shared_space(task, AVX512)
    for number in range(len(space.sketches)):
        candidate = space.candidate(space.standard_point(number))
        assert candidate is not None
        assert max(cost.threads for cost in candidate.costs) == threads


def test_knobs_of_others_keep_their_first_value() -> None:
    task = CASES["gemm"]
    (stage,) = task.workload.stages
    layout = shared_space(task, AVX2).sketches[0].layouts[0][1]
    theirs = Knob(name="prefetch", values=(0, 1, 2, 3))
    hardware = shared_space(task, AVX2).hardware
    assert standard_indices(stage, layout, [theirs], hardware) == (0,)
    assert standard_indices(stage, None, [theirs], hardware) == (0,)
