"""Logs of FlexTensor: what a line says of an operator that is here becomes a schedule, and any other line a reason."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.flextensor_config import schedule_from_config
from autosched.nn.flextensor_log import read_line, read_log, task_from_key
from autosched.nn.registry import get_task
from autosched.spec.check import check_schedule
from autosched.spec.errors import SpecError
from autosched.spec.schedule import Inline
from autosched.spec.spec_file import spec_from_text, text_from_spec

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.task import Task

GEMM = "gemm_gemm_(64, 32, 48)_llvm(0)"
CONV = "conv2d_yolo1_(1, 8, 7, 7, 16, 3, 1, 1, 1, 1)_llvm(0)"
DEPTHWISE = "conv2d_depthwise_(1, 4, 8, 8, 2, 3, 2, 1, 1)_llvm(3)"

SPREAD = "conv_transpose1d_a_(1, 4, 5, 6, 3, 2, 1, 1, 1)_llvm(0)"


def operator(spatial: list[list[int]], reduce: list[list[int]] | None = None) -> dict[str, Any]:
    """A config of an operator, with all the keys that the seed writes."""
    rest: dict[str, Any] = {"fuse": [[1, 2, 2]], "reorder": [[0]], "inline": [], "unroll": [[512, 1]], "merge": []}
    return {**rest, "spatial": spatial, "reduce": reduce or [], "special": []}


def line(key: str, *operators: dict[str, Any], inline: list[int] | None = None) -> str:
    flags = [0] * len(operators) if inline is None else inline
    return f"{key}:{json.dumps([list(operators), {'fuse': [], 'inline': [flags], 'merge': []}])}"


TILED = operator([[4, 2, 2, 4], [1, 3, 1, 16]], [[2, 4, 1, 4]])
PAD = operator([[1, 1, 1, 1], [8, 1, 1, 1], [3, 1, 1, 3], [1, 1, 1, 9]])
CONVOLVED = operator([[1] * 4, [2, 2, 2, 2], [7, 1, 1, 1], [1, 1, 1, 7]], [[2, 1, 1, 4], [1, 1, 3, 1], [3, 1, 1, 1]])


def test_a_product() -> None:
    read = read_line(line(GEMM, TILED), 7, threads=2)
    assert (read.number, read.key, read.reason) == (7, GEMM, "")
    assert read.spec is not None
    assert read.spec.task == get_task("gemm", N=64, K=32, M=48, threads=2)
    acc, copy = (next(nest for nest in read.spec.schedule.nests if nest.stage == name) for name in ("C.acc", "C"))
    assert [(split.into, split.factors) for split in copy.splits] == [
        (("i.p0", "i.p1", "i.p2", "i.p3"), (4, 2, 2, 4)),
        (("j.p1", "j.p3"), (3, 16)),
    ]
    assert copy.order == ("i.p0", "i.p1", "j.p1", "i.p2", "i.p3", "j.p3")
    assert acc.at is not None
    assert acc.at.loop == "i.p1"
    assert acc.order == ("k.p0", "j.p1", "k.p1", "i.p2", "k.p3", "i.p3", "j.p3")
    assert acc.start == "k.p0"


def test_a_convolution_with_the_order_of_its_sum_that_the_seed_has() -> None:
    """Columns of the kernel before rows: the config's second factors of the sum are of s."""
    read = read_line(line(CONV, PAD, CONVOLVED), threads=2)
    assert read.spec is not None
    assert read.spec.task == get_task("conv2d", N=1, C=8, H=7, W=7, K=16, R=3, S=3, padding=1, threads=2)
    acc = next(nest for nest in read.spec.schedule.nests if nest.stage == "conv.acc")
    assert [loop for loop in acc.order if loop in ("r", "s")] == ["r", "s"]
    swapped = operator(CONVOLVED["spatial"], [CONVOLVED["reduce"][n] for n in (0, 2, 1)])
    other = read_line(line(CONV, PAD, swapped), threads=2)
    assert other.spec is not None
    acc = next(nest for nest in other.spec.schedule.nests if nest.stage == "conv.acc")
    assert [loop for loop in acc.order if loop in ("r", "s")] == ["s", "r"]


