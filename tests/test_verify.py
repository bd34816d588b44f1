"""Comparing outputs: what counts as right, where a wrong one is reported, and what guards a buffer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.search.buffers import ALIGN_BYTES, GuardedBuffer
from autosched.search.reference import OutputReference, Reference, load_inputs, load_outputs
from autosched.search.verify import MAX_REPORTED, compare, sample_points, unwritten
from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.dtypes import DTYPES, is_float
from autosched.spec.numerics import array_dtype
from autosched.spec.task import Task
from autosched.spec.workload import Buffer

if TYPE_CHECKING:
    from pathlib import Path


def gemm(M: int, N: int, K: int) -> Task:
    A, B = placeholder((M, K), name="A"), placeholder((K, N), name="B")
    k = reduce_axis(K, name="k")
    C = compute((M, N), lambda i, j: sum_over(A[i, k] * B[k, j], axis=k), name="C")
    return Task(workload=build([A, B, C]), threads=1)


def test_equal_outputs_agree() -> None:
    values = np.array([1.0, -0.0, np.nan, np.inf, -np.inf], dtype=np.float32)
    assert compare("Y", values, values.copy(), 0.0, 0.0) is None


def test_an_output_overflows_where_its_dtype_ends() -> None:
    expected = np.array([1e39, -1e39])
    assert compare("Y", np.array([np.inf, -np.inf], dtype=np.float32), expected, 0.0, 0.0) is None
    assert compare("Y", np.array([np.inf, np.inf], dtype=np.float32), expected, 0.0, 0.0) is not None


@pytest.mark.parametrize(
    ("found", "expected"),
    [(1.0, 1.1), (np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (1e30, np.inf)],
)
def test_different_values_do_not(found: float, expected: float) -> None:
    wrong = compare("Y", np.array([found], dtype=np.float32), np.array([expected]), 1e-3, 1e-3)
    assert wrong is not None
    assert (wrong.count, wrong.positions) == (1, (0,))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
def test_integers_are_exact_unless_allowed(dtype: type) -> None:
    one, other = np.array([0, 1], dtype=dtype), np.array([1, 1], dtype=dtype)
    assert compare("Y", one, one, 0.0, 0.0) is None
    assert compare("Y", one, other, 0.0, 0.0) is not None
    assert compare("Y", other, one, 0.0, 0.0) is not None
    if dtype is not np.bool_:
        assert compare("Y", one, other, 0.0, 1.0) is None
        assert compare("Y", other, one, 0.0, 1.0) is None, "unsigned subtraction must not wrap"


@given(st.integers(1, 3000), st.data())
def test_every_wrong_element_is_found(size: int, data: st.DataObject) -> None:
    """Wherever it is, in chunks of any number."""
    wrong_at = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=40))
    expected = np.arange(size, dtype=np.float64)
    found = expected.astype(np.float32)
    found[sorted(wrong_at)] += 1
    result = compare("Y", found, expected, 1e-6, 1e-6)
    assert result is not None
    assert result.count == len(wrong_at)
    assert result.positions == tuple(sorted(wrong_at))[:MAX_REPORTED]
    assert result.found == tuple(float(found[i]) for i in result.positions)


def test_errors_beyond_the_first_chunk_have_their_place() -> None:
    expected = np.zeros((1100, 1000))
    found = expected.astype(np.float32)
    found[1099, 999] = 1
    wrong = compare("Y", found, expected, 0.0, 0.1)
    assert wrong is not None
    assert wrong.text(found.shape) == "Y[1099, 999] is 1, expected 0; 1 of 1100000 elements differ"


def test_unwritten_elements_are_seen() -> None:
    assert unwritten("Y", np.zeros(3, dtype=np.float32)) is None
    assert unwritten("Y", np.zeros(3, dtype=np.int32)) is None
    hole = unwritten("Y", np.array([[0, 1], [np.nan, 2]], dtype=np.float16))
    assert hole is not None
    assert hole.positions == (2,)


@given(st.lists(st.integers(1, 300), min_size=0, max_size=5), st.integers(16, 200), st.integers(0, 5))
def test_sampled_points_are_inside_and_hold_the_corners(shape: list[int], count: int, seed: int) -> None:
    points = sample_points(shape, count, seed)
    assert points.dtype == np.int64
    assert points.shape[1] == len(shape)
    assert np.all((points >= 0) & (points < np.array(shape, dtype=np.int64)))
    assert len(np.unique(points, axis=0)) == len(points)
    if 2 ** len(shape) <= count // 4:
        assert {tuple(point) for point in points.tolist()} >= {(0,) * len(shape), tuple(e - 1 for e in shape)}
    assert np.array_equal(points, sample_points(shape, count, seed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_a_buffer_is_guarded_aligned_and_starts_as_nonsense(dtype: str, shape: tuple[int, ...]) -> None:
    buffer = GuardedBuffer(Buffer(name="Y", shape=shape, dtype=dtype))
    buffer.erase()
    assert buffer.data.ctypes.data % ALIGN_BYTES == 0
    assert buffer.array().shape == shape
    assert buffer.is_intact()
    if is_float(dtype):
        assert np.isnan(buffer.array().astype(np.float64)).all()
    values = np.ones(shape, dtype=array_dtype(dtype))
    buffer.load(values)
    assert np.array_equal(buffer.array(), values)
    assert buffer.is_intact()


@pytest.mark.parametrize("offset", [-1, -4096, 0, 4095])
def test_a_byte_outside_is_seen(offset: int) -> None:
    buffer = GuardedBuffer(Buffer(name="Y", shape=(13,), dtype="int8"))
    buffer.erase()
    place = buffer._begin + offset + (13 if offset >= 0 else 0)
    buffer._memory[place] = 0
    assert not buffer.is_intact()


def test_a_checksum_sees_a_changed_element() -> None:
    buffer = GuardedBuffer(Buffer(name="X", shape=(1001,), dtype="float32"))
    buffer.load(np.arange(1001, dtype=np.float32))
    for place in (0, 500, 1000):
        before = buffer.checksum()
        buffer.array()[place] += 1
        assert buffer.checksum() != before


@pytest.fixture(params=[10**9, 0], ids=["whole", "points"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Reference, OutputReference]:
    task = gemm(37, 53, 29)
    reference = Reference(task, tmp_path, whole_points=request.param).write()
    return reference, load_outputs(task, tmp_path)["C"]


def test_the_right_output_passes(shared: tuple[Reference, OutputReference], tmp_path: Path) -> None:
    reference, output = shared
    inputs = load_inputs(reference.task, tmp_path)
    A, B = (inputs[name].array() for name in "AB")
    assert np.array_equal(A, reference.inputs["A"])
    assert output.mismatch(A @ B) == (None, False)


def test_a_wrong_corner_does_not(shared: tuple[Reference, OutputReference]) -> None:
    reference, output = shared
    C = reference.inputs["A"] @ reference.inputs["B"]
    C[-1, -1] += 1e-3
    wrong, disputed = output.mismatch(C)
    assert wrong is not None
    assert (wrong.positions, wrong.count, disputed) == ((37 * 53 - 1,), 1, False)


def test_disputes_are_settled_by_the_evaluator(shared: tuple[Reference, OutputReference]) -> None:
    reference, _ = shared
    C = (reference.inputs["A"] @ reference.inputs["B"]).reshape(-1)
    places = [0, 54, 700]
    assert reference.settles_for("C", places, [float(C[i]) for i in places])
    assert not reference.settles_for("C", places, [float(C[i]) + 0.01 for i in places])


def test_nan_that_belongs_there_is_right(tmp_path: Path) -> None:
    reference = OutputReference(
        name="Y", rtol=0.0, atol=0.0, expected=np.array([math.nan, 1.0]), points=None, agreed=None
    )
    assert reference.mismatch(np.array([math.nan, 1.0], dtype=np.float32)) == (None, False)
