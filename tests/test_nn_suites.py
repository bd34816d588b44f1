"""The tasks that have names: which there are, what they make, and that nothing is loaded which was not asked for."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from autosched.nn.registry import get_task, is_operator, parse_arguments
from autosched.nn.suites import FLEXTENSOR, GROUPS, all_tasks, named_task, operator_of, tasks_of
from autosched.spec.errors import SpecError
from autosched.spec.flops import flop_count
from cli_calls import bench, call, folder
from test_nn_registry import in_a_fresh_process

if TYPE_CHECKING:
    from pathlib import Path

    from pretended_bench import PretendedBench

__all__ = ["bench", "folder"]


def test_the_seeds_tasks_are_all_there() -> None:
    tasks = all_tasks()
    assert len(tasks) == 1259
    assert len({(task.op, task.args) for task in tasks}) == 1055
    assert len({task.full_name for task in tasks}) == 1259
    assert len({(task.op, task.name) for task in tasks}) == 1259, "the seed's names, one operator's each"
    assert Counter(task.op for task in tasks).most_common(3) == [
        ("gemm", 519),
        ("conv2d", 466),
        ("conv_transpose2d", 155),
    ]


def test_the_papers_cases_are_in_twelve_groups() -> None:
    tasks = tasks_of(FLEXTENSOR)
    assert len(tasks) == 110
    assert Counter(task.suite.partition("/")[2] for task in tasks) == {
        "GMV": 6, "GMM": 7, "BIL": 5, "C1D": 7, "T1D": 7, "C2D": 15, "T2D": 15, "C3D": 8, "T3D": 8, "GRP": 14,
        "DIL": 11, "DEP": 7,
    }  # fmt: skip
    assert [task.args for task in tasks_of("flextensor110/C2D")] == [task.args for task in tasks_of("yolo")]
    assert {task.op for task in tasks_of("flextensor110/DIL")} == {"conv2d"}
    assert all(operator_of(f"{FLEXTENSOR}/{group}") for group in GROUPS)


@pytest.mark.parametrize(
    ("name", "op", "args"),
    [
        ("yolo/yolo0", "conv2d", "N=1 C=3 H=448 W=448 K=64 R=7 S=7 stride=2 padding=3 dilation=1 groups=1"),
        ("resnet/res_b119", "conv2d", "N=1 C=2048 H=7 W=7 K=512 R=1 S=1 stride=1 padding=0 dilation=1 groups=1"),
        ("flextensor110/GMM/gemm_sq2048", "gemm", "N=2048 K=2048 M=2048"),
        ("batch_gemm/test_gemm2", "batch_gemm", "B=3 N=1024 K=32 M=1024"),
        (
            "depthwise/depthwise1",
            "depthwise_conv2d",
            "N=1 C=16 H=112 W=112 factor=6 R=3 S=3 stride=2 padding=1 dilation=1",
        ),
    ],
)
def test_a_task_by_its_name_is_the_one_of_its_arguments(name: str, op: str, args: str) -> None:
    assert " ".join(named_task(name).words) == f"{op} {args}"
    by_name, by_arguments = get_task(name, threads=2), get_task(op, threads=2, **parse_arguments(op, args.split()))
    assert by_name == by_arguments


def test_arguments_replace_those_of_a_named_task() -> None:
    task = get_task("gemv/gemv0", N=64, threads=3, constants=["A"])
    assert task.op is not None
    assert task.op.text == "gemv N=64 K=128 transposeA=False dtype=float32"
    assert (task.threads, task.constants) == (3, ("A",))


def test_the_last_task_of_each_suite_makes_a_workload() -> None:
    last_of = {task.suite: task for task in all_tasks() if is_operator(task.op)}
    assert last_of.keys() >= {"yolo", "gemm_grid", "depthwise"}
    for task in last_of.values():
        found = flop_count(get_task(task.full_name).workload)
        assert found is None or found > 0


def test_listing_loads_no_operator_and_a_task_loads_one_table() -> None:
    code = """
import sys
from autosched.nn import suites
from autosched.nn.registry import get_task
assert len(suites.suites()) == 54
assert suites._read.cache_info().currsize == 0
get_task("gemm/gemm_sq32").identity
assert suites._read.cache_info().currsize == 1
print(*[m for m in ("autosched.nn.matmul", "autosched.nn.conv", "numpy", "tvm") if m in sys.modules])
"""
    assert in_a_fresh_process(code) == "autosched.nn.matmul"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolo/yolo33", "yolo: no task 'yolo33' (did you mean 'yolo3'?) among its 15: yolo0, yolo1, yolo2, …"),
        ("yoloo/yolo3", "no suite 'yoloo' (did you mean 'yolo'?)"),
        ("a/b/c", "no suite 'a/b'; `autosched tasks` lists them"),
        ("flextensor110/yolo/yolo3", "no suite 'flextensor110/yolo' (did you mean 'flextensor110'?)"),
        ("/yolo3", "no suite ''; `autosched tasks` lists them"),
    ],
)
def test_names_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_task(name)
    assert str(caught.value) == message


# --- the command line ---


def test_tasks_lists_suites_and_their_tasks() -> None:
    assert "yolo  15 tasks of conv2d" in call("tasks").stdout.splitlines()
    assert call("tasks", "--suite", "gemv").stdout.splitlines()[0] == "gemv/gemv0  gemv N=128 K=128"
    assert call("tasks", "--suite", FLEXTENSOR, "--op", "gemm").stdout.count("\n") == 7
    assert call("tasks", "--suite", "yollo").stderr == "autosched: no suite 'yollo' (did you mean 'yolo'?)\n"


def test_tasks_as_json() -> None:
    found = json.loads(call("tasks", "--json").stdout)
    assert {operator["name"] for operator in found["operators"]} >= {"gemm", "conv2d"}
    assert len(found["tasks"]) == 1259
    (gemv,) = json.loads(call("tasks", "--json", "--op", "gemv", "--suite", "gemv").stdout)["operators"]
    assert gemv["arguments"] == [
        {"name": "N"},
        {"name": "K"},
        {"name": "transposeA", "default": False},
        {"name": "dtype", "default": "float32"},
    ]


GEMM = {"N": 32, "K": 32, "M": 16, "transposeA": False, "transposeB": False}


@pytest.mark.system
def test_tune_takes_a_name(bench: PretendedBench, folder: Path) -> None:
    found = json.loads(call("tune", "gemm/gemm_sq32", "M=16", "--trials", 2, "--json", "-q").stdout)
    assert (found["op"], found["args"]) == ("gemm", {**GEMM, "dtype": "float32"})
    assert call("lookup", "gemm", "N=32", "K=32", "M=16").exit_code == 0
