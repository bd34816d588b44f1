"""Whether an output is right: compared with a reference that TVM had no part in.

Small workloads are compared whole with the NumPy evaluator. On large ones the evaluator gives sampled points (corners,
edges of tiles, random), and the whole output is compared with that of an earlier schedule which passed the points.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[Any]

MAX_REPORTED: Final = 16
_CHUNK: Final = 2**14
"""Elements compared at once: what is computed on the way stays in the cache, and in memory that malloc keeps."""
_EDGES: Final = (8, 16, 32, 48, 64)
"""Tile sizes whose borders are looked at."""


@attrs.frozen(kw_only=True)
class Mismatch:
    """Where an output differs from its reference: `positions` are the first few, flat, of `count` in `total`."""

    output: str
    positions: tuple[int, ...]
    found: tuple[float, ...]
    expected: tuple[float, ...]
    count: int
    total: int

    def text(self, shape: Sequence[int]) -> str:
        """``C[3, 17] is 1.5, expected 1.25; 12 of 1024 elements differ``."""
        place = ", ".join(str(int(i)) for i in np.unravel_index(self.positions[0], tuple(shape)))
        return (
            f"{self.output}[{place}] is {self.found[0]:.9g}, expected {self.expected[0]:.9g}; "
            f"{self.count} of {self.total} elements differ"
        )


def compare(output: str, found: Array, expected: Array, rtol: float, atol: float) -> Mismatch | None:
    """None where ``abs(found - expected) <= atol + rtol * abs(expected)`` everywhere; nan equals nan, inf inf."""
    flat_found, flat_expected = found.reshape(-1), expected.reshape(-1)
    positions: list[int] = []
    count = 0
    for begin in range(0, flat_found.size, _CHUNK):
        wrong = _differences(flat_found[begin : begin + _CHUNK], flat_expected[begin : begin + _CHUNK], rtol, atol)
        count += len(wrong)
        positions += [begin + int(i) for i in wrong[: MAX_REPORTED - len(positions)]]
    if not count:
        return None
    return Mismatch(
        output=output,
        positions=tuple(positions),
        found=tuple(float(flat_found[i]) for i in positions),
        expected=tuple(float(flat_expected[i]) for i in positions),
        count=count,
        total=flat_found.size,
    )


def _differences(found: Array, expected: Array, rtol: float, atol: float) -> Array:
    """The positions that differ, of two flat arrays."""
    if expected.dtype.kind in "iub":
        distance = np.where(found > expected, found - expected, expected - found) if atol else found != expected
        return np.flatnonzero(distance > atol)
    if found.dtype.itemsize < 4:
        found = found.astype(np.float32)
        expected = expected.astype(np.float32, copy=False) if expected.dtype.itemsize < 4 else expected
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= atol + rtol * np.abs(expected)
        suspect = np.flatnonzero(~(near & np.isfinite(expected)))
        # What is beyond the dtype of the output is infinite there, as in a right answer.
        one, other = found[suspect], expected[suspect].astype(found.dtype)
        return np.asarray(suspect[~((one == other) | (np.isnan(one) & np.isnan(other)))])


def unwritten(output: str, found: Array) -> Mismatch | None:
    """The elements of a float output that are still the NaN it was filled with."""
    if found.dtype.kind in "iub":
        return None
    flat = found.reshape(-1)
    holes = np.concatenate(
        [begin + np.flatnonzero(np.isnan(flat[begin : begin + _CHUNK])) for begin in range(0, flat.size, _CHUNK)]
        or [np.zeros(0, dtype=np.intp)]
    )
    if not len(holes):
        return None
    first = tuple(int(i) for i in holes[:MAX_REPORTED])
    nans = (math.nan,) * len(first)
    return Mismatch(output=output, positions=first, found=nans, expected=nans, count=len(holes), total=flat.size)


def sample_points(shape: Sequence[int], count: int, seed: int) -> NDArray[np.int64]:
    """About `count` points of a box, (n, rank): its corners, points at edges of tiles, and random ones."""
    generator = np.random.default_rng(seed)
    corners = itertools.islice(itertools.product(*({0, extent - 1} for extent in shape)), count // 4)
    points = [list(corner) for corner in corners]
    for dimension, extent in enumerate(shape):
        edges = {edge for tile in _EDGES for edge in (tile - 1, tile, extent // tile * tile) if edge < extent}
        for edge in sorted(edges):
            point = [int(generator.integers(extent)) for extent in shape]
            point[dimension] = edge
            points.append(point)
    while len(points) < count:
        points.append([int(generator.integers(extent)) for extent in shape])
    return np.unique(np.array(points, dtype=np.int64).reshape(len(points), len(shape)), axis=0)
