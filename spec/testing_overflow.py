"""Whether a signed integer overflows where a workload is computed: then there is no result to compare with.

The evaluator wraps such integers. TVM leaves them to LLVM, to which overflow of a signed integer is what cannot happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np

from .dtypes import SIGNED
from .errors import SpecError
from .evaluate import evaluate
from .expr import Cast, Const, Expr, const, const_value, transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .workload import Stage, Workload

_WIDE: Final = dict.fromkeys(SIGNED, "int64")
_WIDEST: Final = dict.fromkeys(SIGNED, "float64")


def overflows(workload: Workload, inputs: Mapping[str, NDArray[Any]]) -> bool:
    """True where a signed integer stage has another value when it is computed in a wider type.

    A value did not fit its type then, the stage's own or one inside an expression. Wider is int64, and float64
    where the workload has int64 itself, if its operators are also those of floats.
    """
    own = {output.name: output.dtype for stage in workload.stages for output in stage.outputs if output.dtype in SIGNED}
    if not own:
        return False
    wider = _WIDEST if "int64" in {buffer.dtype for buffer in workload.buffers.values()} else _WIDE
    try:
        wide = widened(workload, wider)
        given = {name: array.astype(wide.buffers[name].dtype) for name, array in inputs.items()}
        found = evaluate(wide, given, keep=own)
    except (SpecError, TypeError):
        return False
    narrow = evaluate(workload, inputs, keep=own)
    # A float64 rounds what it cannot hold; what wrapped is further away by far.
    off = 0.0 if wider is _WIDE else 1e-9
    return any(not np.allclose(found[name], narrow[name].astype(found[name].dtype), rtol=off, atol=0) for name in own)


def widened(workload: Workload, wider: Mapping[str, str]) -> Workload:
    """The workload with other dtypes, in its buffers, constants and casts."""

    def constant(node: Const) -> Const:
        return const(wider[node.dtype], const_value(node)) if node.dtype in wider else node

    def visit(node: Expr) -> Expr:
        if isinstance(node, Const):
            return constant(node)
        if isinstance(node, Cast) and node.dtype in wider:
            return Cast(wider[node.dtype], node.value)
        return node

    def stage_widened(stage: Stage) -> Stage:
        reducer = stage.reducer
        if reducer is not None:
            reducer = attrs.evolve(reducer, init=tuple(map(constant, reducer.init)))
        outputs = tuple(attrs.evolve(output, dtype=wider.get(output.dtype, output.dtype)) for output in stage.outputs)
        body = tuple(transform(value, visit) for value in stage.body)
        return attrs.evolve(stage, outputs=outputs, body=body, reducer=reducer)

    inputs = tuple(attrs.evolve(buffer, dtype=wider.get(buffer.dtype, buffer.dtype)) for buffer in workload.inputs)
    return attrs.evolve(workload, inputs=inputs, stages=tuple(map(stage_widened, workload.stages)))
