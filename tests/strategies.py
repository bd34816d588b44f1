"""Every hypothesis strategy that tests share: those of `autosched.spec.testing`, and some of single records."""

from __future__ import annotations

from hypothesis import strategies as st

from autosched.spec.testing import conditions, constants, expressions, index_expressions, tasks, workloads
from autosched.spec.workload import Buffer

__all__ = [
    "AXES", "BUFFERS", "any_expressions", "conditions", "constants", "expressions", "index_expressions", "tasks",
    "typed_expressions", "workloads",
]  # fmt: skip

AXES = {"i": 5, "j": 3, "ko.x": 8, "one": 1}
"""Axes, with extents, that generated expressions mention."""
BUFFERS = (
    Buffer(name="F", shape=(4, 6), dtype="float32"),
    Buffer(name="H", shape=(3,), dtype="float16"),
    Buffer(name="T.pack", shape=(2, 3, 2), dtype="int32"),
    Buffer(name="B", shape=(5,), dtype="int8"),
    Buffer(name="S", shape=(), dtype="float32"),
    Buffer(name="M", shape=(7,), dtype="bool"),
)
"""Buffers that generated expressions read; together with `AXES`, the scope they are well typed in."""

VALUE_DTYPES = ("float32", "int32", "int8", "bool", "float16", "bfloat16", "uint64")
_OF_DTYPE = {dtype: expressions(dtype, AXES, BUFFERS) for dtype in VALUE_DTYPES}

typed_expressions = st.one_of([st.tuples(st.just(dtype), strategy) for dtype, strategy in _OF_DTYPE.items()])
"""A dtype and an expression of it over `AXES` and `BUFFERS`."""
any_expressions = st.one_of(index_expressions(AXES), *_OF_DTYPE.values())
"""Index arithmetic, or a value of any dtype, over `AXES` and `BUFFERS`."""
