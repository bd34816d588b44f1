"""Reads TensorIR expressions into ours: one case per node class, nothing guessed.

TVM has one integer type where we have two words for it: ``index`` for axes and what is computed from them, and the
index dtype for values that happen to have it. A constant takes the word of the operand beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from .dtypes import DTYPES, INDEX, SIGNED, UNSIGNED, integer_bounds, is_float
from .errors import LoweringError, SpecError, shortened
from .expr import (
    CALLS,
    Acc,
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Logic,
    Select,
    const,
    transform,
)
from .tvm_names import BINARY_NODES, COMPARE_NODES, EXTRA_OPS, IF_OP, LIKELY_OP, OPS, WIDENED, ir, prim, tirx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .workload import Buffer

Node: TypeAlias = Any
"""An object of TVM's: it has no types to check against."""

Typed: TypeAlias = tuple[Expr, str]
"""An expression and its type: a dtype, `index`, or `OPEN`."""

OPEN: Final = "open"
"""The type of integer constants that stand beside nothing yet: index, or a value of the index dtype."""

MAX_NODES: Final = 4096
MAX_DEPTH: Final = 200

_BINARY: Final = {node: op for op, node in BINARY_NODES.items() if node not in (prim.Div, prim.Mod)}
_COMPARE: Final = {node: op for op, node in COMPARE_NODES.items()}
_CALLS: Final = {**{op: name for name, op in OPS.items()}, **EXTRA_OPS}


def refuse(block: str, reason: str) -> NoReturn:
    """Raises the LoweringError for a block that cannot be read."""
    raise LoweringError(f"block {block!r} {reason}")


def same_indices(left: Iterable[Node], right: Iterable[Node]) -> bool:
    """True if both are the same variables in the same order; TVM's ``==`` makes an expression of it."""
    return all(a.same_as(b) for a, b in zip(left, right, strict=True))


class ExprReader:
    """Reads the expressions of one block.

    `axes` are the values of the block's variables, `buffers` what the function's buffers are, `outputs` the slots of
    those that the block fills, at the indices `at`: loads of them there are its accumulators.
    """

    def __init__(
        self,
        *,
        block: str,
        index_dtype: str,
        axes: Mapping[Node, Typed],
        buffers: Mapping[Node, Buffer],
        outputs: Mapping[Node, int],
        at: list[Node],
    ) -> None:
        self.block = block
        self.index_dtype = index_dtype
        self.values: dict[Node, Typed] = dict(axes)
        self.sizes: dict[Node, int] = {}
        self.buffers = buffers
        self.outputs = outputs
        self.at = at
        self.stored: set[Node] = set()
        """Outputs whose new value is already stored: reading them is reading a sibling."""
        self.nodes = self.depth = 0

    def value(self, node: Node, dtype: str) -> Expr:
        """The expression that `node` is, where a value of `dtype` is stored."""
        return self._settled(self.read(node), dtype)

    def bind(self, name: Node, node: Node) -> None:
        """Remembers a let, to be put in where its name is used: every use counts as all of its nodes."""
        before = self.nodes
        self.values[name] = self.read(node)
        self.sizes[name] = self.nodes - before

    def read(self, node: Node) -> Typed:
        """The expression and its type; LoweringError where our language has no word for it."""
        self.count(1)
        self.depth += 1
        try:
            return _READERS.get(type(node), _unknown)(self, node)
        finally:
            self.depth -= 1

    def count(self, nodes: int) -> None:
        """Counts nodes of the block's expressions; LoweringError before they are too many to work with."""
        self.nodes += nodes
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            refuse(
                self.block,
                f"computes an expression of more than {MAX_NODES} nodes or {MAX_DEPTH} levels once its lets and shared "
                "parts are written out; split the computation into stages",
            )

    def pair(self, left: Node, right: Node) -> tuple[Expr, Expr, str]:
        """Two operands of one type, and the type."""
        a, b = self.read(left), self.read(right)
        if a[1] == OPEN:
            return self._settled(a, b[1]), b[0], b[1]
        return a[0], self._settled(b, a[1]), a[1]

    def _settled(self, typed: Typed, wanted: str) -> Expr:
        node, found = typed
        if found != OPEN or wanted in (OPEN, INDEX):
            return node
        # Only constants of the index dtype are open, so every one of them may take the value's dtype.
        return transform(node, self._as_value)

    def _as_value(self, node: Expr) -> Expr:
        return Const(self.index_dtype, node.text) if isinstance(node, Const) and node.dtype == INDEX else node

    def accumulator(self, node: Node) -> Typed:
        if node.source in self.stored:
            refuse(
                self.block,
                f"reads {node.source.name} after storing it, for another output; compute all values before the stores",
            )
        if not same_indices(node.indices, self.at):
            refuse(
                self.block,
                f"reads elements of {node.source.name} that it fills itself; scans and in-place updates have no form "
                "here: write to a buffer of its own",
            )
        return Acc(self.outputs[node.source]), self.buffers[node.source].dtype


