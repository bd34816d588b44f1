"""Operators by name: what they take, what they refuse, and the tasks they make."""

import os
import subprocess
import sys
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autosched.nn.arguments import GREATEST
from autosched.nn.registry import (
    get_operator,
    get_task,
    operators,
    parse_arguments,
)
from autosched.spec.errors import SpecError
from autosched.spec.flops import flop_count
from autosched.spec.task import Target, TargetOption

GEMM = {"N": 4, "K": 3, "M": 2}
CONV = {"N": 1, "C": 4, "H": 6, "W": 5, "K": 6, "R": 3, "S": 3}

GEMM_ARGUMENTS = "arguments: N, K, M, transposeA=False, transposeB=False, dtype=float32"
CONV_ARGUMENTS = (
    "arguments: N, C, H, W, K, R, S, stride=1, padding=0, dilation=1, groups=1, bias=False, relu=False, dtype=float32"
)
WHOLE = f"a whole number from 1 to {GREATEST}"


def layer(op: str, args: str, out_shape: tuple[int, ...], macs: int) -> tuple[Any, ...]:
    return (op, parse_arguments(op, args.split()), out_shape, macs)


# Layers of FlexTensor's evaluation (ASPLOS'20), with the shape of the result and the multiply-adds.
LAYERS = [
    layer("gemm", "N=32 K=32 M=64", (32, 64), 65536),
    layer("batch_gemm", "B=3 N=1024 K=32 M=1024", (3, 1024, 1024), 100663296),
    layer("gemv", "N=512 K=512", (512,), 262144),
    layer("conv2d", "N=1 C=3 H=448 W=448 K=64 R=7 S=7 stride=2 padding=3", (1, 64, 224, 224), 472055808),
    layer("conv2d", "N=1 C=64 H=112 W=112 K=192 R=3 S=3 padding=1", (1, 192, 112, 112), 1387266048),
    layer("conv2d", "N=1 C=192 H=56 W=56 K=128 R=1 S=1", (1, 128, 56, 56), 77070336),
    layer("conv2d", "N=1 C=1024 H=14 W=14 K=1024 R=3 S=3 stride=2 padding=1 dilation=2", (1, 1024, 6, 6), 339738624),
    layer("conv2d", "N=1 C=3 H=192 W=192 K=96 R=11 S=11 stride=4 padding=5", (1, 96, 48, 48), 80289792),
    layer("conv2d", "N=1 C=16 H=112 W=112 K=96 R=3 S=3 stride=2 padding=1 groups=16", (1, 96, 56, 56), 2709504),
    layer("conv2d", "N=1 C=1024 H=14 W=14 K=512 R=1 S=1 groups=4", (1, 512, 14, 14), 25690112),
    layer("depthwise_conv2d", "N=1 C=32 H=112 W=112 factor=1 R=3 S=3 padding=1", (1, 32, 112, 112), 3612672),
    layer("depthwise_conv2d", "N=1 C=16 H=112 W=112 factor=6 R=3 S=3 stride=2 padding=1", (1, 96, 56, 56), 2709504),
    layer("depthwise_conv2d", "N=1 C=512 H=28 W=28 factor=512 R=1 S=1", (1, 262144, 28, 28), 205520896),
]


@pytest.mark.parametrize(("op", "args", "out_shape", "macs"), LAYERS)
def test_known_layers(op: str, args: dict[str, int], out_shape: tuple[int, ...], macs: int) -> None:
    workload = get_task(op, **args).workload
    (output,) = workload.outputs
    assert workload.params[-1] == output
    assert workload.buffers[output].shape == out_shape
    assert flop_count(workload) == 2 * macs


def test_the_operators() -> None:
    assert operators() == tuple(sorted(operators()))
    assert {"batch_gemm", "conv2d", "depthwise_conv2d", "gemm", "gemv"} <= {*operators()}


@pytest.mark.parametrize("name", operators())
def test_each_is_in_the_module_named_for_it_and_says_what_it_does(name: str) -> None:
    operator = get_operator(name)
    assert operator.name == name
    assert "``" in operator.summary


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, timeout=60, cwd=os.path.sep,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_what_is_asked_for_is_loaded() -> None:
    code = """
import sys
from autosched.nn.registry import get_task, operators
operators()
loaded = lambda: [m for m in ("autosched.nn.matmul", "autosched.nn.conv", "numpy", "tvm") if m in sys.modules]
assert loaded() == [], loaded()
get_task("gemm", N=1, K=1, M=1).identity
print(*loaded())
"""
    assert in_a_fresh_process(code) == "autosched.nn.matmul"


