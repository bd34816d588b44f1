"""How far a right answer may be from the precise reference: by dtypes, and by how much each stage adds up.

A float operation errs by up to u, half the distance between neighbouring floats (2**-24 for float32). The sum of K
terms of random sign and size s has size s * sqrt(K); adding them up in any order errs by about 0.3 * u * s * K, a
relative error of 0.3 * u * sqrt(K), and up to 5 times that among a million elements (Higham, Accuracy and Stability of
Numerical Algorithms, section 4.2, with random instead of worst-case errors). `SAFETY` leaves another factor of 5.
Leaving one term out of a float32 sum changes it by about s: 200 times the tolerance at K = 10,000.

A dot product of bfloat16 by an intrinsic is within that: its products are exact in float32, and each is added with one
rounding, in another order. It takes denormals for zero, 2**-126 and less, which these sizes make nothing of.

Sizes and errors are carried through expressions and from stage to stage, for inputs as `random_inputs` makes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from .dtypes import is_float
from .errors import SpecError
from .expr import Acc, Axis, Binary, Call, Cast, Compare, Const, Expr, If, Load, Logic, Select, const_value, walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .algorithm import Algorithm
    from .workload import Stage, Workload

SAFETY: Final = 8.0
UNIT: Final = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
"""Greatest relative error of rounding to a dtype, half of what separates neighbours; no entry where nothing rounds."""
CALL_ERROR: Final = 2.0**-22
"""Relative error of intrinsics (exp, tanh, erf, …) that TVM approximates in float32: a few of the last bits."""
MAX_SIZE: Final = 1e30
LOOSER: Final = {"exact": 1.0, "reassociated": 1.0, "winograd": 8.0}
"""Accuracy class of an algorithm → how many times further off than the task's own sums its results may be."""

_LIPSCHITZ: Final = frozenset({"sin", "cos", "tanh", "asin", "acos", "atan", "atan2", "sigmoid", "erf"})
"""Calls with values of size 1 that move no further than their argument does."""
_GROWING: Final = frozenset({"exp", "exp2", "sinh", "cosh", "tan", "pow"})
"""Calls whose relative error is the absolute error of their argument, or a power of it."""
_LOGARITHMS: Final = frozenset({"log", "log2", "log10", "log1p"})


@attrs.frozen
class Estimate:
    """The typical size of a value, its error relative to that size, and the rounding error of its dtype."""

    size: float = 1.0
    error: float = 0.0
    unit: float = 0.0


def tolerance(workload: Workload, output: str, accuracy: str = "reassociated") -> tuple[float, float]:
    """(rtol, atol) such that a right answer `got` has ``abs(got - want) <= atol + rtol * abs(want)``.

    `accuracy` is the class of the algorithm that gave it, where it is not the task's own.

    `want` is from `evaluate(..., precise=True)` on inputs from `random_inputs`. (0, 0) where nothing is rounded:
    integers made of integers, copies, extremes and their places. An integer made of rounded floats may be off by one.
    """
    if output not in workload.buffers:
        raise SpecError(f"no buffer {output!r}; buffers: {', '.join(workload.buffers)}")
    estimates = {buffer.name: Estimate(unit=UNIT.get(buffer.dtype, 0.0)) for buffer in workload.inputs}
    for stage in workload.stages:
        found = _stage(stage, estimates)
        estimates.update({o.name: estimate for o, estimate in zip(stage.outputs, found, strict=True)})
    estimate = estimates[output]
    if estimate.error == 0.0:
        return 0.0, 0.0
    if not is_float(workload.buffers[output].dtype):
        return 0.0, 1.0
    error = SAFETY * LOOSER[accuracy] * estimate.error
    return error, error * estimate.size


def accuracy_of(workload: Workload, algorithm: Algorithm | None = None) -> str:
    """The accuracy class of what a schedule with an algorithm computes for a task's workload.

    Sums of floats may be taken in another order by any schedule; nothing else rounds otherwise but some algorithms.
    """
    if algorithm is not None and algorithm.is_loose:
        return algorithm.accuracy
    ordered = ("sum", "prod", "custom")
    for stage in workload.stages:
        if stage.reducer is not None and stage.reducer.op in ordered and is_float(stage.outputs[0].dtype):
            return "reassociated"
    return "exact"


