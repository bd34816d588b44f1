"""Calls in functions of Relax: which arguments are constants, and putting in what is computed of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_CALL = tvm.ir.Op.get("relax.call_tir")


class Further(NamedTuple):
    """A function that takes more than the one it stands for: `make` gives it, of the arguments at `places`."""

    func: tirx.PrimFunc
    places: tuple[int, ...]
    make: Callable[[Sequence[tvm.runtime.Tensor]], Sequence[tvm.runtime.Tensor]]


def constant_arguments(mod: tvm.IRModule) -> dict[str, frozenset[int]]:
    """TensorIR function → the places of arguments that are constants wherever it is called; of those with calls."""
    found: dict[str, frozenset[int]] = {}
    for func in mod.functions.values():
        if isinstance(func, relax.Function):
            for call in _calls_in(func):
                for callee in (argument for argument in call.args if isinstance(argument, tvm.ir.GlobalVar)):
                    arguments = _arguments(call) if _is_plain(call) else []
                    constant = frozenset(n for n, argument in enumerate(arguments) if _is_constant(argument))
                    name = str(callee.name_hint)
                    found[name] = found.get(name, constant) & constant
    return found


def with_further_arguments(mod: tvm.IRModule, further: Mapping[str, Further]) -> tvm.IRModule:
    """The module with other functions, called ``NAME_once``, whose calls have constants behind their arguments."""
    change = _Extended(mod, further)
    for var, func in mod.functions.items():
        if isinstance(func, relax.Function):
            change.builder_.update_func(var, change.visit_expr(func))
    new = change.builder_.get()
    for name in further:
        del new[new.get_global_var(name)]
    return new


@mutator
class _Extended(PyExprMutator):  # type: ignore[misc] # TVM's classes have no types
    """Rewrites the calls of functions."""

    def __init__(self, mod: tvm.IRModule, further: Mapping[str, Further]) -> None:
        super().__init__(mod)
        self._further = further
        # A function is known to its callers by a variable that has the function's type, so it is a new one.
        self._called = {name: self.builder_.add_func(new.func, f"{name}_once") for name, new in further.items()}

    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        name = str(call.args[0].name_hint) if _is_plain(call) else ""
        if name not in self._further:
            return call
        further, arguments = self._further[name], _arguments(call)
        made = further.make([arguments[place].value for place in further.places])
        fields = relax.Tuple([*arguments, *map(relax.const, made)])
        return relax.Call(call.op, [self._called[name], fields], call.attrs, call.ty_args)


def _calls_in(func: Any) -> Iterator[Any]:
    found: list[Any] = []
    relax.analysis.post_order_visit(func, lambda node: found.append(node) if isinstance(node, relax.Call) else None)
    yield from found


def _is_plain(call: Any) -> bool:
    """True for a call_tir whose arguments stand in it."""
    return bool(call.op == _CALL) and isinstance(call.args[1], relax.Tuple)


def _arguments(call: Any) -> list[Any]:
    return list(call.args[1].fields)


def _is_constant(argument: Any) -> bool:
    return isinstance(argument, tvm.ir.GenericConst)
