"""What a contender is told and what it makes of it. Standard library only: peers may have other environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ArrayFile(TypedDict):
    """An input: the bytes of a row-major array, as a file of NumPy's."""

    path: str
    shape: list[int]
    dtype: str


class Order(TypedDict):
    """What to compute: an operator of ours with all its arguments, on which inputs, by how many threads.

    `specs` are spec files by the name of the kernel they make; only our own contender reads them. `found` is the folder
    with what a contender's own search has found, empty for those that do not search.
    """

    op: str
    args: dict[str, Any]
    inputs: list[ArrayFile]
    output: ArrayFile
    threads: int
    cpus: list[int]
    specs: dict[str, str]
    store: str
    found: str


class Found(TypedDict):
    """What a contender's own search came to: trials made, seconds from call to end, and whether it has a kernel."""

    trials: int
    wall_s: float
    version: str
    is_found: bool


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a contender runs: kernels by name, the output that each leaves, and the contender's version."""

    version: str
    kernels: Mapping[str, Callable[[], object]]
    output: Callable[[str], Any]
    """The array that the kernel of this name wrote last."""
