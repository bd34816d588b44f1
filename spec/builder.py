"""Builds workloads in TE's words, without TVM.

    A = placeholder((M, K), name="A")
    B = placeholder((K, N), name="B")
    k = reduce_axis(K, name="k")
    C = compute((M, N), lambda i, j: sum(A[i, k] * B[k, j], axis=k), name="C")
    workload = build([A, B, C])

The parameter names of a `compute` function, or its `axes`, name the axes. Python numbers take the type of the other
operand.
"""

from __future__ import annotations

import builtins
import inspect
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .canonical import stage_order
from .check_workload import check_workload
from .dtypes import DTYPES, INDEX, is_float
from .errors import SpecError
from .expr import Axis, Binary, Call, Cast, Compare, Const, Expr, If, Load, Logic, Select, const, const_value
from .reducers import identity_element
from .task import ValueRange
from .workload import Buffer, IterAxis, Output, Reducer, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Number: TypeAlias = "Value | int | float | bool"


@attrs.frozen(eq=False)
class Value:
    """A typed expression with Python's operators; trivial arithmetic on integers is folded (``h * 1`` is ``h``)."""

    expr: Expr
    dtype: str

    def __add__(self, other: Number) -> Value:
        return _binary("add", self, other)

    def __radd__(self, other: Number) -> Value:
        return _binary("add", other, self)

    def __sub__(self, other: Number) -> Value:
        return _binary("sub", self, other)

    def __rsub__(self, other: Number) -> Value:
        return _binary("sub", other, self)

    def __mul__(self, other: Number) -> Value:
        return _binary("mul", self, other)

    def __rmul__(self, other: Number) -> Value:
        return _binary("mul", other, self)

    def __truediv__(self, other: Number) -> Value:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Number) -> Value:
        return _binary("div", other, self)

    def __floordiv__(self, other: Number) -> Value:
        return _binary("floordiv", self, other)

    def __rfloordiv__(self, other: Number) -> Value:
        return _binary("floordiv", other, self)

    def __mod__(self, other: Number) -> Value:
        return _binary("floormod", self, other)

    def __rmod__(self, other: Number) -> Value:
        return _binary("floormod", other, self)

    def __neg__(self) -> Value:
        return _binary("sub", 0, self)

    def __lt__(self, other: Number) -> Value:
        return _compare("lt", self, other)

    def __le__(self, other: Number) -> Value:
        return _compare("le", self, other)

    def __gt__(self, other: Number) -> Value:
        return _compare("gt", self, other)

    def __ge__(self, other: Number) -> Value:
        return _compare("ge", self, other)

    def equal(self, other: Number) -> Value:
        """``self == other`` as an expression."""
        return _compare("eq", self, other)

    def astype(self, dtype: str) -> Value:
        """The value converted to `dtype`."""
        return self if dtype == self.dtype else Value(Cast(dtype, self.expr), dtype)

    def __bool__(self) -> bool:
        raise SpecError("the truth of an expression is not known; use if_then_else, all or any of the builder")


@attrs.frozen(eq=False)
class Reduction:
    """A reduction waiting for its `compute`: made by `sum`, `prod`, `max`, `min`."""

    op: str
    value: Value
    axes: tuple[IterAxis, ...]
    init: Const


@attrs.frozen(eq=False)
class Tensor:
    """A buffer of the workload being built: an input (`stage` is None) or the output of a stage."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stage: Stage | None = None
    sources: tuple[Tensor, ...] = ()
    values: tuple[int, int] | None = None
    """Least and greatest value of an integer input, where they are known."""

    def __getitem__(self, indices: Number | tuple[Number, ...]) -> Value:
        entries = indices if isinstance(indices, tuple) else (indices,)
        value = Value(Load(self.name, tuple(_as_value(i, INDEX).expr for i in entries)), self.dtype)
        _READ.append(self)
        return value

    def __call__(self, *indices: Number) -> Value:
        return self[tuple(indices)]


_READ: list[Tensor] = []
"""Tensors loaded since the innermost `compute` began: its sources."""


@attrs.frozen(eq=False)
class ReduceAxis(Value):
    """An axis to reduce over; use it as a value, and pass it to `sum` and its kin."""

    iter_axis: IterAxis = attrs.field(kw_only=True)


def placeholder(
    shape: Sequence[int], dtype: str = "float32", name: str = "placeholder", values: tuple[int, int] | None = None
) -> Tensor:
    """An input buffer; `values` are the least and the greatest that an integer input may hold."""
    buffer = Buffer(name=name, shape=tuple(shape), dtype=dtype)
    return Tensor(buffer.name, buffer.shape, buffer.dtype, values=values)


def reduce_axis(extent: int | tuple[int, int], name: str = "k") -> ReduceAxis:
    """An axis of `extent` steps from 0, or TE's ``(0, extent)``."""
    if isinstance(extent, tuple):
        if extent[0] != 0:
            raise SpecError(f"reduce axis {name!r} has range {extent!r}; allowed: (0, extent)")
        extent = extent[1]
    return ReduceAxis(Axis(name), INDEX, iter_axis=IterAxis(name=name, extent=extent))


