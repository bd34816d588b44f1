"""Tensor cores: tiles in fragments, proven by the loops that intrinsics stand for, and by running the source itself.

`assert_lowers_correctly` makes the kernel and then proves the numbers of its schedule without the calls; `emulate` runs
the kernel with its calls, barriers and threads, on fragments that are plain tiles.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest
import tvm
from hypothesis import HealthCheck, given, settings

from autosched.cli_cost import text_from_costs
from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.check import check_schedule
from autosched.spec.check_workload import check_workload
from autosched.spec.diff import compare_specs
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.intrinsics import INTRINSICS, Intrinsic
from autosched.spec.kernel import buffer_part, kernels, memory_bytes, register_bytes
from autosched.spec.rename import schedule_from_canonical, schedule_to_canonical
from autosched.spec.schedule import (
    FRAGMENTS,
    Accumulate,
    At,
    BindLoop,
    Nest,
    Pack,
    Reindex,
    Schedule,
    Split,
    Tensorize,
)
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from autosched.spec.task import target_from_value
from autosched.spec.testing import assert_lowers_correctly
from autosched.spec.tvm_build import compile_module, device_source, tvm_target
from autosched.spec.tvm_lower import lower
from cuda_on_cpu import Emulated, emulate
from wmma_products import DTYPES, Product, wmma_products

if TYPE_CHECKING:
    from pathlib import Path

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
NVCC = shutil.which("nvcc")
GXX = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
OF_WARPS = tuple(one for one in INTRINSICS.values() if one.of_warp)
FULL = Product(tiles=(2, 2), warps=(2, 2), steps=(3, 2), ahead=1, through="shared.dyn", align=8, transposed=True)
"""Four warps of four tiles each, everything that there is to say of them said."""
SHAPES = {
    "plain": Product(),
    "from global memory": Product(fetch=None),
    "transposed": Product(transposed=True),
    "two ahead": Product(ahead=2, steps=(3, 2)),
    "in tiles": Product(by_tiles=True, tiles=(2, 2)),
    "padded": Product(by_tiles=True, blocks=(2, 2), through="shared.dyn", spare=(3, 15, 5)),
    "through shared memory": FULL,
    "in one memory": Product(factor="float16", sums="float16", fetch="shared.dyn", through="shared.dyn"),
    "bfloat16": Product(factor="bfloat16", tiles=(2, 1)),
    "int8": Product(factor="int8", sums="int32", by_tiles=True, through="shared.dyn"),
}

each_shape = pytest.mark.parametrize("product", SHAPES.values(), ids=SHAPES)


def source_of(product: Product) -> str:
    """The kernel of a product."""
    task = product.task()
    return device_source(compile_module(lower(product.schedule(), task).mod, tvm_target(task.target, 1)))


def spec_of(product: Product) -> SpecFile:
    return SpecFile(task=product.task(), schedule=product.schedule())


# --- the registry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intrinsic", OF_WARPS, ids=lambda one: one.name)
def test_what_an_intrinsic_computes_is_a_workload(intrinsic: Intrinsic) -> None:
    check_workload(intrinsic.computes)
    assert [axis.extent for axis in intrinsic.loops] == [16] * len(intrinsic.loops)
    assert intrinsic.scopes.keys() == set(intrinsic.computes.params)
    held = [name for name, scopes in intrinsic.scopes.items() if scopes[0] in FRAGMENTS]
    assert len(held) == (3 if intrinsic.stage.reduce else 1)
    assert all(len(intrinsic.scopes[name]) == 1 for name in held)
    assert [intrinsic.axes_of(name) for name in intrinsic.computes.params] == (
        [("i", "k"), ("k", "j"), ("i", "j")] if intrinsic.stage.reduce else [("r", "c"), ("r", "c")]
    )


# --- numbers ----------------------------------------------------------------------------------------------------------


@SLOW
@given(wmma_products())
def test_products_are_right(product: Product) -> None:
    assert_lowers_correctly(product.schedule(), product.task())


@pytest.mark.slow
@GXX
@each_shape
def test_the_source_is_right_and_its_threads_meet_at_its_barriers(product: Product, tmp_path: Path) -> None:
    source = source_of(product)
    assert emulate(source, tmp_path, product.launch) == Emulated(right=True, raced=False)
    if product.fetch is not None:
        assert emulate(source.replace("__syncthreads();", ""), tmp_path, product.launch).raced


@pytest.mark.slow
@GXX
@settings(SLOW, max_examples=10)
@given(wmma_products())
def test_the_sources_of_any_products_are_right(tmp_path_factory: pytest.TempPathFactory, product: Product) -> None:
    alone = attrs.evolve(product, bias=False)  # the kernel that is emulated takes A, B and C
    folder = tmp_path_factory.mktemp("kernel")
    assert emulate(source_of(alone), folder, alone.launch) == Emulated(right=True, raced=False)


@pytest.mark.slow
@GXX
def test_another_tile_or_layout_is_found(tmp_path: Path) -> None:
    """What the emulation is there to find, and the loops do not: calls that name another tile, or read it turned."""
    source = source_of(SHAPES["plain"])
    for right, wrong in (
        ("B_frag_wmma_matrix_b_ptr[1], C_acc", "B_frag_wmma_matrix_b_ptr[0], C_acc"),
        ("half, nvcuda::wmma::row_major> B_frag", "half, nvcuda::wmma::col_major> B_frag"),
    ):
        assert source.count(right) == 1
        assert not emulate(source.replace(right, wrong), tmp_path, SHAPES["plain"].launch).right


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("factor", "sums"), DTYPES)
@pytest.mark.skipif(NVCC is None, reason="no nvcc on the path; the wheel nvidia-cuda-nvcc has one")
def test_nvcc_takes_the_source(arch: str, factor: str, sums: str, tmp_path: Path) -> None:
    product = attrs.evolve(FULL, factor=factor, sums=sums, by_tiles=factor == "int8", align=None, arch=arch)
    kernel = tmp_path / "kernel.cu"
    kernel.write_text(source_of(product), encoding="utf-8")
    command = [str(NVCC), f"-arch={arch}", "-cubin", "-o", str(tmp_path / "kernel.cubin"), str(kernel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.device
@pytest.mark.skipif(not tvm.cuda(0).exist, reason="no CUDA device")
@each_shape
def test_a_product_runs_on_the_device(product: Product) -> None:
    import numpy as np

    from autosched.spec.evaluate import evaluate
    from autosched.spec.inputs import random_inputs
    from autosched.spec.testing_lowering import assert_close

    task = product.task()
    inputs = random_inputs(task.workload, 0, ())
    executable = compile_module(lower(product.schedule(), task).mod, tvm_target(task.target, 1))
    result = np.zeros(task.workload.buffers["C"].shape, evaluate(task.workload, inputs)["C"].dtype)
    tensors = [tvm.runtime.tensor(array, tvm.cuda(0)) for array in (inputs["A"], inputs["B"], result)]
    executable.jit()["main"](*tensors)
    assert_close({"C": tensors[2].numpy()}, task.workload, inputs)


def test_indices_may_be_of_64_bits() -> None:
    task = FULL.task()
    wide = attrs.evolve(task, workload=attrs.evolve(task.workload, index_dtype="int64"))
    assert_lowers_correctly(FULL.schedule(), wide)


def test_a_window_is_read_from_shared_memory() -> None:
    """A convolution along w: three tiles of X begin at neighbouring rows of one piece of it in shared memory."""
    X, W = placeholder((34, 32), "float16", name="X"), placeholder((3, 16, 32), "float16", name="W")
    r, c = reduce_axis(3, name="r"), reduce_axis(32, name="c")

    def body(w, k):
        return sum_over(X[w + r, c].astype("float32") * W[r, k, c].astype("float32"), axis=(r, c))

    workload = build([X, W, compute((32, 16), body, name="Y")])
    stagings = (
        Accumulate(stage="Y", as_="Y.acc", order=("w", "k")),
        Pack(stage="Y.acc", reads="X", as_="X.sh", dims=("w", "c"), order=("w", "c")),
        Reindex(stage="Y.acc", reads="X.sh", as_="X.frag", order=("r", "w", "c")),
        Reindex(stage="Y.acc", reads="W", as_="W.frag", order=("r", "c", "k")),
    )
    step = At(stage="Y.acc", loop="co")
    sums = Nest(
        stage="Y.acc",
        splits=(
            Split(axis="w", into=("ww", "wl"), factors=(2, 16)),
            Split(axis="c", into=("co", "cl"), factors=(2, 16)),
        ),
        order=("ww", "r", "co", "wl", "k", "cl"),
        bind=(BindLoop(loop="ww", to="threadIdx.y"),),
        start="r",
        scope="wmma.accumulator",
        tensorize=Tensorize(loop="wl", intrinsic="wmma.mma_16x16x16_f16_f32"),
    )
    fetch = Nest(
        stage="X.sh",
        at=At(stage="Y.acc", loop="ww"),
        scope="shared",
        splits=(Split(axis="w", into=("wo", "wy"), factors=(17, 2)),),
        bind=(BindLoop(loop="wy", to="threadIdx.y"), BindLoop(loop="c", to="threadIdx.x")),
    )
    a, b = (Tensorize(loop=loop, intrinsic=f"wmma.load_{side}_16x16x16_f16") for loop, side in (("w", "a"), ("c", "b")))
    nests = (
        sums,
        fetch,
        Nest(stage="X.frag", at=step, scope="wmma.matrix_a", tensorize=a),
        Nest(stage="W.frag", at=step, scope="wmma.matrix_b", tensorize=b),
        Nest(
            stage="Y",
            at=At(stage="Y.acc", loop="ww"),
            tensorize=Tensorize(loop="w", intrinsic="wmma.store_16x16x16_f32"),
        ),
    )
    assert_lowers_correctly(Schedule(stagings=stagings, nests=nests), attrs.evolve(FULL.task(), workload=workload))


# --- code and what it takes -------------------------------------------------------------------------------------------


def test_lanes_are_there_though_no_loop_is_bound_to_them() -> None:
    """Without copies into shared memory the schedule has warps only; the kernel has 32 threads for each."""
    product = Product(fetch=None, warps=(2, 2))
    assert all("threadIdx.x" not in str(nest.bind) for nest in product.schedule().nests)
    assert "__launch_bounds__(128)" in source_of(product)


def test_tiles_are_counted_as_they_are_in_the_source() -> None:
    plan = check_schedule(FULL.schedule(), FULL.task())
    (kernel,) = kernels(plan)
    assert {nest.stage.name: buffer_part(plan, nest) for nest in kernel.nests} == {
        "A.sh": (64, 32), "B.sh": (64, 32), "A.frag": (32, 16), "B.frag": (16, 32), "C.acc": (32, 32), "C.sh": (64, 64),
        "C": (64, 64),
    }  # fmt: skip
    assert kernel.threads == {"threadIdx.x": 32, "threadIdx.y": 4}
    assert memory_bytes(plan, kernel, "shared") == 2 * (64 * 72 + 64 * 72) * 2
    assert memory_bytes(plan, kernel, "shared.dyn") == 64 * 64 * 4
    assert register_bytes(plan, kernel) == 2 * 32 + 2 * 32 + 4 * 32
    source = source_of(FULL)
    assert "accumulator, 16, 16, 16, float> C_acc_wmma_accumulator_ptr[4];" in source
    assert "matrix_a, 16, 16, 16, half, nvcuda::wmma::row_major> A_frag_wmma_matrix_a_ptr[2];" in source
    assert "matrix_b, 16, 16, 16, half, nvcuda::wmma::col_major> B_frag_wmma_matrix_b_ptr[2];" in source
    sizes = {int(size) for size in re.findall(r"half A_sh_shared_ptr\[(\d+)\]", source)}
    assert sizes == {2 * 64 * 72}


def test_the_sum_starts_from_its_value() -> None:
    product = Product(fetch=None, warps=(1, 1), tiles=(1, 1))
    task = product.task()
    (stage,) = task.workload.stages
    assert stage.reducer is not None
    three = attrs.evolve(
        stage, reducer=attrs.evolve(stage.reducer, init=(attrs.evolve(stage.reducer.init[0], text="3.0"),))
    )
    other = attrs.evolve(task, workload=attrs.evolve(task.workload, stages=(three,)))
    assert_lowers_correctly(product.schedule(), other)
    source = device_source(compile_module(lower(product.schedule(), other).mod, tvm_target(task.target, 1)))
    assert "fill_fragment(C_acc_wmma_accumulator_ptr[0], 0x1.8p+1f" in source


def test_costs_are_those_of_the_checks() -> None:
    text = text_from_costs(spec_of(FULL))
    assert (
        "kernel of C.acc: 2 blocks of 128 threads (32 x 4), 36864 bytes shared, 16384 bytes dynamic shared, "
        "256 bytes fragments, 64 registers, in a thread"
    ) in text
    assert "A.frag: 24576 steps, 96 uses of wmma.load_a_16x16x16_f16, wmma.matrix_a buffer 64 B" in text
    assert "C.acc: 786432 steps, 4 copies of the body, tile it 2 x jt 2, 192 uses of wmma.mma_16x16x16_f16_f32" in text


def test_a_target_names_its_architecture_and_is_asked_again_when_code_is_made() -> None:
    product = Product(factor="bfloat16")
    task = attrs.evolve(product.task(), target=target_from_value("cuda"))
    with pytest.raises(SpecError, match="needs sm_80, which target cuda lacks; name an architecture that has it"):
        lower(product.schedule(), task)
    mod = lower(product.schedule(), product.task()).mod
    with pytest.raises(LoweringError, match=r"needs sm_80, which the target lacks: .*sm_75"):
        compile_module(mod, tvm_target(target_from_value({"kind": "cuda", "arch": "sm_75"}), 1))


# --- the words in files -----------------------------------------------------------------------------------------------


def test_a_file_with_them_is_of_version_2_and_fits_other_names() -> None:
    spec = spec_of(FULL)
    text = text_from_spec(spec)
    assert '"version": 2' in text
    assert spec_from_text(text) == spec
    form = schedule_to_canonical(spec.schedule, spec.task.names)
    assert schedule_from_canonical(form, spec.task.names) == spec.schedule


def test_a_difference_of_fragments_in_words() -> None:
    changes = compare_specs(spec_of(Product()), spec_of(Product(factor="float16", sums="float16"))).schedule
    assert (
        "nest of C.acc, tensorize",
        "wmma.mma_16x16x16_f16_f32 (il, jl, kl)",
        "wmma.mma_16x16x16_f16_f16 (il, jl, kl)",
    ) in [(change.place, change.before, change.after) for change in changes]
