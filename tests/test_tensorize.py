"""Tensor intrinsics: what the registry says of them is true, and whatever the checks accept computes the task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings

from autosched.cli_cost import text_from_costs
from autosched.spec.builder import Tensor, build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.check import check_schedule
from autosched.spec.check_workload import check_workload
from autosched.spec.diff import compare_specs
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.evaluate import evaluate
from autosched.spec.inputs import random_inputs
from autosched.spec.intrinsics import INTRINSICS, Intrinsic, intrinsics_of, is_had
from autosched.spec.rename import schedule_from_canonical, schedule_to_canonical
from autosched.spec.schedule import Accumulate, At, BindLoop, Nest, Reindex, Schedule, Split, Tensorize
from autosched.spec.show import text_from_plan
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from autosched.spec.task import Target, TargetOption, Task
from autosched.spec.testing import assert_lowers_correctly, tensorized
from autosched.spec.tvm_build import compile_module, tvm_target
from autosched.spec.tvm_lower import lower
from autosched.spec.x86_cpus import CPUS, FEATURES
from autosched.store.machine import this_machine

if TYPE_CHECKING:
    from autosched.spec.workload import Workload

HERE = intrinsics_of(this_machine().isa)
"""What this machine can run."""
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
IS_X86 = pytest.mark.skipif(this_machine().arch != "x86_64", reason="asks LLVM about x86")

OF_CPUS = tuple(one for one in INTRINSICS.values() if not one.of_warp)
each_intrinsic = pytest.mark.parametrize("intrinsic", OF_CPUS, ids=lambda one: one.name)


def product(intrinsic: Intrinsic, M: int = 3, N: int = 32, K: int = 16) -> Workload:
    a, b = (buffer.dtype for buffer in intrinsic.computes.inputs)
    c = intrinsic.output.dtype
    A, B, k = placeholder((M, K), a, name="A"), placeholder((K, N), b, name="B"), reduce_axis(K, name="k")
    C = compute((M, N), lambda i, j: sum_over(A[i, k].astype(c) * B[k, j].astype(c), axis=k), name="C")
    return build([A, B, C])


def packed(intrinsic: Intrinsic, N: int = 32, K: int = 16) -> Schedule:
    """Sums of one row in registers; B packed in the intrinsic's words."""
    lanes, depth = (axis.extent for axis in intrinsic.loops)
    cuts = (
        Split(axis="j", into=("jo", "jl"), factors=(N // lanes, lanes)),
        Split(axis="k", into=("ko", "kl"), factors=(K // depth, depth)),
    )
    stagings = (
        Accumulate(stage="C", as_="C.acc", splits=cuts, order=("i", "jo", "jl")),
        Reindex(stage="C.acc", reads="B", as_="B.pack", order=("jo", "ko", "jl", "kl")),
    )
    nests = (
        Nest(
            stage="C.acc",
            order=("i", "ko", "jo", "jl", "kl"),
            bind=(BindLoop(loop="i", to="parallel"), BindLoop(loop="jo", to="unroll")),
            start="ko",
            tensorize=Tensorize(loop="jl", intrinsic=intrinsic.name),
        ),
        Nest(stage="C", at=At(stage="C.acc", loop="i")),
    )
    return Schedule(stagings=stagings, nests=nests)


def on(cpu: str) -> Target:
    return Target(options=(TargetOption(name="mcpu", value=cpu),))


# --- the registry -----------------------------------------------------------------------------------------------------


@each_intrinsic
def test_what_an_intrinsic_computes_is_a_workload(intrinsic: Intrinsic) -> None:
    check_workload(intrinsic.computes)
    lanes, depth = (axis.extent for axis in intrinsic.loops)
    assert f"dot_{lanes}x{depth}" in intrinsic.name
    assert intrinsic.strides("A") == {"l": 0, "k": 1}
    assert intrinsic.strides("B") == {"l": depth, "k": 1}
    assert intrinsic.strides("C") == {"l": 1, "k": 0}


@IS_X86
def test_the_table_of_cpus_is_that_of_llvm() -> None:
    asked = tvm.get_global_func("target.llvm_get_cpu_features")
    for cpu in sorted(CPUS):
        has = {str(name) for name in asked(tvm.target.Target({"kind": "llvm", "mcpu": cpu}))}
        assert {name for name, cpus in FEATURES.items() if cpu in cpus} == has & FEATURES.keys(), cpu


def test_the_flags_of_a_machine_tell_its_intrinsics() -> None:
    def named(*isa: str) -> set[str]:
        return {one.name.split("_u")[0].split("_i")[0] for one in intrinsics_of(isa)}

    assert named() == named("avx") == set()
    assert named("avx2") == {"madd.dot_8x2"}
    assert named("avx2", "avx_vnni") == {"madd.dot_8x2", "vnni.dot_8x4"}
    assert named("avx512_vnni") == {"vnni.dot_16x4"}
    assert named("avx512_vnni", "avx512_bf16", "avx512vl") == {
        "vnni.dot_16x4", "vnni.dot_8x4", "bf16.dot_16x2", "bf16.dot_8x2",
    }  # fmt: skip


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intrinsic", HERE, ids=lambda one: one.name)
def test_a_product_is_right(intrinsic: Intrinsic) -> None:
    assert_lowers_correctly(packed(intrinsic), Task(workload=product(intrinsic), threads=2))


@pytest.mark.parametrize("intrinsic", [one for one in HERE if one.family != "bf16"], ids=lambda one: one.name)
def test_extreme_bytes_do_not_saturate(intrinsic: Intrinsic) -> None:
    """255 * 127 * 2 is more than 16 bits hold, where other ways of adding up bytes stop."""
    from autosched.spec.tvm_call import built_function

    task = Task(workload=product(intrinsic), threads=1)
    (a, b) = (np.iinfo(buffer.dtype) for buffer in intrinsic.computes.inputs)
    for left, right in ((a.max, b.max), (a.max, b.min), (a.min, b.max), (a.min, b.min)):
        A, B = np.full((3, 16), left, a.dtype), np.full((16, 32), right, b.dtype)
        C = np.zeros((3, 32), np.int32)
        built_function(packed(intrinsic), task)(A, B, C)
        assert (16 * int(left) * int(right) == C).all()


@pytest.mark.skipif(not any(one.name == "vnni.dot_16x4" for one in HERE), reason="this machine has no VNNI")
def test_a_layer_is_right() -> None:
    """A convolution of 3 by 3 on bytes; channels are padded from 6 to 8 and from 24 to 32, the image is re-indexed."""
    X, W = placeholder((6, 7, 9), "uint8", name="X"), placeholder((24, 6, 3, 3), "int8", name="W")
    c, r, s = reduce_axis(6, name="c"), reduce_axis(3, name="r"), reduce_axis(3, name="s")

    def body(k, h, w):
        return sum_over(X[c, h + r, w + s].astype("int32") * W[k, c, r, s].astype("int32"), axis=(c, r, s))

    workload = build([X, W, compute((24, 5, 7), body, name="Y")])
    cuts = (
        Split(axis="k", into=("ko", "kl"), factors=(2, 16), tail="pad"),
        Split(axis="c", into=("co", "cl"), factors=(2, 4), tail="pad"),
    )
    stagings = (
        Accumulate(stage="Y", as_="Y.acc", splits=cuts, order=("ko", "h", "w", "kl")),
        Reindex(stage="Y.acc", reads="X", as_="X.col", order=("h", "w", "r", "s", "co", "cl")),
        Reindex(stage="Y.acc", reads="W", as_="W.pack", order=("ko", "co", "r", "s", "kl", "cl")),
    )
    nests = (
        Nest(
            stage="Y.acc",
            order=("ko", "h", "co", "r", "s", "w", "kl", "cl"),
            bind=(BindLoop(loop="ko", to="parallel"), BindLoop(loop="w", to="unroll")),
            start="co",
            tensorize=Tensorize(loop="kl", intrinsic="vnni.dot_16x4"),
        ),
        Nest(stage="Y", at=At(stage="Y.acc", loop="ko")),
    )
    assert_lowers_correctly(Schedule(stagings=stagings, nests=nests), Task(workload=workload, threads=2))


@pytest.mark.skipif(not any(one.name == "vnni.dot_16x4" for one in HERE), reason="this machine has no VNNI")
@pytest.mark.parametrize("loop", ["i", "jo"])
def test_a_tensorized_stage_may_be_computed_inside_another(loop: str) -> None:
    A, B, k = placeholder((3, 8), "uint8", name="A"), placeholder((8, 32), "int8", name="B"), reduce_axis(8, name="k")
    C: Tensor = compute(
        (3, 32), lambda i, j: sum_over(A[i, k].astype("int32") * B[k, j].astype("int32"), axis=k), name="C"
    )
    workload = build([A, B, compute((3, 32), lambda i, j: C[i, j] * 3, name="D")])
    words = Split(axis="k", into=("ko", "kl"), factors=(2, 4))
    here = 32 if loop == "i" else 16
    nests = (
        Nest(stage="D", splits=(Split(axis="j", into=("jo", "jl"), factors=(2, 16)),)),
        Nest(
            stage="C",
            at=At(stage="D", loop=loop),
            splits=(words, Split(axis="j", into=("jm", "jv"), factors=(here // 16, 16))),
            order=("i", "jm", "ko", "jv", "kl"),
            start="ko",
            tensorize=Tensorize(loop="jv", intrinsic="vnni.dot_16x4"),
        ),
    )
    staging = Reindex(stage="C", reads="B", as_="B.pack", splits=(words,), order=("ko", "j", "kl"))
    assert_lowers_correctly(Schedule(stagings=(staging,), nests=nests), Task(workload=workload, threads=1))


def test_where_a_part_of_an_axis_begins_is_not_known() -> None:
    """Digits of an axis that is run in parts are no fixed step apart, though they are where it begins at 0."""
    A, B, k = placeholder((3, 8), "uint8", name="A"), placeholder((8, 32), "int8", name="B"), reduce_axis(8, name="k")
    C = compute((3, 32), lambda i, j: sum_over(A[i, k].astype("int32") * B[k, j].astype("int32"), axis=k), name="C")
    workload = build([A, B, compute((3, 32), lambda i, j: C[i, j] * 3, name="D")])
    words = Split(axis="k", into=("ko", "kl"), factors=(2, 4))
    pieces = Split(axis="j", into=("jo", "jp"), factors=(2, 16))
    staging = Reindex(stage="C", reads="B", as_="B.pack", splits=(words, pieces), order=("jo", "ko", "jp", "kl"))
    inner = Nest(
        stage="C", at=At(stage="D", loop="jo"), splits=(words,), order=("i", "ko", "j", "kl"), start="ko",
        tensorize=Tensorize(loop="j", intrinsic="vnni.dot_16x4"),
    )  # fmt: skip
    outer = Nest(stage="D", splits=(attrs.evolve(pieces, into=("jo", "jl")),))
    with pytest.raises(SpecError, match="by no fixed step"):
        check_schedule(Schedule(stagings=(staging,), nests=(outer, inner)), workload)


@pytest.mark.skipif(not HERE, reason="this machine has no intrinsic")
@SLOW
@given(tensorized(HERE or OF_CPUS))
def test_tensorized_schedules_compute_the_task(drawn) -> None:
    task, schedule = drawn
    assert_lowers_correctly(schedule, task)


@pytest.mark.skipif(not any(one.name == "bf16.dot_16x2" for one in HERE), reason="this machine has no bfloat16")
def test_denormals_count_as_zero() -> None:
    """What `intrinsics.py` says of vdpbf16ps; the loops it stands for keep them."""
    import ml_dtypes

    from autosched.spec.tvm_call import built_function

    intrinsic = INTRINSICS["bf16.dot_16x2"]
    task = Task(workload=product(intrinsic), threads=1)
    A, B = np.full((3, 16), 2.0**-130, ml_dtypes.bfloat16), np.full((16, 32), 2.0, ml_dtypes.bfloat16)
    C = np.ones((3, 32), np.float32)
    built_function(packed(intrinsic), task)(A, B, C)
    assert (C == 0).all()
    assert (evaluate(task.workload, {"A": A, "B": B}, precise=True)["C"] > 0).all()


# --- code -------------------------------------------------------------------------------------------------------------

CPU = {"vnni.dot_8x4": ("znver5", "alderlake"), "vnni.dot_16x4": ("cascadelake", "znver4")}
INSTRUCTION = {"vnni": "vpdpbusd", "madd": "vpmaddwd", "bf16": "vdpbf16ps"}


@IS_X86
@each_intrinsic
def test_llvm_selects_the_instruction(intrinsic: Intrinsic) -> None:
    for cpu in CPU.get(intrinsic.name, ("znver4",)):
        task = Task(workload=product(intrinsic), threads=1, target=on(cpu))
        executable = compile_module(lower(packed(intrinsic), task).mod, tvm_target(task.target, 1))
        text = executable.mod.inspect_source("asm")
        register = {16: "zmm", 8: "ymm"}[intrinsic.lanes]
        assert re.search(rf"{INSTRUCTION[intrinsic.family]}\s.*%{register}", text)
        assert "autosched." not in text, "the function is inlined"


@IS_X86
@each_intrinsic
def test_a_cpu_that_lacks_it_is_refused(intrinsic: Intrinsic) -> None:
    task = Task(workload=product(intrinsic), threads=1, target=on("x86-64"))
    with pytest.raises(SpecError, match=r"needs avx.*lacks"):
        lower(packed(intrinsic), task)
    # Of what no target says anything the compiler is asked: LLVM itself would end the process.
    mod = lower(packed(intrinsic), task.workload).mod
    with pytest.raises(LoweringError, match=r"needs avx.*lacks"):
        compile_module(mod, tvm_target(task.target, 1))


def test_options_of_a_target_add_features() -> None:
    from autosched.spec.intrinsics import target_features

    def has(name: str, *options: tuple[str, str], kind: str = "llvm") -> bool | None:
        target = Target(kind=kind, options=tuple(TargetOption(name=n, value=v) for n, v in options))
        found = target_features(target)
        return None if found is None else is_had(INTRINSICS[name], found)

    assert has("vnni.dot_16x4") is None
    assert has("vnni.dot_16x4", ("mcpu", "a CPU of tomorrow")) is None
    assert has("vnni.dot_16x4", ("mcpu", "znver4")) is True
    assert has("vnni.dot_16x4", ("mcpu", "skylake-avx512")) is False
    assert has("vnni.dot_16x4", ("mattr", "+avx512vnni"), ("mcpu", "skylake-avx512")) is True
    assert has("vnni.dot_16x4", ("mattr", "-avx512vnni"), ("mcpu", "znver4")) is False
    assert has("vnni.dot_16x4", ("mtriple", "aarch64-linux-gnu")) is False
    assert has("vnni.dot_16x4", ("mcpu", "znver4"), ("mtriple", "amd64-linux-gnu")) is True
    assert has("vnni.dot_16x4", ("mcpu", "znver4"), ("mtriple", "X86_64-linux-gnu")) is True
    assert has("vnni.dot_16x4", ("arch", "sm_90"), kind="cuda") is False


# --- the word in files ------------------------------------------------------------------------------------------------


def test_a_file_with_it_is_of_version_2_and_fits_other_names() -> None:
    intrinsic = INTRINSICS["vnni.dot_16x4"]
    spec = SpecFile(task=Task(workload=product(intrinsic), threads=1), schedule=packed(intrinsic))
    text = text_from_spec(spec)
    assert '"version": 2' in text
    assert spec_from_text(text) == spec
    form = schedule_to_canonical(spec.schedule, spec.task.names)
    assert form.nests[0].tensorize is not None
    assert form.nests[0].tensorize.loop == form.stagings[0].splits[0].into[1]
    assert schedule_from_canonical(form, spec.task.names) == spec.schedule


def test_it_is_shown_compared_and_counted() -> None:
    intrinsic = INTRINSICS["vnni.dot_16x4"]
    spec = SpecFile(task=Task(workload=product(intrinsic), threads=1), schedule=packed(intrinsic))
    nest, copy = spec.schedule.nests
    plain = attrs.evolve(spec, schedule=attrs.evolve(spec.schedule, nests=(attrs.evolve(nest, tensorize=None), copy)))
    (change,) = compare_specs(spec, plain).schedule
    wanted = ("nest of C.acc, tensorize", "vnni.dot_16x4 (jl, kl)", None)
    assert (change.place, change.before, change.after) == wanted
    assert "tensorize vnni.dot_16x4 (jl, kl):" in text_from_plan(check_schedule(spec.schedule, spec.task.workload))
    assert "24 uses of vnni.dot_16x4" in text_from_costs(spec)


def test_inputs_are_what_the_intrinsics_take() -> None:
    for intrinsic in INTRINSICS.values():
        assert {a.dtype.name for a in random_inputs(intrinsic.computes, 0, ()).values()} == {
            buffer.dtype for buffer in intrinsic.computes.inputs
        }
