"""A hypothesis strategy of well-typed expressions over two axes and one input of each of some dtypes."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from autosched.spec.expr import Axis, Binary, Call, Cast, Compare, Expr, If, Load, Logic, Select, const
from autosched.spec.workload import Buffer, IterAxis

AXES = (IterAxis(name="i", extent=3), IterAxis(name="j", extent=4))
INPUTS = {
    dtype: Buffer(name=f"X.{dtype}", shape=(3, 4), dtype=dtype)
    for dtype in ("bool", "float16", "float32", "int32", "int64")
}
_POINT = (Axis("i"), Axis("j"))
_TOTAL = ("add", "sub", "mul", "min", "max")
_DIVIDING = ("floordiv", "floormod", "truncdiv", "truncmod", "shl")
"""Operators that C leaves undefined for some second operands; TVM stops where it can fold them."""


def _load(dtype: str) -> Expr:
    return Load(INPUTS[dtype].name, _POINT)


@cache
def expressions(dtype: str) -> st.SearchStrategy[Expr]:
    """Expressions of a dtype of INPUTS, or of ``index``; indices of loads are the plain axes, so in bounds."""
    return st.recursive(_leaves(dtype), lambda inner: _larger(dtype, inner), max_leaves=6)


def _leaves(dtype: str) -> st.SearchStrategy[Expr]:
    if dtype == "index":
        return st.sampled_from(_POINT) | st.integers(-9, 9).map(lambda n: const("index", n))
    if dtype == "bool":
        numbers: st.SearchStrategy[float] = st.booleans()
    elif dtype.startswith("float"):
        numbers = st.floats(width=16, allow_nan=False)
    else:
        numbers = st.integers(-99, 99)
    return st.just(_load(dtype)) | numbers.map(lambda x: const(dtype, x))


def _larger(dtype: str, inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    if dtype == "bool":
        return _conditions(inner)
    conditions = st.deferred(lambda: expressions("bool"))
    is_float = dtype.startswith("float")
    small = st.integers(1, 7).map(lambda n: const(dtype, n))
    found = [
        st.builds(Binary, st.sampled_from(_TOTAL), inner, inner),
        st.builds(Binary, st.sampled_from(("div",) if is_float else _DIVIDING), inner, small),
        st.builds(If, conditions, inner, inner),
        st.builds(Select, conditions, inner, inner),
    ]
    if is_float:
        found.append(st.builds(lambda name, a: Call(name, (a,)), st.sampled_from(("exp", "erf", "abs")), inner))
        found.append(st.builds(lambda a, b: Call("fmod", (a, b)), inner, inner))
    if dtype != "index":
        found.append(st.sampled_from(sorted(INPUTS)).map(lambda source: Cast(dtype, _load(source))))
    return st.one_of(found)


def _conditions(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    def compared(dtype: str) -> st.SearchStrategy[Expr]:
        side = expressions(dtype)
        return st.builds(Compare, st.sampled_from(("eq", "ne", "lt", "le", "gt", "ge")), side, side)

    return st.one_of(
        st.sampled_from(("index", "int32", "int64", "float32", "bool")).flatmap(compared),
        st.builds(lambda op, a, b: Logic(op, (a, b)), st.sampled_from(("and", "or")), inner, inner),
        inner.map(lambda a: Logic("not", (a,))),
    )