def sum(value: Value, axis: ReduceAxis | Sequence[ReduceAxis]) -> Reduction:  # noqa: A001 # TE's word
    """The sum of `value` over one or more reduce axes."""
    return _reduction("sum", value, axis)


def prod(value: Value, axis: ReduceAxis | Sequence[ReduceAxis]) -> Reduction:
    """The product of `value` over reduce axes."""
    return _reduction("prod", value, axis)


def max(value: Value, axis: ReduceAxis | Sequence[ReduceAxis]) -> Reduction:  # noqa: A001 # TE's word
    """The greatest `value` over reduce axes."""
    return _reduction("max", value, axis)


def min(value: Value, axis: ReduceAxis | Sequence[ReduceAxis]) -> Reduction:  # noqa: A001 # TE's word
    """The least `value` over reduce axes."""
    return _reduction("min", value, axis)


def _reduction(op: str, value: Value, axis: ReduceAxis | Sequence[ReduceAxis]) -> Reduction:
    axes = (axis,) if isinstance(axis, ReduceAxis) else tuple(axis)
    return Reduction(op, value, tuple(a.iter_axis for a in axes), identity_element(op, value.dtype))


def compute(
    shape: Sequence[int], body: Callable[..., Value | Reduction], name: str, axes: Sequence[str] | None = None
) -> Tensor:
    """A stage: `body` gives the value at each point; its parameter names (one per dimension) name the axes.

    `axes` names them for a function of any number of dimensions, ``lambda *at: ...``.
    """
    names = _axis_names(body, len(shape)) if axes is None else tuple(axes)
    if len(names) != len(shape):
        raise SpecError(f"compute {name!r} names {len(names)} axes, the shape has {len(shape)}", name)
    iter_axes = tuple(IterAxis(name=n, extent=e) for n, e in zip(names, shape, strict=True))
    begin = len(_READ)
    try:
        result = body(*(Value(Axis(n), INDEX) for n in names))
    finally:
        sources = tuple(dict.fromkeys(_READ[begin:]))
        del _READ[begin:]
    value = result.value if isinstance(result, Reduction) else result
    if not isinstance(value, Value):
        raise SpecError(f"compute {name!r} returned {type(result).__name__}; return a value or a reduction", name)
    stage = Stage(
        name=name,
        axes=iter_axes,
        reduce=result.axes if isinstance(result, Reduction) else (),
        outputs=(Output(name=name, dtype="int32" if value.dtype == INDEX else value.dtype),),
        body=(Cast("int32", value.expr) if value.dtype == INDEX else value.expr,),
        reducer=Reducer(op=result.op, init=(result.init,)) if isinstance(result, Reduction) else None,
    )
    return Tensor(name, stage.shape, stage.outputs[0].dtype, stage, sources)


def _axis_names(body: Callable[..., object], rank: int) -> tuple[str, ...]:
    parameters = list(inspect.signature(body).parameters.values())
    if builtins.any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return tuple(f"i{d}" for d in range(rank))
    if len(parameters) != rank:
        raise SpecError(f"compute function takes {len(parameters)} axes, the shape has {rank}")
    return tuple(p.name for p in parameters)


def build(params: Sequence[Tensor], index_dtype: str = "int32") -> Workload:
    """The workload of `params` (inputs and outputs, in call order) and every stage they need."""
    found: dict[str, Tensor] = {}

    def visit(tensor: Tensor) -> None:
        if found.get(tensor.name, tensor) is not tensor:
            raise SpecError(f"two tensors are called {tensor.name!r}; give each its own name")
        if tensor.name not in found:
            found[tensor.name] = tensor
            for source in tensor.sources:
                visit(source)

    for tensor in params:
        visit(tensor)
    loose = [t.name for t in found.values() if t.stage is None and t not in params]
    if loose:
        raise SpecError(f"inputs {', '.join(loose)} are not among the parameters; add them to the list")
    workload = Workload(
        inputs=tuple(Buffer(name=t.name, shape=t.shape, dtype=t.dtype) for t in params if t.stage is None),
        stages=tuple(t.stage for t in found.values() if t.stage is not None),
        params=tuple(t.name for t in params),
        index_dtype=index_dtype,
    )
    workload = attrs.evolve(workload, stages=stage_order(workload))
    check_workload(workload, {tensor.name: tensor.values for tensor in params if tensor.values is not None})
    return workload