def _unknown(reader: ExprReader, node: Node) -> Typed:
    return refuse(
        reader.block,
        f"computes {type(node).__name__} ({_excerpt(node)}), which is no scalar arithmetic; use the expressions of the "
        "language",
    )


def _excerpt(node: Node) -> str:
    return shortened(" ".join(str(node).split()), 80)


def _int(reader: ExprReader, node: Node) -> Typed:
    dtype = str(node.ty.dtype)
    if dtype == reader.index_dtype:
        return const(INDEX, int(node.value)), OPEN
    return _constant(reader, dtype, int(node.value))


def _float(reader: ExprReader, node: Node) -> Typed:
    return _constant(reader, str(node.ty.dtype), float(node.value))


def _constant(reader: ExprReader, dtype: str, value: float) -> Typed:
    try:
        return const(dtype, value), dtype
    except SpecError as error:
        raise LoweringError(f"block {reader.block!r}: {error}") from error


def _var(reader: ExprReader, node: Node) -> Typed:
    found = reader.values.get(node)
    if found is None:
        refuse(
            reader.block,
            f"uses {node.name}, which is neither an axis of it nor a let; bind every loop to a variable of the block",
        )
    reader.count(reader.sizes.get(node, 0))
    return found


def _load(reader: ExprReader, node: Node) -> Typed:
    if node.source in reader.outputs:
        return reader.accumulator(node)
    buffer = reader.buffers.get(node.source)
    if buffer is None:
        refuse(reader.block, f"reads {node.source.name}, which is no buffer of the function")
    return Load(buffer.name, tuple(reader.value(index, INDEX) for index in node.indices)), buffer.dtype


def _cast(reader: ExprReader, node: Node) -> Typed:
    dtype = str(node.ty.dtype)
    if dtype not in DTYPES:
        refuse(reader.block, f"casts to {dtype}; allowed: {', '.join(DTYPES)}")
    name = _widened_call(node)
    if name is not None:
        return Call(name, tuple(reader.read(arg.value)[0] for arg in _operands(node.value))), dtype
    return Cast(dtype, reader.value(node.value, reader.index_dtype)), dtype


def _operands(node: Node) -> list[Node]:
    return [node.a, node.b] if isinstance(node, prim.Mod) else [*node.args]


def _widened_call(node: Node) -> str | None:
    """The intrinsic on a short float that `node`, a cast, stands for (`WIDENED`); None for any other cast."""
    inner, dtype = node.value, str(node.ty.dtype)
    if dtype not in WIDENED or str(inner.ty.dtype) != "float32" or not isinstance(inner, prim.Mod | ir.Call):
        return None
    name = "fmod" if isinstance(inner, prim.Mod) else _CALLS.get(_op_name(inner))
    from_short = all(isinstance(x, prim.Cast) and str(x.value.ty.dtype) == dtype for x in _operands(inner))
    return name if name in WIDENED[dtype] and from_short else None


def _binary(reader: ExprReader, node: Node) -> Typed:
    a, b, dtype = reader.pair(node.a, node.b)
    return Binary(_BINARY[type(node)], a, b), dtype


