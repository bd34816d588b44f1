"""Expressions as text: a printer and a reader for one small language with Python's operators and precedence.

The reader walks the tree that Python's own parser makes; nothing is ever evaluated or imported. What the language has:
axes (``k``), loads (``A[i, k]``, ``S[()]``), integers of the index type (``3``), typed constants (``float32(0.5)``,
``float32(-inf)``), ``cast(int32, x)``, ``+ - * / // % & | ^ << >>``, comparisons, ``and or not``, ``a if c else b``,
``select(c, a, b)``, ``min max truncdiv truncmod``, intrinsics (``exp(x)``) and, in custom reducers, ``acc[0]``.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from typing import Final

from .dtypes import DTYPES, INDEX, is_float
from .errors import SpecError, shortened
from .expr import (
    CALLS,
    Acc,
    Axis,
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
)

MAX_TEXT: Final = 16_384
MAX_DEPTH: Final = 64
_PART: Final = rf"(?!(?:{'|'.join(keyword.kwlist)})\b)[A-Za-z_][A-Za-z0-9_]*"
NAME: Final = re.compile(rf"(?!acc\Z){_PART}(\.{_PART})*\Z")
"""What buffers, stages and axes may be called; a word of Python, even between dots, could not be read back."""
MAX_NAME: Final = 128
"""Characters of a name."""
_KEYWORDS: Final = frozenset({*keyword.kwlist, "acc"})
RESERVED: Final = (
    _KEYWORDS | DTYPES.keys() | CALLS.keys() | {"cast", "select", "min", "max", "truncdiv", "truncmod", "inf"}
)
"""Words of the language that no axis may be called by."""

_INFIX: Final = {
    "add": ("+", 8), "sub": ("-", 8), "mul": ("*", 9), "div": ("/", 9), "floordiv": ("//", 9), "floormod": ("%", 9),
    "bitand": ("&", 6), "bitor": ("|", 4), "bitxor": ("^", 5), "shl": ("<<", 7), "shr": (">>", 7),
}  # fmt: skip
_COMPARE: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FUNCTIONS: Final = ("min", "max", "truncdiv", "truncmod")
_BINARY_AST: Final = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "floormod",
    ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_COMPARE_AST: Final = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}


def text_from_expr(node: Expr) -> str:
    """The text of an expression; `expr_from_text` reads it back to an equal tree."""
    return _print(node, 0)


def _print(node: Expr, outer: int) -> str:
    """Prints `node`, in parentheses where it binds weaker than `outer` (0 weakest … 10 an atom)."""
    match node:
        case Axis(name):
            return name
        case Const(dtype, text):
            negative = dtype == INDEX and text.startswith("-")
            return (f"({text})" if negative and outer > 8 else text) if dtype == INDEX else f"{dtype}({text})"
        case Load(buffer, indices):
            return f"{buffer}[{', '.join(_print(i, 0) for i in indices) or '()'}]"
        case Acc(slot):
            return f"acc[{slot}]"
        case Cast(dtype, value):
            return f"cast({dtype}, {_print(value, 0)})"
        case Binary(op, a, b) if op in _INFIX:
            sign, level = _INFIX[op]
            return _wrap(f"{_print(a, level)} {sign} {_print(b, level + 1)}", level, outer)
        case Binary(op, a, b):
            return f"{op}({_print(a, 0)}, {_print(b, 0)})"
        case Compare(op, a, b):
            return _wrap(f"{_print(a, 4)} {_COMPARE[op]} {_print(b, 4)}", 3, outer)
        case Logic("not", (a,)):
            return _wrap(f"not {_print(a, 3)}", 3, outer)
        case Logic(op, (a, b)):
            level = 2 if op == "and" else 1
            return _wrap(f"{_print(a, level)} {op} {_print(b, level + 1)}", level, outer)
        case Select(cond, then, otherwise):
            return f"select({_print(cond, 0)}, {_print(then, 0)}, {_print(otherwise, 0)})"
        case If(cond, then, otherwise):
            return _wrap(f"{_print(then, 1)} if {_print(cond, 1)} else {_print(otherwise, 1)}", 0, outer)
        case Call(name, args):
            return f"{name}({', '.join(_print(a, 0) for a in args)})"
    raise SpecError(f"not an expression: {node!r}")


def _wrap(text: str, level: int, outer: int) -> str:
    return f"({text})" if level < outer else text


def expr_from_text(text: str) -> Expr:
    """Reads an expression; raises SpecError with the column of what is not in the language."""
    if len(text) > MAX_TEXT:
        raise SpecError(f"an expression of {len(text)} characters; at most {MAX_TEXT} are read")
    if not text.isascii() or "\n" in text or "#" in text:
        raise SpecError(
            f"expression {_excerpt(text)} has a character outside the language; use plain ASCII on one line"
        )
    if _nesting(text) > MAX_DEPTH:
        raise SpecError(f"expression {_excerpt(text)} is nested deeper than {MAX_DEPTH}; write it flatter")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise SpecError(f"expression {_excerpt(text)} cannot be read: {reason}; see the language in docs") from error
    return _read(tree.body, 0)


def _nesting(text: str) -> int:
    """An upper bound of how deep brackets and prefix signs nest, before any parser sees the text."""
    depth = deepest = run = 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        run = run + 1 if char in "-+~" else (run if char == " " else 0)
        deepest = max(deepest, depth + run)
    return deepest + text.count(" not ")


def _excerpt(text: str) -> str:
    return repr(shortened(text, 60))


def _refuse(tree: ast.AST, what: str, allowed: str) -> SpecError:
    return SpecError(f"column {getattr(tree, 'col_offset', 0) + 1}: {what}; {allowed}")


def _read(tree: ast.expr, depth: int) -> Expr:
    if depth > 4 * MAX_DEPTH:
        raise _refuse(tree, "the expression is too deep", f"at most {4 * MAX_DEPTH} levels are read")
    deeper = depth + 1
    match tree:
        case ast.Constant(value=value) if type(value) is int:
            return const(INDEX, value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if type(value) is int:
            return const(INDEX, -value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Logic("not", (_read(operand, deeper),))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY_AST:
            return Binary(_BINARY_AST[type(op)], _read(left, deeper), _read(right, deeper))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE_AST:
            return Compare(_COMPARE_AST[type(op)], _read(left, deeper), _read(right, deeper))
        case ast.BoolOp(op=op, values=values):
            return _logic("and" if isinstance(op, ast.And) else "or", values, deeper)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return If(_read(test, deeper), _read(body, deeper), _read(orelse, deeper))
        case ast.Subscript(value=value, slice=item):
            return _load(value, item, deeper)
        case ast.Call(func=func, args=args, keywords=[]):
            return _call(func, args, deeper)
        case ast.Name() | ast.Attribute():
            return Axis(_name(tree))
    raise _refuse(tree, f"{type(tree).__name__} is not in the expression language", "see docs/language.md for what is")


def _logic(op: str, values: list[ast.expr], depth: int) -> Expr:
    if depth + len(values) > 4 * MAX_DEPTH:
        raise _refuse(values[0], f"{len(values)} conditions in a row", f"at most {4 * MAX_DEPTH} levels are read")
    result = _read(values[0], depth)
    for value in values[1:]:
        result = Logic(op, (result, _read(value, depth)))
    return result


def _name(tree: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(tree, ast.Attribute):
        parts.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise _refuse(tree, "a name was expected", "names are letters, digits, _ and dots")
    return ".".join([tree.id, *reversed(parts)])


def _load(value: ast.expr, item: ast.expr, depth: int) -> Expr:
    name = _name(value)
    entries = item.elts if isinstance(item, ast.Tuple) else [item]
    if name == "acc":
        if len(entries) == 1 and isinstance(entries[0], ast.Constant) and type(entries[0].value) is int:
            return Acc(entries[0].value)
        raise _refuse(value, "acc takes one plain number", "write acc[0], acc[1], …")
    return Load(name, tuple(_read(entry, depth) for entry in entries))


def _call(func: ast.expr, args: list[ast.expr], depth: int) -> Expr:
    name = _name(func)
    if name in DTYPES:
        return _typed_constant(func, name, args)
    if name == "cast" and len(args) == 2:
        dtype = _name(args[0])
        if dtype not in DTYPES and dtype != INDEX:
            raise _refuse(func, f"unknown dtype {dtype!r}", f"allowed: {', '.join(DTYPES)}")
        return Cast(dtype, _read(args[1], depth))
    operands = tuple(_read(arg, depth) for arg in args)
    if name in _FUNCTIONS and len(operands) == 2:
        return Binary(name, operands[0], operands[1])
    if name == "select" and len(operands) == 3:
        return Select(*operands)
    if CALLS.get(name) == len(operands):
        return Call(name, operands)
    known = ", ".join(sorted([*CALLS, *_FUNCTIONS, "select", "cast"]))
    raise _refuse(func, f"no function {name} of {len(operands)} arguments", f"allowed: {known} and dtype(constant)")


def _typed_constant(func: ast.expr, dtype: str, args: list[ast.expr]) -> Const:
    sign, tree = 1, args[0] if len(args) == 1 else func
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        sign, tree = -1, tree.operand
    if isinstance(tree, ast.Name) and tree.id == "inf":
        return const(dtype, sign * math.inf) if is_float(dtype) else _bad(func)
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float) and type(tree.value) is not bool:
        return const(dtype, sign * tree.value) if math.isfinite(tree.value) else _bad(func)
    return _bad(func)


def _bad(func: ast.expr) -> Const:
    raise _refuse(func, "a typed constant holds one plain number", "write float32(0.5), int8(-3) or float32(-inf)")