def value_ranges(params: Sequence[Tensor]) -> tuple[ValueRange, ...]:
    """What is known of the values of integer inputs, for the task of `params`."""
    known = ((tensor.name, tensor.values) for tensor in params)
    return tuple(ValueRange(buffer=name, low=span[0], high=span[1]) for name, span in known if span is not None)


def if_then_else(cond: Value, then: Number, otherwise: Number) -> Value:
    """`then` where `cond` holds, else `otherwise`; only the chosen one is computed, so it may guard a load."""
    a, b = _pair(then, otherwise)
    return Value(If(cond.expr, a.expr, b.expr), a.dtype)


def select(cond: Value, then: Number, otherwise: Number) -> Value:
    """Like `if_then_else`, but both values may be computed."""
    a, b = _pair(then, otherwise)
    return Value(Select(cond.expr, a.expr, b.expr), a.dtype)


def all(*conditions: Value) -> Value:  # noqa: A001 # TE's word
    """True where every condition holds."""
    return _logic("and", conditions)


def any(*conditions: Value) -> Value:  # noqa: A001 # TE's word
    """True where some condition holds."""
    return _logic("or", conditions)


def _logic(op: str, conditions: tuple[Value, ...]) -> Value:
    result = conditions[0].expr
    for condition in conditions[1:]:
        result = Logic(op, (result, condition.expr))
    return Value(result, "bool")


def logical_not(condition: Value) -> Value:
    """True where `condition` does not hold."""
    return Value(Logic("not", (condition.expr,)), "bool")


def maximum(a: Number, b: Number) -> Value:
    """The greater of two values, elementwise."""
    return _binary("max", a, b)


def minimum(a: Number, b: Number) -> Value:
    """The lesser of two values, elementwise."""
    return _binary("min", a, b)


def call(name: str, *args: Value) -> Value:
    """An intrinsic by name: exp, tanh, sqrt, … (`autosched.spec.expr.CALLS`)."""
    return Value(Call(name, tuple(a.expr for a in args)), args[0].dtype)


def constant(value: float, dtype: str) -> Value:
    """A typed constant."""
    return Value(const(dtype, value), dtype)


def _as_value(value: Number, dtype: str) -> Value:
    return value if isinstance(value, Value) else Value(const(dtype, value), dtype)


def _pair(a: Number, b: Number) -> tuple[Value, Value]:
    dtype = a.dtype if isinstance(a, Value) else b.dtype if isinstance(b, Value) else INDEX
    return _as_value(a, dtype), _as_value(b, dtype)


def _binary(op: str, left: Number, right: Number) -> Value:
    a, b = _pair(left, right)
    if a.dtype == INDEX or (a.dtype in DTYPES and not is_float(a.dtype)):
        folded = _fold(op, a, b)
        if folded is not None:
            return folded
    return Value(Binary(op, a.expr, b.expr), a.dtype)


def _fold(op: str, a: Value, b: Value) -> Value | None:
    """``x * 1``, ``x + 0``, ``x - 0``, ``x // 1``, ``0 * x``, and arithmetic on two constants, for integers."""
    left = const_value(a.expr) if isinstance(a.expr, Const) else None
    right = const_value(b.expr) if isinstance(b.expr, Const) else None
    if left is not None and right is not None and op in ("add", "sub", "mul"):
        number = {"add": left + right, "sub": left - right, "mul": left * right}[op]
        return Value(const(a.dtype, number), a.dtype)
    if (op in ("add", "sub") and right == 0) or (op in ("mul", "floordiv") and right == 1):
        return a
    if (op == "add" and left == 0) or (op == "mul" and left == 1):
        return b
    if op == "mul" and 0 in (left, right):
        return Value(const(a.dtype, 0), a.dtype)
    return None


def _compare(op: str, left: Number, right: Number) -> Value:
    a, b = _pair(left, right)
    return Value(Compare(op, a.expr, b.expr), "bool")