def _divided(reader: ExprReader, node: Node) -> Typed:
    a, b, dtype = reader.pair(node.a, node.b)
    if isinstance(node, prim.Mod):
        return (Call("fmod", (a, b)) if is_float(dtype) else Binary("truncmod", a, b)), dtype
    return Binary("div" if is_float(dtype) else "truncdiv", a, b), dtype


def _inverted(reader: ExprReader, node: Node) -> Typed:
    value, dtype = reader.read(node.a)
    if dtype == "bool":
        return Logic("not", (value,)), dtype
    ones = -1 if dtype in (INDEX, OPEN) or dtype in SIGNED else integer_bounds(dtype)[1]
    return Binary("bitxor", value, const(INDEX if dtype == OPEN else dtype, ones)), dtype


def _compare(reader: ExprReader, node: Node) -> Typed:
    a, b, _ = reader.pair(*_bools(node))
    return Compare(_COMPARE[type(node)], a, b), "bool"


def _bools(node: Node) -> tuple[Node, Node]:
    """The operands of a comparison; those of bools are written as int8."""
    a, b = node.a, node.b
    if all(isinstance(x, prim.Cast) and str(x.ty.dtype) == "int8" and str(x.value.ty.dtype) == "bool" for x in (a, b)):
        return a.value, b.value
    return a, b


def _logic(reader: ExprReader, node: Node) -> Typed:
    op = "and" if isinstance(node, prim.And) else "or"
    return Logic(op, (reader.read(node.a)[0], reader.read(node.b)[0])), "bool"


def _not(reader: ExprReader, node: Node) -> Typed:
    return Logic("not", (reader.read(node.a)[0],)), "bool"


def _select(reader: ExprReader, node: Node) -> Typed:
    cond, _ = reader.read(node.condition)
    a, b, dtype = reader.pair(node.true_value, node.false_value)
    if _is_absolute(cond, a, b, dtype):
        return Call("abs", (a,)), dtype
    return Select(cond, a, b), dtype


def _is_absolute(cond: Expr, a: Expr, b: Expr, dtype: str) -> bool:
    """True for ``select(a >= 0, a, 0 - a)`` on integers, which is all that TVM has for their absolute value."""
    if dtype != INDEX and dtype not in SIGNED and dtype not in UNSIGNED:
        return False
    zero, minus = const(dtype, 0), Const(dtype, "-1")
    negated = (Binary("sub", zero, a), Binary("mul", a, minus))
    return b in negated and cond in (Compare("ge", a, zero), Compare("le", zero, a))


def _let(reader: ExprReader, node: Node) -> Typed:
    reader.bind(node.var, node.value)
    return reader.read(node.body)


def _op_name(node: Node) -> str:
    return str(node.op.name) if isinstance(node.op, ir.Op) else str(node.op)


def _call(reader: ExprReader, node: Node) -> Typed:
    op = _op_name(node)
    if op == LIKELY_OP:
        return reader.read(node.args[0])
    if op == IF_OP:
        cond, _ = reader.read(node.args[0])
        a, b, dtype = reader.pair(node.args[1], node.args[2])
        return If(cond, a, b), dtype
    name = _CALLS.get(op)
    if name is None:
        refuse(reader.block, f"calls {op}, which is not in the language; allowed: {', '.join(CALLS)}")
    read = [reader.read(arg) for arg in node.args]
    return Call(name, tuple(arg for arg, _ in read)), read[0][1]


_READERS: Final[Mapping[Any, Callable[[ExprReader, Node], Typed]]] = {
    prim.IntImm: _int,
    prim.FloatImm: _float,
    ir.Var: _var,
    ir.TensorLoad: _load,
    ir.Call: _call,
    prim.Cast: _cast,
    **dict.fromkeys(_BINARY, _binary),
    prim.Div: _divided,
    prim.Mod: _divided,
    prim.BitwiseNot: _inverted,
    **dict.fromkeys(_COMPARE, _compare),
    prim.And: _logic,
    prim.Or: _logic,
    prim.Not: _not,
    prim.Select: _select,
    tirx.Let: _let,
}
