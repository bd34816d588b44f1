"""The operators by name, and the tasks they make: ``get_task("gemm", N=1024, K=1024, M=1024)``.

An operator's module is imported when the operator is first asked for, and nothing here needs TVM or NumPy: a
lookup by operator and arguments costs no more than the hash of the workload.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, get_args, get_type_hints

import attrs

from ..spec import builder
from ..spec.builder import Tensor
from ..spec.check_task import check_constants
from ..spec.cores import available_cores
from ..spec.errors import SpecError
from ..spec.near_words import did_you_mean
from ..spec.task import Argument, OperatorCall, Option, Target, Task, ValueRange, target_from_value
from ..spec.workload import Workload
from .arguments import Kind, Parameter, Value

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

Params: TypeAlias = Sequence[Tensor]
"""The buffers of a call, in order: inputs, weights, bias, outputs."""
Definition = TypeVar("Definition", bound=Callable[..., Params])

_MODULES: Final = {
    "gemm": "matmul",
    "batch_gemm": "matmul",
    "gemv": "matmul",
    "linear": "matmul",
    "bilinear": "tensor_products",
    "mttkrp": "tensor_products",
    "conv1d": "conv",
    "conv2d": "conv",
    "conv3d": "conv",
    "depthwise_conv2d": "conv",
    "conv2d_nhwc": "conv_layouts",
    "conv2d_nchwc": "conv_layouts",
    "conv2d_im2col": "im2col",
    "conv2d_winograd": "winograd",
    "conv_transpose1d": "transposed",
    "conv_transpose2d": "transposed",
    "conv_transpose3d": "transposed",
    "pixelcnn": "pixelcnn",
    "gatedpixelcnn": "pixelcnn",
    "shift_conv2d": "shift",
    "maxunpooling1d": "unpooling",
    "maxunpooling2d": "unpooling",
    "mean": "norms",
    "variance": "norms",
    "batch_norm": "norms",
    "layer_norm": "norms",
    "softmax": "norms",
    "pointwise": "pointwise",
    "lstm_cell": "recurrent",
    "block_circulant_matrix": "circulant",
}
"""Operator → the module here that registers it."""
TAKEN: Final = ("target", "threads", "constants")
"""What `get_task` takes beside an operator's own arguments."""
ENTRY_POINTS: Final = "autosched.operators"
"""The group of entry points in which installed packages name their operators: ``outer = my_package.ops:outer``."""


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
        hint = did_you_mean(name, [p.name for p in self.parameters])
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

    def computation(self, values: Mapping[str, Value]) -> tuple[Workload, tuple[ValueRange, ...]]:
        """The workload for a complete set of values, and what its integer inputs may hold."""
        with _under(self.name):
            params = self.define(**values)
            return builder.build(params), builder.value_ranges(params)


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
    """The names of all operators, sorted, those of other packages too; loads none of them."""
    return tuple(sorted({*_MODULES, *_REGISTERED, *(point.name for point in _installed())}))


def is_operator(name: str) -> bool:
    """True where there is an operator of this name; loads none."""
    return name in _MODULES or name in _REGISTERED or any(point.name == name for point in _installed())


def get_operator(name: str) -> Operator:
    """The operator called `name`, its module imported if need be; SpecError where there is none."""
    if name not in _REGISTERED and name in _MODULES:
        importlib.import_module(f".{_MODULES[name]}", __package__)
    if name not in _REGISTERED:
        _load_installed(name)
    if name not in _REGISTERED:
        hint = did_you_mean(name, operators())
        raise SpecError(f"no operator {name!r}{hint}; operators: {', '.join(operators())}")
    return _REGISTERED[name]


def _installed() -> "EntryPoints":
    """Operators that installed packages name. Looked up each time: it is rare, and ``sys.path`` may change."""
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _load_installed(name: str) -> None:
    """Registers the operator that an installed package has under `name`, if there is one; SpecError if it fails."""
    points = [point for point in _installed() if point.name == name]
    if not points:
        return
    if len({point.value for point in points}) > 1:
        homes = ", ".join(point.value for point in points)
        raise SpecError(f"several installed packages name operator {name!r}: {homes}; keep one of them")
    place = f"operator {name!r}, entry point {points[0].value}"
    try:
        define = points[0].load()
    except Exception as error:  # whatever another package's import raises
        raise SpecError(f"{place}, cannot be loaded: {type(error).__name__}: {error}") from error
    if getattr(define, "__name__", None) != name:
        raise SpecError(f"{place}, is {define!r}; name the entry point as its function")
    if name not in _REGISTERED:
        register_operator(define)


def get_task(
    op: str,
    /,
    *,
    target: str | Mapping[str, Option] | Target = "llvm",
    threads: int | None = None,
    constants: Sequence[str] = (),
    **args: Any,
) -> Task:
    """The task of an operator, ``get_task("gemm", N=1024, K=1024, M=1024)``, or of a suite, ``get_task("yolo/yolo3")``.

    Arguments replace those of a suite's task. `threads` defaults to the CPUs this process may run on; `constants` names
    inputs that keep their value from call to call, as weights do, so that what is made of them alone is made once.
    `Task.op` has every argument, defaults included, in the order of the operator's signature. Raises SpecError for an
    operator, argument or shape that cannot be.
    """
    op, given = _call_named(op)
    operator = get_operator(op)
    values = operator.complete({**given, **args})
    workload, ranges = operator.computation(values)
    task = Task(
        workload=workload,
        ranges=ranges,
        target=target_from_value(target),
        threads=available_cores() if threads is None else _checked_threads(threads),
        constants=tuple(constants),
        op=OperatorCall(name=op, args=tuple(Argument(name=name, value=value) for name, value in values.items())),
    )
    check_constants(task)
    return task


def parse_arguments(op: str, words: Iterable[str]) -> dict[str, Any]:
    """The arguments that a command line gives an operator, ``["N=1", "stride=1,2", "bias=true"]``, as checked values.

    Those left out are left out here too: `get_task` knows their defaults, and which it needs. `op` may be the name of a
    suite's task as well.
    """
    op, _ = _call_named(op)
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


def _call_named(name: str) -> tuple[str, dict[str, int]]:
    """The operator that a name stands for, and the arguments that come with it: none with an operator's own."""
    if "/" not in name:
        return name, {}
    from .suites import named_task

    task = named_task(name)
    return task.op, dict(task.args)


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
