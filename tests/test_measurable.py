"""What cannot be measured here is refused in one line, before anything is allocated; what can be built still is."""

from __future__ import annotations

import time
from collections import namedtuple
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given

import autosched as at
from autosched.search import measurable
from autosched.search.measurable import (
    LEAST_POINTS,
    MAX_REFERENCE_STEPS,
    affordable_points,
    check_measurable,
    needed_bytes,
    reference_steps,
)
from autosched.search.measure import Limits, Measurer
from autosched.search.reference import Reference
from autosched.spec import builder
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.schedule import Schedule
from autosched.spec.task import Target, TargetOption, Task
from autosched.spec.triple import foreign_triple, this_arch
from strategies import workloads

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.workload import Workload

GEMM = at.get_task("gemm", N=16, K=8, M=24, threads=1)


def for_triple(triple: str) -> Target:
    return Target(options=(TargetOption(name="mtriple", value=triple),))


def summed(steps: int) -> Task:
    """A reduction of so many steps over two elements."""
    a = builder.placeholder((2,), name="A")
    k = builder.reduce_axis((0, steps), "k")
    y = builder.compute((2,), lambda i: builder.sum(a[i] * a[k % 2], axis=k), name="y")
    return Task(workload=builder.build([a, y]), threads=1)


# --- targets ----------------------------------------------------------------------------------------------------------

OTHER = "aarch64-linux-gnu" if this_arch() == "x86_64" else "x86_64-linux-gnu"


@pytest.mark.parametrize("triple", [OTHER, f"{this_arch()}-pc-windows-msvc", "i686-linux-gnu", "riscv64-unknown-linux"])
def test_a_triple_of_another_machine_is_refused(triple: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_measurable(attrs.evolve(GEMM, target=for_triple(triple)))
    assert str(caught.value).startswith(
        f"target.mtriple: found {triple!r}; only code for {this_arch()}, this machine's"
    )


@pytest.mark.parametrize("triple", [f"{this_arch()}-linux-gnu", f"{this_arch()}-unknown-linux-gnu", this_arch()])
def test_a_triple_of_this_machine_is_none_of_another(triple: str) -> None:
    assert foreign_triple(for_triple(triple)) is None


def test_amd64_is_x86_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert foreign_triple(for_triple("x86_64-linux-gnu")) is None
    assert foreign_triple(for_triple("arm64-linux-gnu")) == "arm64-linux-gnu"


def test_code_for_another_machine_is_built_but_not_called(tmp_path: Path) -> None:
    from autosched.spec.tvm_call import built_function

    function = built_function(Schedule(), attrs.evolve(GEMM, target=for_triple(OTHER)))
    assert function.executable.mod.inspect_source("asm")
    with pytest.raises(SpecError, match=rf"the code is for '{OTHER}', this machine is {this_arch()}; export_library"):
        function(1, 2, 3)
    with pytest.raises(at.LoweringError, match=rf"cannot be written: .*it takes a C compiler \({OTHER}-gcc\)"):
        function.export_library(tmp_path / "gemm.so")


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_task_that_does_not_fit_is_refused_at_once() -> None:
    task = at.get_task("gemm", N=40000, K=40000, M=40000, threads=1)
    assert needed_bytes(task.workload) == 4 * 40000**2 * (2 * 2 + 1 + 2)
    with pytest.raises(SpecError) as caught:
        measurable.check_memory(attrs.evolve(task.workload, inputs=(big := _times(task.workload, 2**14)).inputs))
    assert str(caught.value).startswith(
        f"workload: its buffers take {needed_bytes(big) / 2**30:.3g} GiB with the copies"
    )
    assert "are available; make the task smaller, or measure where there is more memory" in str(caught.value)


def _times(workload: Workload, factor: int) -> Workload:
    inputs = tuple(attrs.evolve(b, shape=(b.shape[0] * factor, *b.shape[1:])) for b in workload.inputs)
    return attrs.evolve(workload, inputs=inputs)


def test_what_is_available_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = needed_bytes(GEMM.workload)
    monkeypatch.setattr(measurable, "available_bytes", lambda: needed)
    check_measurable(GEMM)
    monkeypatch.setattr(measurable, "available_bytes", lambda: needed - 1)
    with pytest.raises(SpecError, match="its buffers take"):
        check_measurable(GEMM)


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 # what shutil gives
    monkeypatch.setattr(measurable.shutil, "disk_usage", lambda _: usage(0, 0, 100))
    with pytest.raises(SpecError, match=r"its inputs and outputs take .* GiB in .*; free some space, or name another"):
        check_measurable(GEMM)


def test_this_machine_has_some_memory() -> None:
    assert 2**24 < measurable.available_bytes() < 2**50


# --- the reference ----------------------------------------------------------------------------------------------------


def test_a_reduction_that_nobody_waits_for_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        check_measurable(summed(2**31 - 1))
    steps = 2 * (2**31 - 1)
    assert str(caught.value).startswith(f"workload: {LEAST_POINTS} elements of 'y' take {steps} steps, and the NumPy")


@given(workload=workloads())
def test_steps_bound_what_the_reference_evaluates(workload: Workload) -> None:
    whole = sum(stage.points for stage in workload.stages)
    for name in workload.outputs:
        assert 0 < reference_steps(workload, name, 10**6) <= whole
        assert reference_steps(workload, name, 1) <= reference_steps(workload, name, 2)


@pytest.mark.system
def test_points_are_as_many_as_there_is_time_for(tmp_path: Path) -> None:
    a = builder.placeholder((1000,), name="A")
    k = builder.reduce_axis((0, 2**22), "k")
    y = builder.compute((1000,), lambda i: builder.sum(a[i] * a[k % 1000], axis=k), name="y")
    task = Task(workload=builder.build([a, y]), threads=1)
    check_measurable(task)
    assert affordable_points(task.workload, "y", 192) == 24
    assert reference_steps(task.workload, "y", 24) <= MAX_REFERENCE_STEPS
    begin = time.monotonic()
    Reference(task, tmp_path).write()
    assert time.monotonic() - begin < 30


def test_few_points_are_still_right(tmp_path: Path) -> None:
    reference = Reference(GEMM, tmp_path, whole_points=0).write()
    expected = evaluate(GEMM.workload, random_inputs(GEMM.workload, 0), precise=True)["C"]
    assert reference.settles_for("C", [0, 383], [float(expected.flat[0]), float(expected.flat[383])])


# --- deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_all_of_a_measurement_ends_in_time() -> None:
    task = attrs.evolve(summed(2**26), threads=1)
    begin = time.monotonic()
    with Measurer(task, Protocol(threads=1), limits=Limits(total_s=0.5)) as measurer:
        ((_, found),) = measurer.measure([Schedule()])
    assert isinstance(found, Failure)
    assert found.kind in ("build_timeout", "run_timeout")
    assert time.monotonic() - begin < 30
