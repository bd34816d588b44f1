"""Built functions in a user's process: any array goes in at any alignment, wrong ones are errors, threads are right."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tvm

from autosched.nn.registry import get_task
from autosched.search.default import default_schedule
from autosched.spec.errors import LoweringError, SpecError
from autosched.spec.schedule import Schedule
from autosched.spec.task import Target
from autosched.spec.tvm_build import pool_threads
from autosched.spec.tvm_call import BuiltFunction, built_function

import attrs  # isort: skip

TASK = get_task("gemm", N=24, K=20, M=40)
SCHEDULE = default_schedule(TASK)


@pytest.fixture(scope="module")
def function() -> BuiltFunction:
    return built_function(SCHEDULE, TASK)


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, dtype="float32") for shape in ((24, 20), (20, 40)))
    return [a, b, np.full((24, 40), np.nan, dtype="float32")]


def expect(arrays: list[np.ndarray], found: np.ndarray) -> None:
    np.testing.assert_allclose(found, arrays[0] @ arrays[1], rtol=1e-4, atol=1e-5)


def moved(array: np.ndarray, offset: int) -> np.ndarray:
    """A copy that lies `offset` bytes past a 64-byte boundary."""
    memory = np.zeros(array.nbytes + 128, dtype=np.uint8)
    begin = -memory.ctypes.data % 64 + offset
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % 64 == offset % 64
    return copy


@pytest.mark.parametrize("offset", [0, 4, 16, 36])
def test_any_alignment(function: BuiltFunction, arrays: list[np.ndarray], offset: int) -> None:
    a, b, c = (moved(array, offset) for array in arrays)
    function(a, b, c)
    expect(arrays, c)


def test_tensors_and_dlpack(function: BuiltFunction, arrays: list[np.ndarray]) -> None:
    class Other:
        """Nothing but DLPack."""

        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: object) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    a, b, c = arrays
    function(tvm.runtime.tensor(a), Other(b), c)
    expect(arrays, c)


def test_a_read_only_input_is_read_and_stays(function: BuiltFunction, arrays: list[np.ndarray]) -> None:
    a, b, c = arrays
    a.flags.writeable = False
    function(a, b, c)
    expect(arrays, c)
    assert not a.flags.writeable


@pytest.mark.parametrize(
    ("position", "make", "message"),
    [
        (0, lambda x: x[:, :10], r"A: found \(24, 10\) float32, need \(24, 20\) float32"),
        (1, lambda x: x.astype("float64"), r"B: found \(20, 40\) float64, need \(20, 40\) float32"),
        (1, np.asfortranarray, r"B: is not contiguous, row-major; pass numpy.ascontiguousarray"),
        (2, lambda x: np.zeros((24, 80), "float32")[:, ::2], "C: is not contiguous"),
        (0, lambda x: x.astype(">f4"), "A: has swapped bytes"),
        (0, lambda x: x.tolist(), "A: found a list; give a NumPy array, a TVM tensor or an object with DLPack"),
        (2, lambda x: None, "C: found a NoneType"),
        (2, lambda x: tvm.runtime.tensor(np.zeros((24, 41), "float32")), r"C: found \(24, 41\) float32"),
    ],
)
def test_a_wrong_argument_is_an_error(
    function: BuiltFunction, arrays: list[np.ndarray], position: int, make: object, message: str
) -> None:
    given: list[object] = list(arrays)
    given[position] = make(arrays[position])  # type: ignore[operator]
    with pytest.raises(SpecError, match=message):
        function(*given)
    if position != 2:
        assert np.isnan(arrays[2]).all(), "nothing ran"


def test_a_read_only_output_is_an_error(function: BuiltFunction, arrays: list[np.ndarray]) -> None:
    arrays[2].flags.writeable = False
    with pytest.raises(SpecError, match="C: is an output but read-only"):
        function(*arrays)


def test_an_output_that_overlaps_an_input_is_an_error(arrays: list[np.ndarray]) -> None:
    task = get_task("gemm", N=24, K=24, M=24)
    function = built_function(default_schedule(task), task)
    memory = np.zeros(24 * 24 + 24, dtype="float32")
    a, c = memory[: 24 * 24].reshape(24, 24), memory[24:].reshape(24, 24)
    with pytest.raises(SpecError, match="C: shares memory with A; give it its own"):
        function(a, a.copy(), c)
    function(a, a, a.copy())


def test_the_number_of_arguments(function: BuiltFunction, arrays: list[np.ndarray]) -> None:
    with pytest.raises(SpecError, match=r"2 arguments; give 3, inputs first: A: \(24, 20\) float32, B: "):
        function(*arrays[:2])


def test_bfloat16_goes_through(arrays: list[np.ndarray]) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    task = get_task("gemm", N=8, K=8, M=8, dtype="bfloat16")
    function = built_function(default_schedule(task), task)
    a, b, c = (np.ones((8, 8), dtype=ml_dtypes.bfloat16) for _ in range(3))
    function(a, b, c)
    assert (c.astype("float32") == 8).all()


def test_a_target_that_cannot_be_built_for() -> None:
    with pytest.raises(SpecError, match=r"target.*: TVM .* does not take it"):
        built_function(SCHEDULE, attrs.evolve(TASK, target=Target(kind="abacus")))


def test_a_library_that_cannot_be_written(function: BuiltFunction) -> None:
    with pytest.raises(LoweringError, match=r"cannot be written: .*; it takes a C compiler"):
        function.export_library("/no/such/folder/x.so")


def test_every_thread_that_calls_gets_the_task_s_threads(function: BuiltFunction, arrays: list[np.ndarray]) -> None:
    before = os.sched_getaffinity(0)
    found: list[int] = []

    def call() -> None:
        function(*arrays)
        found.append(pool_threads())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    function(*arrays)
    expect(arrays, arrays[2])
    assert found == [TASK.threads]
    assert os.sched_getaffinity(0) == before


PROGRAM = """
import os, sys, numpy as np
sys.modules["torch"] = None  # see conftest.py
import tvm
from autosched.nn.registry import get_task
from autosched.spec.schedule import BindLoop, Nest, Schedule
from autosched.spec.tvm_call import built_function
from autosched.spec.tvm_build import pool_threads
if {small}:
    assert tvm.get_global_func("runtime.NumThreads")() <= os.cpu_count()  # starts the pool, with half of the cores
before = os.sched_getaffinity(0)
task = get_task("gemm", N=64, K=64, M=64)
function = built_function(Schedule(nests=(Nest(stage="C", bind=(BindLoop(loop="i", to="parallel"),)),)), task)
a = np.ones((64, 64), "float32"); c = np.empty_like(a)
function(a, a, c)
assert (c == 64).all()
assert os.sched_getaffinity(0) == before, os.sched_getaffinity(0)
"""


@pytest.mark.system
@pytest.mark.parametrize("small", [False, True])
def test_a_process_of_its_own(small: bool) -> None:
    """Right numbers and nothing changed, also where somebody has started TVM's pool before with fewer threads."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(small=small)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_gpus_function_is_not_built() -> None:
    task = get_task("gemm", N=16, K=8, M=16, target={"kind": "cuda", "arch": "sm_80"}, threads=1)
    with pytest.raises(SpecError) as caught:
        built_function(Schedule(), task)
    assert str(caught.value) == (
        "target.kind: found 'cuda'; functions are built for the CPU so far; lower --cuda prints kernels"
    )
