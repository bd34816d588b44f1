"""The task: the result asked for, and everything about the request that may change the fastest schedule."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .canonical import Names, canonical_identity, canonical_names, renamed
from .errors import SpecError
from .printable import check_printable
from .sequences import as_tuples
from .workload import Workload

if TYPE_CHECKING:
    from .tvm_names import te, tirx

Option: TypeAlias = str | int | bool


@attrs.frozen(kw_only=True)
class TargetOption:
    """One option of a target, as ``mcpu`` = ``znver5``."""

    name: str = attrs.field(validator=check_printable)
    value: Option = attrs.field(validator=check_printable)


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class Target:
    """What code is made for: TVM's target kind and the options that the user set (sorted by name)."""

    kind: str = attrs.field(default="llvm", validator=check_printable)
    options: tuple[TargetOption, ...] = ()


CPU: Final = Target()
"""This machine's CPU."""


def target_from_value(value: object) -> Target:
    """The record of a target given as a kind (``"llvm"``) or as TVM's dict (``{"kind": "llvm", "mcpu": "znver5"}``).

    Whether some TVM can build for it is not asked here; options are kept sorted by name.
    """
    if isinstance(value, Target):
        return value
    config = {"kind": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
    kind = config.pop("kind", None)
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", kind):
        raise SpecError(
            f'{value!r} is no target; write a kind ("llvm") or a dict ({{"kind": "llvm", "mcpu": "znver5"}})', "target"
        )
    for name, option in config.items():
        if type(name) is not str or type(option) not in (str, int, bool):
            raise SpecError(f"option {name!r} is {option!r}; allowed: a text, a whole number, true or false", "target")
    options = sorted(config.items())
    return Target(kind=kind, options=tuple(TargetOption(name=name, value=option) for name, option in options))


@attrs.frozen(kw_only=True)
class ValueRange:
    """The values that an integer input may hold, both ends included."""

    buffer: str
    low: int
    high: int


@attrs.frozen(kw_only=True)
class Argument:
    """A named argument of an operator."""

    name: str = attrs.field(validator=check_printable)
    value: int | str | bool | float | tuple[int, ...] = attrs.field(validator=check_printable)

    @property
    def text(self) -> str:
        """``stride=1,2``."""
        value = ",".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)
        return f"{self.name}={value}"


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
class OperatorCall:
    """The operator a task was made by; for people only, never part of the identity."""

    name: str = attrs.field(validator=check_printable)
    args: tuple[Argument, ...] = ()

    @property
    def text(self) -> str:
        """The call as it is written on a command line: ``conv2d N=1 stride=1,2``."""
        return " ".join([self.name, *(argument.text for argument in self.args)])


@attrs.frozen(kw_only=True, field_transformer=as_tuples)
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

    @classmethod
    def from_te(
        cls,
        function: Callable[..., Sequence[te.Tensor]] | Sequence[te.Tensor],
        args: Sequence[object] = (),
        *,
        target: str | Mapping[str, Option] | Target = "llvm",
        threads: int | None = None,
        constants: Sequence[str] = (),
        ranges: Sequence[ValueRange] = (),
    ) -> Task:
        """The task of a TE computation: ``function(*args)`` gives its tensors, inputs first; a list of them does too.

        `threads` defaults to the cores that this process may use. LoweringError where TE says what a workload cannot.
        """
        # On use: a task that comes from a file or the registry must not pay for TVM's import.
        from .tvm_task import task_from_te

        return task_from_te(function, args, target=target, threads=threads, constants=constants, ranges=ranges)

    @classmethod
    def from_primfunc(
        cls,
        func: tirx.PrimFunc,
        *,
        target: str | Mapping[str, Option] | Target = "llvm",
        threads: int | None = None,
        constants: Sequence[str] = (),
        ranges: Sequence[ValueRange] = (),
    ) -> Task:
        """The task of a TensorIR function that is not scheduled yet; LoweringError where it cannot be read."""
        from .tvm_task import task_from_primfunc

        return task_from_primfunc(func, target=target, threads=threads, constants=constants, ranges=ranges)

    @cached_property
    def identity(self) -> str:
        """The workload's identity."""
        return canonical_identity(self.canonical_workload)

    @cached_property
    def names(self) -> Names:
        """The workload's names → canonical ones."""
        return canonical_names(self.workload)

    @cached_property
    def canonical_workload(self) -> Workload:
        """The workload in canonical names."""
        return renamed(self.workload, self.names)
