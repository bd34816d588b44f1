"""Reads TE tensors into a workload, through the TensorIR function that TVM makes of them.

TVM drops the condition and the start value of a TE reduction without a word: the graph is checked before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import LoweringError
from .tvm_names import te, tirx
from .tvm_read import workload_from_primfunc
from .tvm_read_block import fixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .linear import Range
    from .workload import Workload

Node: TypeAlias = Any
"""An object of TVM's: it has no types to check against."""


def workload_from_te(args: Sequence[te.Tensor], ranges: Mapping[str, Range] | None = None) -> Workload:
    """The workload of TE tensors, given in the order of a call; `ranges` as for `workload_from_primfunc`."""
    _check_arguments(args)
    for operation in _operations(args):
        _check_operation(operation, args)
    try:
        func = te.create_prim_func(list(args))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise LoweringError(f"TVM makes no function of these TE tensors: {reason[:200]}") from error
    return workload_from_primfunc(func, ranges)


def _check_arguments(args: Sequence[Node]) -> None:
    if not isinstance(args, list | tuple) or not args:
        raise LoweringError(f"found a {type(args).__name__}; pass a list of TE tensors: inputs, then outputs")
    for position, arg in enumerate(args):
        if not isinstance(arg, te.Tensor):
            raise LoweringError(f"argument {position} is a {type(arg).__name__}; pass TE tensors: inputs, then outputs")
        if any(arg.same_as(other) for other in args[:position]):
            raise LoweringError(f"tensor {arg.op.name!r} is listed twice; list each once")


def _operations(args: Sequence[Node]) -> Iterator[Node]:
    """Every operation that the tensors need, each once."""
    seen: set[Node] = set()
    pending = [arg.op for arg in args]
    while pending:
        operation = pending.pop()
        if operation not in seen:
            seen.add(operation)
            yield operation
            pending += [tensor.op for tensor in operation.input_tensors]


def _check_operation(operation: Node, args: Sequence[Node]) -> None:
    subject = f"TE operation {operation.name!r}"
    if isinstance(operation, te.PlaceholderOp):
        if not any(arg.op.same_as(operation) for arg in args):
            raise LoweringError(f"{subject} is an input but not listed; list all inputs, then the outputs")
    elif not isinstance(operation, te.ComputeOp):
        raise LoweringError(
            f"{subject} is a {type(operation).__name__}, which is opaque; write it with te.compute to have it scheduled"
        )
    for slot in range(operation.num_outputs):
        shape = operation.output(slot).shape
        if any(fixed(extent) is None for extent in shape):
            raise LoweringError(f"{subject} has the shape ({', '.join(map(_size, shape))}); give it whole numbers")
    for value in getattr(operation, "body", ()):
        if isinstance(value, tirx.Reduce) and fixed(value.condition) != 1:
            raise LoweringError(
                f"{subject} reduces only where {_text(value.condition)}, which TVM drops without a word; put the "
                "condition into the value with te.if_then_else"
            )
        if isinstance(value, tirx.Reduce) and value.init:
            raise LoweringError(
                f"{subject} reduces from a start value of its own, which TVM drops without a word; add it afterwards"
            )


def _text(node: Node) -> str:
    return " ".join(str(node).split())


def _size(extent: Node) -> str:
    """An extent in a message; TVM prints loads of tensors with a warning and over many lines."""
    return str(extent) if isinstance(extent, tirx.IntImm | tirx.Var) else "computed from data or symbols"