def test_padding_may_be_computed_where_it_is_read() -> None:
    read = read_line(line(CONV, PAD, CONVOLVED, inline=[1, 0]), threads=2)
    assert read.spec is not None
    assert Inline(stage="pad") in read.spec.schedule.stagings
    assert [nest.stage for nest in read.spec.schedule.nests] == ["conv", "conv.acc"]


def test_padding_by_nothing_is_no_stage() -> None:
    key = CONV.replace("3, 1, 1, 1, 1", "3, 1, 0, 1, 1")
    unpadded = operator([[1] * 4, [2, 2, 2, 2], [5, 1, 1, 1], [1, 1, 1, 5]], CONVOLVED["reduce"])
    read = read_line(line(key, operator([[1], [8], [7], [7]]), unpadded), threads=2)
    assert read.spec is not None
    assert [stage.name for stage in read.spec.task.workload.stages] == ["conv"]


def test_spreading_and_padding_are_one_stage_of_a_transposed_convolution() -> None:
    spread, padded = operator([[1], [4], [9]]), operator([[1, 1], [2, 2], [1, 11]])
    convolved = operator([[1, 1], [2, 3], [1, 9]], [[4, 1], [1, 3]])
    read = read_line(line(SPREAD, spread, padded, convolved), threads=2)
    assert read.spec is not None
    assert [stage.name for stage in read.spec.task.workload.stages] == ["expand", "conv"]
    assert [nest.stage for nest in read.spec.schedule.nests] == ["expand", "conv", "conv.acc"]


def test_a_spec_of_a_line_is_a_spec_file() -> None:
    read = read_line(line(GEMM, TILED), threads=2)
    assert read.spec is not None
    assert read.spec.claims == ()
    assert spec_from_text(text_from_spec(read.spec)) == read.spec


@pytest.mark.parametrize(
    ("key", "op", "args"),
    [
        ("gemv_gemv_(64, 32)_llvm(0)", "gemv", {"N": 64, "K": 32}),
        (DEPTHWISE, "depthwise_conv2d", {"N": 1, "C": 4, "H": 8, "W": 8, "factor": 2, "R": 3, "stride": 2}),
        ("conv2d_vgg-160_(1, 3, 9, 9, 4, 3, 1, 1, 1, 1)_llvm(0)", "conv2d", {"K": 4, "S": 3}),
    ],
)
def test_keys(key: str, op: str, args: dict[str, object]) -> None:
    task = task_from_key(key, threads=2)
    assert task.op is not None
    assert task.op.name == op
    found = {argument.name: argument.value for argument in task.op.args}
    assert {name: found[name] for name in args}.items() == args.items()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "found no KEY:CONFIG"),
        ("gemm:[]", "key: is no key; need category_name_(arguments)_target(device)"),
        (line(GEMM.replace("llvm", "opencl"), TILED), "key: target 'opencl': schedules of the seed for GPUs"),
        (line(GEMM.replace("gemm_gemm", "shift_conv2d_a"), TILED), "key: no category of 'shift_conv2d_a' is read; "),
        (line("gemm_gemm_(64, 32)_llvm(0)", TILED), "key: 2 arguments of gemm; need 3: N, K, M"),
        (line("gemm_gemm_(64, -32, 48)_llvm(0)", TILED), "gemm"),
        (f"{GEMM}:[[], {{}}]", "config: found something else; a config is [[operator, ...], graph], each an object"),
        (f"{GEMM}:[[1], {{}}]", "config[0][0]: found"),
        (f"{GEMM}:[[{{}}], NaN]", "not JSON"),
        (f"{GEMM}:{'[' * 100_000}", ""),
        (line(GEMM, operator([[4, 2, 2, 4]], [[32]])), "config[0][0].spatial: found 1; need factors for 2 axes: i, j"),
        (
            line(GEMM, operator([[4, 2, 2, 8], [48, 1, 1, 1]], [[32]])),
            "config[0][0].spatial[0]: factors [4, 2, 2, 8] of axis 'i'; need whole ones that give 64",
        ),
        (line(GEMM, operator([[64.0], [48]], [[32]])), "config[0][0].spatial[0]: factors [64.0] of axis 'i'"),
        (line(GEMM, operator([[64], [6, 8]], [[32]])), "config[0][0].spatial[1]: 2 factors where other axes have 1"),
        (line(GEMM, operator([[1] * 9, [48]], [[32]])), "config[0][0].spatial[0]: found"),
        (line(GEMM, TILED, inline=[2]), "config[1].inline: found"),
        (
            line("gemm_gemm_(64, 32, 1024)_llvm(0)", operator([[1, 1, 8, 8], [1, 1, 1024, 1]], [[1, 1, 1, 32]])),
            "schedule.nests[1]",
        ),
    ],
)  # fmt: skip
def test_other_lines_say_why(text: str, reason: str) -> None:
    read = read_line(text, threads=2)
    assert read.spec is None
    assert reason in read.reason
    assert "\n" not in read.reason