def _stage(stage: Stage, buffers: Mapping[str, Estimate]) -> list[Estimate]:
    accumulators = [Estimate(unit=UNIT.get(output.dtype, 0.0)) for output in stage.outputs]
    bodies = [_estimate(body, buffers, accumulators) for body in stage.body]
    if stage.reducer is None or stage.reducer.op in ("min", "max"):
        return bodies
    terms = math.prod(axis.extent for axis in stage.reduce)
    root = math.sqrt(terms)
    if stage.reducer.op == "sum":
        return [_bounded(b.size * root, b.error + b.unit * root, b.unit) for b in bodies]
    if stage.reducer.op == "prod":
        return [_bounded(b.size, (b.error + b.unit) * terms, b.unit) for b in bodies]
    computes = any(isinstance(node, Binary | Call) for body in stage.body for node in walk(body))
    return [_bounded(b.size * root, b.error + b.unit * terms, b.unit) for b in bodies] if computes else bodies


def _bounded(size: float, error: float, unit: float) -> Estimate:
    """An estimate that no further step can make infinite; an error of 1 says that nothing is known."""
    return Estimate(min(max(size, 1 / MAX_SIZE), MAX_SIZE), min(error, 1.0), unit)


def _estimate(node: Expr, buffers: Mapping[str, Estimate], accumulators: Sequence[Estimate]) -> Estimate:
    def of(child: Expr) -> Estimate:
        return _estimate(child, buffers, accumulators)

    match node:
        case Axis():
            return Estimate()
        case Acc(slot):
            return accumulators[slot]
        case Load(buffer, _):
            return buffers[buffer]
        case Const(dtype, _):
            value = abs(const_value(node))
            return _bounded(value if 0 < value < MAX_SIZE else 1.0, 0.0, UNIT.get(dtype, 0.0))
        case Cast(dtype, value):
            return _cast(of(value), UNIT.get(dtype, 0.0))
        case Binary(op, a, b):
            return _binary(op, of(a), of(b))
        case Select(cond, a, b) | If(cond, a, b):
            first, second = of(a), of(b)
            size = max(first.size, second.size)
            return _bounded(size, max(first.error, second.error, of(cond).error), first.unit)
        case Compare(_, a, b):
            return Estimate(error=max(of(a).error, of(b).error))
        case Logic(_, args):
            return Estimate(error=max(of(arg).error for arg in args))
        case Call(name, args):
            return _call(name, [of(arg) for arg in args])


def _cast(inner: Estimate, unit: float) -> Estimate:
    """A cast rounds where the new dtype is coarser, or the integer may be too long for it."""
    rounds = inner.unit < unit if inner.unit else inner.size * unit >= 1
    return _bounded(inner.size, inner.error + (unit if rounds else 0.0), unit)


def _binary(op: str, a: Estimate, b: Estimate) -> Estimate:
    unit = max(a.unit, b.unit)
    match op:
        case "add" | "sub":
            size = math.hypot(a.size, b.size)
            return _bounded(size, (a.error * a.size + b.error * b.size) / size + unit, unit)
        case "mul":
            return _bounded(a.size * b.size, a.error + b.error + unit, unit)
        case "div":
            return _bounded(a.size / b.size, a.error + b.error + unit, unit)
    return _bounded(max(a.size, b.size), max(a.error, b.error), unit)


def _call(name: str, args: Sequence[Estimate]) -> Estimate:
    first = args[0]
    unit = first.unit
    moved = max(arg.error * arg.size for arg in args)
    rounding = max(unit, CALL_ERROR) if unit > UNIT["float64"] else 4 * unit
    if name in _LIPSCHITZ:
        return _bounded(1.0, moved + rounding, unit)
    if name in _LOGARITHMS:
        return _bounded(max(1.0, math.log1p(first.size)), moved + rounding, unit)
    if name in _GROWING:
        return _bounded(math.exp(min(first.size, 2.0)), 2 * moved + rounding, unit)
    if name in ("sqrt", "rsqrt"):
        size = math.sqrt(first.size)
        return _bounded(size if name == "sqrt" else 1 / size, first.error + rounding, unit)
    if name == "abs":
        return first
    # Steps: an argument that is off, by however little, may fall on the other side.
    return _bounded(max(arg.size for arg in args), 1.0 if moved else 0.0, unit)
