"""The operators by name, and the tasks they make: ``get_task("gemm", N=1024, K=1024, M=1024)``.

An operator's module is imported when the operator is first asked for, and nothing here needs TVM or NumPy: a
lookup by operator and arguments costs no more than the hash of the workload.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_type_hints

import attrs

from ..spec import builder
from ..spec.builder import Tensor
from ..spec.check_task import check_constants
from ..spec.cores import available_cores
from ..spec.errors import SpecError
from ..spec.task import Argument, OperatorCall, Option, Target, Task, target_from_value
from ..spec.workload import Workload
from .arguments import Kind, Parameter, Value

Params: TypeAlias = Sequence[Tensor]
"""The buffers of a call, in order: inputs, weights, bias, outputs."""
Definition = TypeVar("Definition", bound=Callable[..., Params])

_MODULES: Final = {
    "gemm": "matmul",
    "batch_gemm": "matmul",
    "gemv": "matmul",
    "conv2d": "conv",
    "depthwise_conv2d": "conv",
}
"""Operator → the module here that registers it."""
TAKEN: Final = ("target", "threads", "constants")
"""What `get_task` takes beside an operator's own arguments."""


@attrs.frozen(kw_only=True)
class Operator:
    """A named computation: its parameters in order, and the function that makes its tensors of their values."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    define: Callable[..., Params]

    @property
    def signature(self) -> str:
        """The parameters with their defaults, as ``N, K, M, dtype=float32``."""
        return ", ".join(map(str, self.parameters)) or "none"

    def parameter(self, name: str) -> Parameter:
        """The parameter called `name`; SpecError where there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        hint = _did_you_mean(name, [p.name for p in self.parameters])
        raise SpecError(f"no argument {name!r}{hint}; arguments: {self.signature}", self.name)

    def complete(self, given: Mapping[str, object]) -> dict[str, Value]:
        """The value of every parameter, in order: as given and checked, else the default."""
        for name in given:
            self.parameter(name)
        missing = [p.name for p in self.parameters if p.default is None and p.name not in given]
        if missing:
            raise SpecError(f"missing: {', '.join(missing)}; arguments: {self.signature}", self.name)
        with _under(self.name):
            return {p.name: p.checked(given.get(p.name, p.default)) for p in self.parameters}

    def workload(self, values: Mapping[str, Value]) -> Workload:
        """The workload for a complete set of values."""
        with _under(self.name):
            return builder.build(self.define(**values))


_REGISTERED: Final[dict[str, Operator]] = {}


def register_operator(define: Definition) -> Definition:
    """Makes an operator of a function that returns its buffers: inputs, weights, bias, output.

    The function's name is the operator's. It takes keyword arguments alone, each annotated with a kind of
    `autosched.nn.arguments`:

        @register_operator
        def outer(*, N: Size, dtype: FloatDtype = "float32") -> Sequence[Tensor]: ...
    """
    name = define.__name__
    known = _REGISTERED.get(name)
    home = known.define.__module__ if known else f"{__package__}.{_MODULES.get(name, '')}"
    if (known or name in _MODULES) and home != define.__module__:
        raise SpecError(f"operator {name!r} is already there, from {home}; choose another name")
    with _under(name):
        parameters = tuple(_parameters(define))
    summary = (inspect.getdoc(define) or name).splitlines()[0]
    _REGISTERED[name] = Operator(name=name, summary=summary, parameters=parameters, define=define)
    return define


def _parameters(define: Callable[..., Params]) -> Iterator[Parameter]:
    hints = get_type_hints(define, include_extras=True)
    for parameter in inspect.signature(define).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise SpecError(f"found a {parameter.kind.description} argument; put * before it", parameter.name)
        if parameter.name in TAKEN:
            raise SpecError(f"found an argument that get_task has itself; taken: {', '.join(TAKEN)}", parameter.name)
        hint = hints.get(parameter.name, parameter.empty)
        kinds = [extra for extra in get_args(hint) if isinstance(extra, Kind)]
        if len(kinds) != 1:
            found = "no annotation" if hint is parameter.empty else f"annotation {inspect.formatannotation(hint)}"
            raise SpecError(
                f"found {found}; allowed: Size, Switch, FloatDtype or another kind of autosched.nn.arguments",
                parameter.name,
            )
        plain = Parameter(name=parameter.name, kind=kinds[0])
        required = parameter.default is parameter.empty
        yield plain if required else attrs.evolve(plain, default=plain.checked(parameter.default))


def operators() -> tuple[str, ...]:
    """The names of all operators, sorted; loads none of them."""
    return tuple(sorted(_MODULES.keys() | _REGISTERED.keys()))


def get_operator(name: str) -> Operator:
    """The operator called `name`, its module imported if need be; SpecError where there is none."""
    if name not in _REGISTERED and name in _MODULES:
        importlib.import_module(f".{_MODULES[name]}", __package__)
    if name not in _REGISTERED:
        hint = _did_you_mean(name, operators())
        raise SpecError(f"no operator {name!r}{hint}; operators: {', '.join(operators())}")
    return _REGISTERED[name]


def get_task(
    op: str,
    /,
    *,
    target: str | Mapping[str, Option] | Target = "llvm",
    threads: int | None = None,
    constants: Sequence[str] = (),
    **args: Any,
) -> Task:
    """The task of an operator: ``get_task("gemm", N=1024, K=1024, M=1024)``.

    `threads` defaults to the CPUs this process may run on; `constants` names inputs that keep their value from call to
    call, as weights do, so that what is made of them alone is made once. `Task.op` has every argument, defaults
    included, in the order of the operator's signature. Raises SpecError for an operator, argument or shape that cannot
    be.
    """
    operator = get_operator(op)
    values = operator.complete(args)
    task = Task(
        workload=operator.workload(values),
        target=target_from_value(target),
        threads=available_cores() if threads is None else _checked_threads(threads),
        constants=tuple(constants),
        op=OperatorCall(name=op, args=tuple(Argument(name=name, value=value) for name, value in values.items())),
    )
    check_constants(task)
    return task


def parse_arguments(op: str, words: Iterable[str]) -> dict[str, Any]:
    """The arguments that a command line gives an operator, ``["N=1", "stride=1,2", "bias=true"]``, as checked values.

    Those left out are left out here too: `get_task` knows their defaults, and which it needs.
    """
    operator = get_operator(op)
    values: dict[str, Value] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SpecError(f"found {word!r}; write KEY=VALUE; arguments: {operator.signature}", op)
        if name in values:
            raise SpecError("given twice; give it once", f"{op}.{name}")
        parameter = operator.parameter(name)
        with _under(op):
            values[name] = parameter.read(text)
    return values


def _checked_threads(threads: int) -> int:
    if type(threads) is not int or threads < 1:
        raise SpecError(f"found {threads!r}; allowed: a whole number from 1, or None for all CPUs", "threads")
    return threads


@contextlib.contextmanager
def _under(name: str) -> Iterator[None]:
    """Puts the operator's name before the place that an error names."""
    try:
        yield
    except SpecError as error:
        raise error.under(name) from error


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1) or [k for k in known if k.lower() == name.lower()]
    return f" (did you mean {close[0]!r}?)" if close else ""