def test_a_log_is_read_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "gemm-config.log"
    log.write_text(f"{line(GEMM, TILED)}\n\n{line(GEMM.replace('llvm', 'cuda'), TILED)}\n\xff\n", encoding="latin-1")
    found = list(read_log(log, threads=2))
    assert [(read.number, read.spec is not None) for read in found] == [(1, True), (3, False), (4, False)]
    with pytest.raises(SpecError, match="no file"):
        list(read_log(tmp_path / "none", threads=2))


# --- what must hold for all configs -----------------------------------------------------------------------------------

TASKS = [
    task_from_key(key, threads=2)
    for key in (
        GEMM,
        CONV,
        CONV.replace("3, 1, 1, 1, 1", "3, 1, 0, 1, 1"),
        DEPTHWISE,
        SPREAD,
        "gemv_gemv_(64, 48)_llvm(0)",
        "conv3d_a_(1, 4, 3, 4, 4, 2, 3, 1, 1, 1, 1)_llvm(0)",
    )
]


@st.composite
def factors(draw: st.DrawFn, extent: int, parts: int) -> list[int]:
    """An extent as a product of so many factors."""
    found = []
    for _ in range(parts - 1):
        divisors = [n for n in range(1, extent + 1) if extent % n == 0]
        found.append(draw(st.sampled_from(divisors)))
        extent //= found[-1]
    return [*found, extent]


@st.composite
def configs(draw: st.DrawFn, task: Task) -> Any:
    """A config of a task as a search of the seed may have written it."""
    levels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    operators = [
        operator(
            [draw(factors(axis.extent, levels[0])) for axis in stage.axes],
            [draw(factors(axis.extent, levels[1])) for axis in stage.reduce],
        )
        for stage in task.workload.stages
    ]
    return [operators, {"inline": [[draw(st.sampled_from((0, 1))) for _ in operators]]}]


@given(st.data())
def test_every_config_of_the_seed_is_a_schedule_that_passes_the_checks(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(TASKS))
    schedule = schedule_from_config(task.workload, data.draw(configs(task)))
    bare = attrs.evolve(
        schedule,
        nests=tuple(attrs.evolve(n, bind=tuple(b for b in n.bind if b.to != "unroll")) for n in schedule.nests),
    )
    plan = check_schedule(bare, task)  # LLVM would not end with all that some configs unroll, which is refused
    for nest in plan.nests:
        steps = math.prod(loop.extent for loop in nest.loops)
        assert steps == math.prod(axis.extent for axis in nest.axes)


@given(st.text(max_size=300) | st.recursive(st.integers(-3, 99), st.lists, max_leaves=20).map(lambda v: f"{GEMM}:{v}"))
def test_no_text_is_more_than_a_reason(text: str) -> None:
    read = read_line(text, threads=2)
    assert (read.spec is None) == bool(read.reason)


@pytest.mark.compiler
@pytest.mark.parametrize(
    "text", [line(GEMM, TILED), line(CONV, PAD, CONVOLVED), line(CONV, PAD, CONVOLVED, inline=[1, 0])]
)
def test_a_read_schedule_computes_the_same(text: str) -> None:
    from autosched.spec.testing import assert_lowers_correctly

    read = read_line(text, threads=2)
    assert read.spec is not None
    assert_lowers_correctly(read.spec.schedule, read.spec.task)
