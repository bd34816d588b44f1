"""Sums of products of arrays, each on its own axes: pairs are multiplied as (batched) matrices.

``Y[n, k, h, w] += X[n, c, h + r, w + s] * W[k, c, r, s]`` is one matrix product of a strided window view of X and W.
Arrays have one dimension for each axis of the stage, of size 1 where an array does not depend on the axis.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .numerics import Array

EXACT_IN_FLOAT64 = 2.0**53
"""Whole numbers up to here are exact in float64, so integer products below it may use BLAS: 30 times faster."""


def contract(factors: Sequence[Array], extents: Sequence[int], keep: Collection[int]) -> Array:
    """The sum, over the dimensions not in `keep`, of the product of `factors`; summed dimensions are left with size 1.

    A dimension that no factor has is summed `extents` times. Integers wrap as their type does.
    """
    terms = list(factors)
    missing = math.prod(
        extents[d] for d in range(len(extents)) if d not in keep and all(term.shape[d] == 1 for term in terms)
    )
    while len(terms) > 1:
        i, j = min(itertools.combinations(range(len(terms)), 2), key=lambda pair: _growth(terms, pair, keep))
        b, a = terms.pop(j), terms.pop(i)
        needed = set(keep).union(*(_dims(term) for term in terms))
        terms.append(_pair(a, b, needed))
    (result,) = terms
    result = _summed(result, _dims(result) - set(keep))
    return result if missing == 1 else np.multiply(result, np.asarray(missing).astype(result.dtype))


def _dims(array: Array) -> set[int]:
    return {d for d, size in enumerate(array.shape) if size > 1}


def _growth(terms: Sequence[Array], pair: tuple[int, int], keep: Collection[int]) -> int:
    """Elements gained by multiplying two terms first: what the greedy order keeps small."""
    a, b = terms[pair[0]], terms[pair[1]]
    others = set(keep).union(*(_dims(term) for n, term in enumerate(terms) if n not in pair))
    result = math.prod(max(a.shape[d], b.shape[d]) for d in (_dims(a) | _dims(b)) & others)
    return int(result - a.size - b.size)


def _summed(array: Array, dims: Collection[int]) -> Array:
    return array.sum(axis=tuple(sorted(dims)), keepdims=True, dtype=array.dtype) if dims else array


def _pair(a: Array, b: Array, keep: set[int]) -> Array:
    """The product of two terms, summed over the dimensions that nobody needs any more."""
    a = _summed(a, _dims(a) - _dims(b) - keep)
    b = _summed(b, _dims(b) - _dims(a) - keep)
    shared = _dims(a) & _dims(b)
    inner = sorted(shared - keep)
    if not inner:
        return a * b
    batch = sorted(shared & keep)
    rows, columns = sorted(_dims(a) - shared), sorted(_dims(b) - shared)
    left = _as_matrices(a, batch, rows, inner)
    right = _as_matrices(b, batch, inner, columns)
    product = _matmul(left, right)
    order = [*batch, *rows, *columns]
    rest = [d for d in range(a.ndim) if d not in order]
    sizes = [max(a.shape[d], b.shape[d]) for d in order] + [1] * len(rest)
    return product.reshape(sizes).transpose(np.argsort([*order, *rest]))


def _as_matrices(array: Array, batch: list[int], rows: list[int], columns: list[int]) -> Array:
    rest = [d for d in range(array.ndim) if d not in {*batch, *rows, *columns}]
    moved = array.transpose([*batch, *rows, *columns, *rest])
    sizes = [math.prod(array.shape[d] for d in group) for group in (rows, columns)]
    return moved.reshape([*(array.shape[d] for d in batch), *sizes])


def _matmul(a: Array, b: Array) -> Array:
    product: Array
    if a.dtype.kind == "f":
        product = np.matmul(a, b)
        return product
    wide = (a.astype(np.float64), b.astype(np.float64))
    bound = float(np.abs(wide[0]).max()) * float(np.abs(wide[1]).max()) * a.shape[-1]
    if bound < EXACT_IN_FLOAT64:
        product = np.matmul(*wide)
        return product.astype(np.int64).astype(a.dtype)
    product = np.matmul(a, b)
    return product
