"""The task: the result asked for, and everything about the request that may change the fastest schedule."""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias

import attrs

from .canonical import Names, canonical, canonical_names, identity
from .workload import Workload

Option: TypeAlias = str | int | bool


@attrs.frozen(kw_only=True)
class TargetOption:
    """One option of a target, as ``mcpu`` = ``znver5``."""

    name: str
    value: Option


@attrs.frozen(kw_only=True)
class Target:
    """What code is made for: TVM's target kind and the options that the user set (sorted by name)."""

    kind: str = "llvm"
    options: tuple[TargetOption, ...] = ()


@attrs.frozen(kw_only=True)
class ValueRange:
    """The values that an integer input may hold, both ends included."""

    buffer: str
    low: int
    high: int


@attrs.frozen(kw_only=True)
class Argument:
    """A named argument of an operator."""

    name: str
    value: int | str | bool | float | tuple[int, ...]


@attrs.frozen(kw_only=True)
class OperatorCall:
    """The operator a task was made by; for people only, never part of the identity."""

    name: str
    args: tuple[Argument, ...] = ()


@attrs.frozen(kw_only=True)
class Task:
    """A workload for a target and a number of threads, with what is known of its inputs.

    `constants` are inputs that keep their value from call to call (weights); `ranges` bound integer inputs.
    """

    workload: Workload
    target: Target = Target()
    threads: int
    constants: tuple[str, ...] = ()
    ranges: tuple[ValueRange, ...] = ()
    op: OperatorCall | None = None

    @cached_property
    def identity(self) -> str:
        """The workload's identity."""
        return identity(self.workload)

    @cached_property
    def names(self) -> Names:
        """The workload's names → canonical ones."""
        return canonical_names(self.workload)

    @cached_property
    def canonical_workload(self) -> Workload:
        """The workload in canonical names."""
        return canonical(self.workload)
