"""The inputs that contenders other than ours are given. NumPy and the standard library only, as peers may have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .opened import ArrayFile, Order


def input_arrays(order: Order) -> list[np.ndarray[Any, Any]]:
    """The inputs of an order, in its order of parameters, in memory of their own."""
    return [_read(file) for file in order["inputs"]]


def output_array(order: Order) -> np.ndarray[Any, Any]:
    """An output of the right shape that holds NaN."""
    return np.full(order["output"]["shape"], np.nan, dtype=order["output"]["dtype"])


def _read(file: ArrayFile) -> np.ndarray[Any, Any]:
    raw: np.ndarray[Any, Any] = np.load(file["path"], allow_pickle=False)
    return raw.view(file["dtype"]).reshape(file["shape"])
