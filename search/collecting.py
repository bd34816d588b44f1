"""Python's collector of cycles, during work that makes many objects and keeps them."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

YOUNG: Final = 100_000
"""New objects after which the youngest are looked through; Python's own number is 700."""


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Looks for cycles less often, as analysing candidates makes next to none: a fifth of its time otherwise."""
    before = gc.get_threshold()
    if before[0]:  # 0: whoever calls has turned the collector off
        gc.set_threshold(max(before[0], YOUNG), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
