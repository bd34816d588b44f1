"""Functions of float32 as arithmetic that LLVM turns into vectors, where it would call C's library element by element.

Each argument is brought into a range in which a polynomial is as exact as float32, after the Cephes library (exp, tanh)
and the rational function of Eigen (erf). All of it is selects, least and greatest values and arithmetic on bits:
nothing is compared but by ``<``, and of two of which one is nan the second is taken, so that a nan goes through, and
infinities and numbers below the least normal one come out as they should. The errors are below 1 (exp), 2 (tanh and
sigmoid) and 6 (erf) of the last bit; sigmoid is 0 where exp of minus its argument is infinite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .expr import Call, children
from .tvm_names import prim, scalar_var, tirx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .expr import Expr

Node: TypeAlias = Any
"""An expression of TVM's."""

_F32: Final = "float32"
_LEAST, _GREATEST = -104.0, 89.0
"""exp of less is zero, of more is infinite."""
_LOG2_E: Final = 1.44269504088896341
_LN2: Final = (0.693359375, -2.12194440e-4)
"""ln 2 as a sum, whose first part has so few bits that whole multiples of it are exact."""
_ROUNDING: Final = 12582912.0
"""1.5 * 2**23: a number added to it has its whole part in the lowest bits of the sum."""
_ROUNDING_BITS: Final = 0x4B400000
_BIAS, _FRACTION_BITS = 127, 23
_EXP: Final = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_TANH: Final = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
_TANH_SMALL: Final = 0.625
_ERF_ABOVE: Final = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
    -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_BELOW: Final = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
)  # fmt: skip
_ERF_ONE: Final = 4.0
"""erf of more is 1."""

_DEEPEST: Final = 2
"""So many functions in one another are written out, others around them are calls: TVM's code generator simplifies a
named value with all that it names, and the time that takes is the product over functions in one another."""


def _exp(x: Node) -> Node:
    """``exp(x) = 2**n * exp(r)`` with a whole n and a small r; 2**n as two factors, either of which is a number."""
    return _let(_F32, _between(x, _LEAST, _GREATEST), _exp_of_bounded)


def _exp_of_bounded(x: Node) -> Node:
    def with_sum(rounded: Node) -> Node:
        bits = tirx.reinterpret("int32", rounded) - _whole(_ROUNDING_BITS)
        return _let(_F32, rounded - _float(_ROUNDING), lambda n: _let("int32", bits, lambda i: with_parts(n, i)))

    def with_parts(n: Node, i: Node) -> Node:
        rest = (x - n * _float(_LN2[0])) - n * _float(_LN2[1])
        half = tirx.shift_right(i, _whole(1))
        return _let(_F32, rest, lambda r: _let("int32", half, lambda h: power(r) * _power_of_2(h) * _power_of_2(i - h)))

    def power(r: Node) -> Node:
        return _polynomial(_EXP, r) * (r * r) + r + _float(1.0)

    return _let(_F32, x * _float(_LOG2_E) + _float(_ROUNDING), with_sum)


def _sigmoid(x: Node) -> Node:
    return _float(1.0) / (_float(1.0) + _exp(_float(0.0) - x))


def _tanh(x: Node) -> Node:
    def of_square(square: Node) -> Node:
        return x + x * square * _polynomial(_TANH, square)

    def of_magnitude(magnitude: Node) -> Node:
        large = _float(1.0) - _float(2.0) / (_exp(magnitude * _float(2.0)) + _float(1.0))
        signed = _let(_F32, large, lambda y: prim.Select(prim.LT(x, _float(0.0)), _float(0.0) - y, y))
        return prim.Select(prim.LT(magnitude, _float(_TANH_SMALL)), _let(_F32, x * x, of_square), signed)

    return _let(_F32, prim.Max(x, _float(0.0) - x), of_magnitude)


def _erf(x: Node) -> Node:
    def of_bounded(x: Node) -> Node:
        found = _let(_F32, x * x, lambda z: x * (_polynomial(_ERF_ABOVE, z) / _polynomial(_ERF_BELOW, z)))
        return _between(found, -1.0, 1.0)  # before it is 1, rounding takes it a little beyond

    return _let(_F32, _between(x, -_ERF_ONE, _ERF_ONE), of_bounded)


_WAYS: Final[Mapping[str, Callable[[Node], Node]]] = {"exp": _exp, "sigmoid": _sigmoid, "tanh": _tanh, "erf": _erf}


def in_vectors(name: str, argument: Node, dtype: str) -> Node | None:
    """An intrinsic of a `dtype` as arithmetic; None where there is no such form of it."""
    way = _WAYS.get(name)
    return _let(dtype, argument, way) if way is not None and dtype == _F32 else None


def is_short(call: Call) -> bool:
    """Is `call` written out in a time that nobody notices, with all functions in its arguments?"""
    return _depth(call) <= _DEEPEST


# --- parts ------------------------------------------------------------------------------------------------------------


def _let(dtype: str, value: Node, body: Callable[[Node], Node]) -> Node:
    """`body` of a value that is computed once."""
    variable = scalar_var("x", dtype)
    return prim.Let(variable, value, body(variable))


def _depth(node: Expr) -> int:
    here = isinstance(node, Call) and node.name in _WAYS
    return here + max(map(_depth, children(node)), default=0)


def _between(x: Node, low: float, high: float) -> Node:
    """`x`, at least `low` and at most `high`, or nan."""
    return prim.Max(_float(low), prim.Min(_float(high), x))


def _polynomial(coefficients: Sequence[float], x: Node) -> Node:
    """By Horner's rule, the coefficient of the highest power first."""
    first, *others = coefficients
    value = _float(first)
    for coefficient in others:
        value = value * x + _float(coefficient)
    return value


def _power_of_2(n: Node) -> Node:
    return tirx.reinterpret(_F32, tirx.shift_left(n + _whole(_BIAS), _whole(_FRACTION_BITS)))


def _float(value: float) -> Node:
    return prim.FloatImm(_F32, value)


def _whole(value: int) -> Node:
    return prim.IntImm("int32", value)
