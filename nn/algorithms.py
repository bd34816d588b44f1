"""Other ways to compute what an operator does, by name: each takes the operator's arguments and gives its buffers.

As with operators, a module is imported when an operator of its is first asked about. A search chooses among them and
the plain definition; the latter stays what results are compared with.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from ..spec import builder
from ..spec.algorithm import ALGORITHM_ACCURACY, Algorithm
from ..spec.errors import SpecError
from ..spec.rename import fitted
from .claimed_operator import contradiction
from .registry import Params, get_operator

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..spec.task import Task

Definition = TypeVar("Definition", bound="Callable[..., Params | None]")

_MODULES: Final = {
    "bilinear": "factored",
    "conv2d": "winograd_algorithms",
    "conv_transpose1d": "transposed_algorithms",
    "conv_transpose2d": "transposed_algorithms",
    "conv_transpose3d": "transposed_algorithms",
    "mttkrp": "factored",
}
"""Operator → the module here that registers its algorithms."""


@attrs.frozen(kw_only=True)
class NamedAlgorithm:
    """A way to compute an operator: a function of its arguments that gives its buffers, or None where it cannot."""

    name: str
    accuracy: str
    define: Callable[..., Params | None]


_REGISTERED: Final[dict[str, dict[str, NamedAlgorithm]]] = {}


def register_algorithm(op: str, *, name: str, accuracy: str = "reassociated") -> Callable[[Definition], Definition]:
    """Makes an algorithm of the operator `op` of a function with its arguments.

    It returns buffers of the operator's shapes and dtypes in its order, or None for arguments that it is not for:

        @register_algorithm("mttkrp", name="factored")
        def factored(*, N: int, K1: int, K2: int, M: int, dtype: str) -> Sequence[Tensor] | None: ...

    `accuracy` is "winograd" where results round more than the operator's own sums: such ones are for who asks for them.
    """

    def register(define: Definition) -> Definition:
        known = _REGISTERED.setdefault(op, {})
        if name in known and known[name].define.__module__ != define.__module__:
            raise SpecError(f"algorithm {name!r} of {op!r} is already there; choose another name")
        known[name] = NamedAlgorithm(name=name, accuracy=accuracy, define=define)
        return define

    return register


def algorithms_of_operator(op: str) -> tuple[NamedAlgorithm, ...]:
    """The algorithms of an operator, in the order of their registration; none where nobody registered one."""
    if op in _MODULES:
        importlib.import_module(f".{_MODULES[op]}", __package__)
    return tuple(_REGISTERED.get(op, {}).values())


def algorithms_of(task: Task, allow: Collection[str]) -> tuple[Algorithm, ...]:
    """The algorithms of a task's operator that take its arguments, in the task's names.

    Of the accuracy class of the operator's own sums, and of those in `allow`. None of a task whose operator call is not
    there, or says another computation than the task's workload.
    """
    call = task.op
    known = () if call is None else algorithms_of_operator(call.name)
    known = tuple(each for each in known if each.accuracy == ALGORITHM_ACCURACY[0] or each.accuracy in allow)
    if call is None or not known or contradiction(task) is not None:
        return ()
    arguments: dict[str, Any] = {argument.name: argument.value for argument in call.args}
    values = get_operator(call.name).complete(arguments)
    found = []
    for each in known:
        params = each.define(**values)
        if params is not None:
            workload = builder.build(params, index_dtype=task.workload.index_dtype)
            made = Algorithm(name=each.name, accuracy=each.accuracy, workload=workload)
            found.append(fitted(made, task.workload.params))
    return tuple(found)
