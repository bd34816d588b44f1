"""``show --cost``: the numbers by which schedules are checked and predicted, one source for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autosched.cli import main
from autosched.cli_cost import amount, text_from_costs
from autosched.search.analytic import predict_s, stage_costs
from autosched.search.hardware import hardware_from_machine
from autosched.spec.check import check_schedule
from autosched.spec.footprint import LINE_BYTES, accesses_of, outer_loops, register_tile, touched_bytes
from autosched.spec.schedule import Accumulate, At, BindLoop, Nest, Schedule, Split
from autosched.spec.spec_file import SpecFile
from autosched.spec.task import Task
from autosched.spec.testing import schedules, workloads
from machines import AVX512
from sample_workloads import gemm

if TYPE_CHECKING:
    from autosched.spec.nest import Plan

MACHINE = attrs.evolve(AVX512, family=26, model=68, l1d_bytes=49152)
GEMM = Path(__file__).parent / "data" / "specs" / "gemm_packed.json"
TILED = Schedule(
    stagings=(
        Accumulate(
            stage="C",
            as_="C.acc",
            splits=(
                Split(axis="i", into=("io", "ii"), factors=(16, 4)),
                Split(axis="j", into=("jo", "ji"), factors=(4, 16)),
            ),
            order=("jo", "io", "ii", "ji"),
        ),
    ),
    nests=(
        Nest(
            stage="C.acc",
            order=("jo", "io", "k", "ii", "ji"),
            bind=(
                BindLoop(loop="jo", to="parallel"),
                BindLoop(loop="ii", to="unroll"),
                BindLoop(loop="ji", to="vectorize"),
            ),
            start="k",
        ),
        Nest(stage="C", at=At(stage="C.acc", loop="io")),
    ),
)
SPEC = SpecFile(task=Task(workload=gemm(64, 64, 32), threads=2), schedule=TILED)
PLAN = check_schedule(TILED, SPEC.task.workload)


def touched(plan: Plan, stage: str, loops: tuple[str, ...]) -> float:
    """Bytes of the lines that a stage's body touches while `loops` run."""
    nest = plan.by_stage[stage]
    extents = {loop.name: loop.extent for loop in nest.loops if loop.name in loops}
    return touched_bytes(accesses_of(nest, plan.workload), extents)


def test_bytes_touched_by_hand() -> None:
    assert touched(PLAN, "C.acc", ()) == 3 * LINE_BYTES  # an element each of A, B and C.acc
    assert touched(PLAN, "C.acc", ("ji",)) == 3 * LINE_BYTES  # a line of B and one of C.acc are 16 floats
    assert touched(PLAN, "C.acc", ("ii", "ji")) == (4 + 1 + 4) * LINE_BYTES
    whole = touched(PLAN, "C.acc", ("jo", "io", "k", "ii", "ji"))
    assert whole == 4 * (64 * 32 + 32 * 64 + 64 * 64)  # every element once


def test_what_else_a_nest_is_made_of() -> None:
    nest = PLAN.by_stage["C.acc"]
    assert register_tile(nest) == {"ii": 4}
    assert nest.copies == 4
    assert [loop.name for loop in outer_loops(PLAN, PLAN.by_stage["C"])] == ["jo", "io"]
    assert outer_loops(PLAN, nest) == []


@given(workload=workloads(max_stages=2), data=st.data())
def test_every_access_touches_a_line_at_least(workload: Any, data: st.DataObject) -> None:
    plan = check_schedule(data.draw(schedules(workload)), workload)
    for nest in plan.nests:
        accesses = accesses_of(nest, plan.workload)
        assert [access.buffer for access in accesses[-len(nest.stage.outputs) :]] == [
            output.name for output in nest.stage.outputs
        ]
        for count in range(len(nest.loops) + 1):
            extents = {loop.name: loop.extent for loop in nest.loops[count:]}
            assert touched_bytes(accesses, extents) >= LINE_BYTES * len(accesses)


def test_the_text() -> None:
    hardware = hardware_from_machine(MACHINE, 2)
    head, _, first, notes, *loops = text_from_costs(SPEC, MACHINE).split("\n\nC: ")[0].splitlines()
    costs = stage_costs(PLAN, hardware)
    assert sum(cost.seconds for cost in costs) == predict_s(PLAN, hardware)
    assert head == f"predicted {predict_s(PLAN, hardware) * 1e6:.3g} us on AuthenticAMD family 26 model 68"
    assert first.startswith(f"C.acc: {costs[0].seconds * 1e6:.3g} us on 2 threads: compute ")
    assert notes == "  131072 steps, 4 copies of the body, tile ii 4 x ji 16, buffer 16 KiB"
    assert loops == [
        "  jo      4 x     14 KiB",
        "  io     16 x   2.75 KiB",
        "  k      32 x      576 B",
        "  ii      4 x      192 B",
        "  ji     16 x      192 B",
    ]


def test_an_attached_stage_counts_the_steps_around_it() -> None:
    assert "\nC: " in text_from_costs(SPEC, MACHINE)
    rest = text_from_costs(SPEC, MACHINE).split("\nC: ")[1].splitlines()
    assert rest[0].split(":")[0].endswith("on 2 threads")
    assert rest[1] == "  4096 steps"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3 * 2**19, "1.5 MiB"), (2**30, "1 GiB")]
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


def test_the_command() -> None:
    plain = CliRunner().invoke(main, ["show", str(GEMM)], catch_exceptions=False)
    cost = CliRunner().invoke(main, ["show", str(GEMM), "--cost"], catch_exceptions=False)
    assert cost.exit_code == 0
    assert "predicted " not in plain.stdout
    assert "\npredicted " in cost.stdout
    for line in plain.stdout.splitlines():
        assert line in cost.stdout