# --- the task ---


def test_the_call_has_every_argument_in_the_order_of_the_signature() -> None:
    task = get_task("conv2d", S=3, R=3, K=6, W=5, H=6, C=4, N=1, relu=True, stride=(2, 2), padding=(0, 1))
    assert task.op is not None
    assert task.op.name == "conv2d"
    assert [(a.name, a.value) for a in task.op.args] == [
        ("N", 1), ("C", 4), ("H", 6), ("W", 5), ("K", 6), ("R", 3), ("S", 3), ("stride", 2), ("padding", (0, 1)),
        ("dilation", 1), ("groups", 1), ("bias", False), ("relu", True), ("dtype", "float32"),
    ]  # fmt: skip


def test_the_same_call_gives_the_same_task() -> None:
    task = get_task("conv2d", **CONV, padding=(1, 1))
    again = get_task("conv2d", **CONV, padding=1, dilation=(1, 1))
    assert task == again
    assert task.identity == again.identity


def test_other_arguments_give_another_identity() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"padding": 1}, {"dilation": 2}, {"stride": 2}, {"stride": (1, 2)}, {"stride": (2, 1)}, {"groups": 2},
        {"bias": True}, {"relu": True}, {"bias": True, "relu": True}, {"dtype": "float64"}, {"H": 7}, {"N": 2},
    ]  # fmt: skip
    assert len({get_task("conv2d", **{**CONV, **change}).identity for change in changes}) == len(changes)


def test_the_call_is_no_part_of_the_identity() -> None:
    task = get_task("gemm", **GEMM)
    assert attrs.evolve(task, op=None).identity == task.identity


def test_target_and_threads() -> None:
    target = Target(kind="llvm", options=(TargetOption(name="mcpu", value="znver5"),))
    assert get_task("gemm", **GEMM, target=target, threads=3).target is target
    assert get_task("gemm", **GEMM, target="cuda").target == Target(kind="cuda")
    assert get_task("gemm", **GEMM, target={"kind": "llvm", "mcpu": "znver5"}).target == target
    assert get_task("gemm", **GEMM).target == Target()
    assert get_task("gemm", **GEMM, threads=3).threads == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_threads_default_to_the_cpus_of_this_process() -> None:
    code = """
import os
from autosched.nn.registry import get_task
cpus = os.sched_getaffinity(0)
assert get_task("gemv", N=1, K=1).threads == len(cpus)
os.sched_setaffinity(0, {min(cpus)})
print(get_task("gemv", N=1, K=1).threads)
"""
    assert in_a_fresh_process(code) == "1"


