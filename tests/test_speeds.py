"""What is measured of a machine as a whole, where it is kept, and what the analytic model makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from autosched.nn.registry import get_task
from autosched.search.bandwidth import read_schedule, read_shapes, read_task
from autosched.search.hardware import hardware_from_machine
from autosched.search.space import Space
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate
from autosched.store.keys import machine_key
from autosched.store.machine import this_machine
from autosched.store.speeds import Speeds
from autosched.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = this_machine()
SPEEDS = Speeds(
    machine=machine_key(MACHINE),
    threads=2,
    flops=2e11,
    l2_bytes=1e11,
    l3_bytes=5e10,
    memory_bytes=3e10,
    region_s=7e-7,
    date="2026-11-28T00:00:00.000000Z",
)


def test_speeds_are_kept_by_machine_and_threads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.speeds(MACHINE, 2) is None
    store.put_speeds(SPEEDS)
    store.put_speeds(newer := attrs.evolve(SPEEDS, region_s=8e-7))
    for opened in (store, Store(tmp_path)):
        assert opened.speeds(MACHINE, 2) == newer
        assert opened.speeds(MACHINE, 1) is None
        assert opened.speeds(attrs.evolve(MACHINE, cores=99), 2) is None
    assert store.check() == ()


def test_speeds_are_merged_where_there_are_none(tmp_path: Path) -> None:
    ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    theirs.put_speeds(SPEEDS)
    ours.merge(theirs)
    assert ours.speeds(MACHINE, 2) == SPEEDS
    theirs.put_speeds(attrs.evolve(SPEEDS, flops=1e9))
    ours.merge(theirs)
    assert ours.speeds(MACHINE, 2) == SPEEDS, "what was measured here stays"


@pytest.mark.parametrize("name", ["flops", "l2_bytes", "l3_bytes", "memory_bytes", "region_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_no_speed_is_no_number(name: str, value: float) -> None:
    with pytest.raises(SpecError, match="a number above 0"):
        attrs.evolve(SPEEDS, **{name: value})


def test_the_model_reckons_with_them() -> None:
    guessed, measured = hardware_from_machine(MACHINE, 2), hardware_from_machine(MACHINE, 2, SPEEDS)
    peak = 2 * 2 * measured.lanes(4) * measured.fma_per_cycle * measured.hertz
    assert peak == pytest.approx(SPEEDS.flops)
    assert measured.l2_bandwidth * measured.hertz == pytest.approx(SPEEDS.l2_bytes)
    assert measured.l3_bandwidth * measured.hertz == pytest.approx(SPEEDS.l3_bytes)
    assert measured.memory_bandwidth * measured.hertz == pytest.approx(SPEEDS.memory_bytes)
    assert measured.region_s == SPEEDS.region_s
    assert measured.l2_bytes == guessed.l2_bytes, "sizes are the fingerprint's"


def test_a_slower_machine_is_predicted_slower() -> None:
    task = get_task("gemm", threads=2, N=64, K=64, M=64)
    point = next(iter(Space(task, MACHINE).points()))
    slow = attrs.evolve(SPEEDS, flops=1e9, l2_bytes=1e9, l3_bytes=1e9, memory_bytes=1e9)
    fast_candidate, slow_candidate = (Space(task, MACHINE, speeds=s).candidate(point) for s in (SPEEDS, slow))
    assert fast_candidate is not None
    assert slow_candidate is not None
    assert slow_candidate.schedule == fast_candidate.schedule
    assert slow_candidate.predicted_s > fast_candidate.predicted_s


def test_what_is_read_is_all_of_it_in_every_turn() -> None:
    task = read_task(2, 4096, 3)
    check_schedule(read_schedule(), task)
    x = np.arange(2 * 4096 // 4, dtype=np.float32).reshape(task.workload.buffers["x"].shape) % 8
    found = evaluate(task.workload, {"x": x})["S"]
    assert np.array_equal(found, 3 * x.sum(axis=1))


@pytest.mark.parametrize("l3_bytes", [MACHINE.l3_bytes, 2**20, 300 * 2**20, 1152 * 2**20])
def test_each_level_is_read_from_where_it_says(l3_bytes: int) -> None:
    machine = attrs.evolve(MACHINE, l3_bytes=l3_bytes)
    hardware = hardware_from_machine(machine, 2)
    (l2, _), (l3, _), (memory, turns) = read_shapes(machine, 2)
    assert hardware.l1_bytes < l2 <= hardware.l2_bytes / 2
    assert l3 >= 2 * hardware.l2_bytes
    assert 2 * memory > hardware.l3_bytes
    assert turns == 1