# --- what is refused ---


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        (
            "conv2",
            {},
            f"no operator 'conv2' (did you mean 'conv2d'?); operators: {', '.join(operators())}",
        ),
        ("fft", {}, f"no operator 'fft'; operators: {', '.join(operators())}"),
        ("gemm", {"N": 4}, f"gemm: missing: K, M; {GEMM_ARGUMENTS}"),
        ("gemm", {**GEMM, "n": 4}, f"gemm: no argument 'n' (did you mean 'N'?); {GEMM_ARGUMENTS}"),
        ("gemm", {**GEMM, "batch": 4}, f"gemm: no argument 'batch'; {GEMM_ARGUMENTS}"),
        ("conv2d", {**CONV, "strides": 1}, f"conv2d: no argument 'strides' (did you mean 'stride'?); {CONV_ARGUMENTS}"),
        ("gemm", {**GEMM, "K": 0}, f"gemm.K: found 0; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": -3}, f"gemm.K: found -3; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": True}, f"gemm.K: found True; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": 3.0}, f"gemm.K: found 3.0; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": "3"}, f"gemm.K: found '3'; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": None}, f"gemm.K: found None; allowed: {WHOLE}"),
        ("gemm", {**GEMM, "K": 2**31}, f"gemm.K: found 2147483648; allowed: {WHOLE}"),
        ("conv2d", {**CONV, "groups": (1, 1)}, f"conv2d.groups: found (1, 1); allowed: {WHOLE}"),
        ("conv2d", {**CONV, "stride": 0}, f"conv2d.stride: found 0; allowed: {WHOLE}, or a tuple of 2 of them"),
        (
            "conv2d",
            {**CONV, "stride": (1, 0)},
            f"conv2d.stride: found (1, 0); allowed: {WHOLE}, or a tuple of 2 of them",
        ),
        (
            "conv2d",
            {**CONV, "dilation": [1, 2]},
            f"conv2d.dilation: found [1, 2]; allowed: {WHOLE}, or a tuple of 2 of them",
        ),
        (
            "conv2d",
            {**CONV, "padding": (1, 2, 3)},
            f"conv2d.padding: found (1, 2, 3); allowed: a whole number from 0 to {GREATEST}, or a tuple of 2 of them",
        ),
        ("conv2d", {**CONV, "bias": 1}, "conv2d.bias: found 1; allowed: True or False"),
        ("gemm", {**GEMM, "dtype": "int8"}, "gemm.dtype: found 'int8'; allowed: float16, bfloat16, float32, float64"),
        ("gemm", {**GEMM, "threads": 0}, "threads: found 0; allowed: a whole number from 1, or None for all CPUs"),
        (
            "gemm",
            {**GEMM, "target": "llvm -mcpu=znver5"},
            (
                "target: 'llvm -mcpu=znver5' is no target; write a kind (\"llvm\") or a dict "
                '({"kind": "llvm", "mcpu": "znver5"})'
            ),
        ),
    ],
)
def test_refused(op: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        get_task(op, **args)
    assert str(caught.value) == message


@given(st.integers() | st.text() | st.floats() | st.lists(st.integers()) | st.tuples(st.integers()) | st.none())
def test_what_is_refused_is_refused_in_one_short_line(value: object) -> None:
    assume(not (type(value) is int and 0 <= value <= GREATEST))
    with pytest.raises(SpecError) as caught:
        get_task("conv2d", **{**CONV, "padding": value})
    assert caught.value.path == "conv2d.padding"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


# --- the command line ---


def test_words_of_a_command_line() -> None:
    words = ["N=1", "stride=1,2", "padding=3,3", "dilation=2", "bias=true", "relu=0", "dtype=float64"]
    assert parse_arguments("conv2d", words) == {
        "N": 1, "stride": (1, 2), "padding": 3, "dilation": 2, "bias": True, "relu": False, "dtype": "float64",
    }  # fmt: skip
    assert parse_arguments("gemm", []) == {}


@given(
    st.fixed_dictionaries(
        {name: st.integers(1, 99) for name in "NCHWK"},
        optional={
            "stride": st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)),
            "padding": st.integers(0, 3) | st.tuples(st.integers(0, 3), st.integers(0, 3)),
            "bias": st.booleans(),
            "dtype": st.sampled_from(["float16", "float32"]),
        },
    )
)
def test_a_call_survives_its_words(args: dict[str, Any]) -> None:
    task = get_task("conv2d", **args, R=1, S=1)
    assert task.op is not None
    words = [f"{a.name}={','.join(map(str, a.value)) if isinstance(a.value, tuple) else a.value}" for a in task.op.args]
    again = get_task("conv2d", **parse_arguments("conv2d", words))
    assert again == task


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["N"], f"gemm: found 'N'; write KEY=VALUE; {GEMM_ARGUMENTS}"),
        (["N=1", "N=2"], "gemm.N: given twice; give it once"),
        (["P=1"], f"gemm: no argument 'P'; {GEMM_ARGUMENTS}"),
        (["N="], f"gemm.N: found ''; allowed: {WHOLE}"),
        (["N=ten"], f"gemm.N: found 'ten'; allowed: {WHOLE}"),
        (["N=1.5"], f"gemm.N: found '1.5'; allowed: {WHOLE}"),
        (["N=1_0"], f"gemm.N: found '1_0'; allowed: {WHOLE}"),
        (["N=-1"], f"gemm.N: found -1; allowed: {WHOLE}"),
        (["N=1,2"], f"gemm.N: found '1,2'; allowed: {WHOLE}"),
        (["dtype=float31"], "gemm.dtype: found 'float31'; allowed: float16, bfloat16, float32, float64"),
    ],
)
def test_words_refused(words: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_arguments("gemm", words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("bias=yes", "conv2d.bias: found 'yes'; allowed: True or False"),
        ("stride=1,", f"conv2d.stride: found '1,'; allowed: {WHOLE}, or a tuple of 2 of them"),
        ("stride=1,2,3", f"conv2d.stride: found (1, 2, 3); allowed: {WHOLE}, or a tuple of 2 of them"),
    ],
)
def test_words_of_conv2d_refused(word: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_arguments("conv2d", [word])
    assert str(caught.value) == message
