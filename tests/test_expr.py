"""Expressions: constants, trees, types, and the text that every tree prints as and is read back from."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.dtypes import DTYPES, INDEX, integer_bounds, is_float, round_to
from autosched.spec.errors import SpecError
from autosched.spec.expr import (
    Acc,
    Axis,
    Binary,
    Call,
    Cast,
    Compare,
    Const,
    If,
    Load,
    Logic,
    Select,
    axes_in,
    const,
    const_value,
    index,
    loads,
    rename,
    substitute,
    transform,
    walk,
)
from autosched.spec.expr_text import MAX_DEPTH, MAX_TEXT, RESERVED, expr_from_text, text_from_expr
from autosched.spec.infer import Scope, infer_dtype
from autosched.spec.workload import Buffer, IterAxis
from strategies import AXES, BUFFERS, any_expressions, constants, typed_expressions

SCOPE = Scope(buffers={buffer.name: buffer for buffer in BUFFERS}, axes=frozenset(AXES), slots=("float32", "int32"))


# --- constants ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(DTYPES)).flatmap(constants))
def test_a_constant_has_one_text_that_reads_back(node):
    assert const(node.dtype, const_value(node)) == node
    assert expr_from_text(text_from_expr(node)) == node


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@given(value=st.floats(allow_nan=False))
def test_the_text_of_a_float_is_exact(dtype, value):
    expected = round_to(dtype, value)
    text = const(dtype, value).text
    assert round_to(dtype, float(text)) == expected
    assert math.copysign(1, float(text)) == math.copysign(1, expected)


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float32", 0.1, "0.1"), ("float64", 0.1, "0.1"), ("float16", 0.1, "0.1"), ("float32", 1e40, "inf"),
        ("float32", 16777217.0, "16777216.0"), ("float64", -math.inf, "-inf"), ("int8", -128, "-128"), ("bool", 1, "1"),
    ],
)  # fmt: skip
def test_texts_of_constants(dtype, value, text):
    assert const(dtype, value).text == text


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("int8", 128, "constant 128 does not fit int8; allowed: -128..127"),
        ("uint8", -1, "constant -1 does not fit uint8; allowed: 0..255"),
        ("int32", 0.5, "constant 0.5 does not fit int32"),
        ("bool", 2, "does not fit bool"),
        ("float32", math.nan, "a constant is nan; allowed are finite numbers and inf"),
        ("float8", 1, "unknown dtype 'float8' of a constant; allowed: float16"),
    ],
)
def test_constants_that_do_not_fit(dtype, value, message):
    with pytest.raises(SpecError) as error:
        const(dtype, value)
    assert message in str(error.value)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not is_float(d)])
def test_integer_constants_reach_both_ends(dtype):
    low, high = integer_bounds(dtype)
    assert const_value(const(dtype, low)) == low
    assert const_value(const(dtype, high)) == high


# --- trees ----------------------------------------------------------------------------------------------------------


@given(any_expressions)
def test_a_tree_rebuilt_without_change_is_the_same_tree(node):
    assert transform(node, lambda n: n) is node
    assert list(walk(node))[-1] is node


@given(any_expressions)
def test_renaming_there_and_back_changes_nothing(node):
    axes = {name: f"{name}_new" for name in AXES}
    buffers = {buffer.name: f"{buffer.name}_new" for buffer in BUFFERS}
    there = rename(node, axes, buffers)
    assert axes_in(there) == {axes[name] for name in axes_in(node)}
    assert [load.buffer for load in loads(there)] == [buffers[load.buffer] for load in loads(node)]
    back = rename(there, {new: old for old, new in axes.items()}, {new: old for old, new in buffers.items()})
    assert back == node


def test_substitution_is_simultaneous():
    node = Binary("sub", Axis("i"), Axis("j"))
    assert substitute(node, {"i": Axis("j"), "j": Axis("i")}) == Binary("sub", Axis("j"), Axis("i"))


# --- text -----------------------------------------------------------------------------------------------------------


@given(any_expressions)
def test_text_reads_back_to_the_same_tree(node):
    text = text_from_expr(node)
    assert expr_from_text(text) == node
    assert text.isascii()
    assert "\n" not in text


@given(any_expressions, st.sampled_from([(" ", ""), (", ", " , "), ("(", "( ")]))
def test_white_space_means_nothing(node, change):
    text = text_from_expr(node)
    if any(word in text for word in (" if ", " not ", "not ", " and ", " or ")) and change[0] == " ":
        return
    assert expr_from_text(f"  {text.replace(*change)} ") == node


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("i", Axis("i")),
        ("Y.acc.ko", Axis("Y.acc.ko")),
        ("-3", index(-3)),
        ("float32(-inf)", const("float32", -math.inf)),
        ("int8(-3)", const("int8", -3)),
        ("X[i, j]", Load("X", (Axis("i"), Axis("j")))),
        ("X.pack[i]", Load("X.pack", (Axis("i"),))),
        ("S[()]", Load("S", ())),
        ("X[R[i]]", Load("X", (Load("R", (Axis("i"),)),))),
        ("acc[1]", Acc(1)),
        ("cast(int32, i)", Cast("int32", Axis("i"))),
        ("i - j - 1", Binary("sub", Binary("sub", Axis("i"), Axis("j")), index(1))),
        ("i - (j - 1)", Binary("sub", Axis("i"), Binary("sub", Axis("j"), index(1)))),
        ("i * (-2)", Binary("mul", Axis("i"), index(-2))),
        ("(i + j) * 2", Binary("mul", Binary("add", Axis("i"), Axis("j")), index(2))),
        ("i // 2 % 3", Binary("floormod", Binary("floordiv", Axis("i"), index(2)), index(3))),
        ("truncdiv(i, 2)", Binary("truncdiv", Axis("i"), index(2))),
        ("min(i, 2)", Binary("min", Axis("i"), index(2))),
        ("i < 2 and j >= 1", Logic("and", (Compare("lt", Axis("i"), index(2)), Compare("ge", Axis("j"), index(1))))),
        (
            "(i < 2 or j < 2) and (i < 1 or not j < 1)",
            Logic(
                "and",
                (
                    Logic("or", (Compare("lt", Axis("i"), index(2)), Compare("lt", Axis("j"), index(2)))),
                    Logic(
                        "or",
                        (Compare("lt", Axis("i"), index(1)), Logic("not", (Compare("lt", Axis("j"), index(1)),))),
                    ),
                ),
            ),
        ),
        ("not i == 2", Logic("not", (Compare("eq", Axis("i"), index(2)),))),
        ("i if i < 2 else j", If(Compare("lt", Axis("i"), index(2)), Axis("i"), Axis("j"))),
        ("select(i < 2, i, j)", Select(Compare("lt", Axis("i"), index(2)), Axis("i"), Axis("j"))),
        ("exp(X[i])", Call("exp", (Load("X", (Axis("i"),)),))),
        ("pow(X[i], Y[i])", Call("pow", (Load("X", (Axis("i"),)), Load("Y", (Axis("i"),))))),
    ],
)
def test_the_language(text, node):
    assert expr_from_text(text) == node
    assert text_from_expr(node) == text


def test_a_minus_before_a_number_binds_to_it():
    assert expr_from_text("-1 + i") == Binary("add", index(-1), Axis("i"))
    assert text_from_expr(Binary("sub", Axis("i"), index(-1))) == "i - (-1)"


REFUSED = {
    "nothing": "",
    "blank": "   ",
    "attribute of a call": "exp(x).real",
    "dunder": "().__class__.__bases__",
    "attribute of a number": "(1).real",
    "index of a call": "exp(x)[i]",
    "import": "__import__('os')",
    "call of an attribute": "os.system(i)",
    "text": "'x'",
    "bytes": "b'x'",
    "formatted text": "f'{i}'",
    "bare float": "0.5",
    "complex": "1j",
    "true": "True",
    "none": "None",
    "ellipsis": "X[...]",
    "lambda": "lambda: i",
    "walrus": "(i := 2)",
    "comprehension": "[i for i in j]",
    "generator": "sum(i for i in j)",
    "list": "[i, j]",
    "tuple": "(i, j)",
    "dict": "{i: j}",
    "slice": "X[i:j]",
    "starred": "exp(*x)",
    "starred index": "X[*i]",
    "keyword": "exp(x=i)",
    "await": "await i",
    "yield": "(yield i)",
    "statement": "i = 2",
    "two statements": "i; j",
    "two lines": "i\nj",
    "carriage return": "i\rj",
    "comment": "i # j",
    "power": "i ** 2",
    "matrix product": "i @ j",
    "plus sign": "+i",
    "negation": "-i",
    "inversion": "~i",
    "is": "i is j",
    "in": "i in j",
    "chain": "1 < i < 3",
    "unknown function": "eval(i)",
    "arity": "exp(i, j)",
    "arity of min": "min(i)",
    "typed text": "float32('1')",
    "typed name": "float32(x)",
    "typed nothing": "float32()",
    "typed twice": "float32(1, 2)",
    "typed nan": "float32(nan)",
    "infinite integer": "int32(inf)",
    "overflowing float": "float32(1e999)",
    "too large": "int8(300)",
    "index too large": str(2**64),
    "cast to a wrong type": "cast(int31, i)",
    "cast to an expression": "cast(1, i)",
    "acc of an axis": "acc[i]",
    "acc twice": "acc[0, 1]",
    "other script": "x\u0456",
    "null": "i\0j",
    "unbalanced": "(i",
    "huge integer": "9" * 6000,
    "long": "i + " * (MAX_TEXT // 4) + "i",
    "deep parentheses": "(" * 5000 + "i" + ")" * 5000,
    "deep loads": "X[" * 200 + "i" + "]" * 200,
    "deep signs": "-" * 3000 + "1",
    "deep spaced signs": "- " * 3000 + "1",
    "deep negation": "not " * 2000 + "i",
    "deep conditional": "i if j else " * 1000 + "i",
    "deep sum": "i+" * 5000 + "i",
    "deep power": "i**" * 3000 + "i",
    "deep lambda": "lambda:" * 2000 + "i",
    "deep attribute": "a" + ".a" * 6000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_in_the_language_is_refused_at_once(text):
    begin = time.process_time()
    with pytest.raises(SpecError) as error:
        expr_from_text(text)
    assert time.process_time() - begin < 2, "0.2 s at most; minutes where parts are read again and again"
    assert len(str(error.value)) < 600


@given(st.text(alphabet="ij0179XYZacexp()[]{}.,:;=<>!+-*/%&|^~@'\"\\ \t_", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        node = expr_from_text(text)
    except SpecError:
        return
    assert expr_from_text(text_from_expr(node)) == node


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i ** 2", "column 1: BinOp is not in the expression language"),
        ("i + exp(j, 1)", "column 5: no function exp of 2 arguments; allowed: abs, acos"),
        (
            "float32(x)",
            "column 1: a typed constant holds one plain number; write float32(0.5), int8(-3) or float32(-inf)",
        ),
        ("cast(int31, i)", "column 1: unknown dtype 'int31'; allowed: float16"),
        ("(" * 65 + "i" + ")" * 65, f"is nested deeper than {MAX_DEPTH}; write it flatter"),
        ("i" * (MAX_TEXT + 1), f"an expression of {MAX_TEXT + 1} characters; at most {MAX_TEXT} are read"),
        ("i +", "expression 'i +' cannot be read: invalid syntax"),
    ],
)
def test_refusals_say_where_and_what(text, message):
    with pytest.raises(SpecError) as error:
        expr_from_text(text)
    assert message in str(error.value)


@pytest.mark.parametrize("word", ["and", "if", "lambda", "with", "acc", "float32", "exp", "min", "cast", "inf"])
def test_words_of_the_language_are_no_axes(word):
    assert word in RESERVED
    with pytest.raises(SpecError):
        IterAxis(name=word, extent=1)


@pytest.mark.parametrize(
    "name", ["acc", "is", "X.if.y", "None", "X.None", "1x", "", "x y", "x.", ".x", "x-y", "é", "x\n"]
)
def test_buffers_have_names_that_can_be_read_back(name):
    with pytest.raises(SpecError, match="is not a name"):
        Buffer(name=name, shape=(), dtype="float32")


@pytest.mark.parametrize("name", ["X", "if_", "X.ifs", "acc.x", "x.acc", "exp", "float32", "_", "match"])
def test_names_that_can_be_read_back(name):
    node = Load(Buffer(name=name, shape=(1,), dtype="float32").name, (index(0),))
    assert expr_from_text(text_from_expr(node)) == node


# --- types ----------------------------------------------------------------------------------------------------------


@given(typed_expressions)
def test_generated_expressions_have_the_dtype_asked_for(pair):
    dtype, node = pair
    assert infer_dtype(node, SCOPE) == dtype


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("i + 1", "int32"), ("F[i, j]", "float32"), ("cast(float16, i)", "float16"), ("i < 2", "bool"),
        ("i + T.pack[0, 0, 0]", "int32"), ("acc[0] + F[0, 0]", "float32"), ("acc[1]", "int32"), ("M[0] | M[1]", "bool"),
        ("cast(index, B[0])", "int32"), ("abs(B[0])", "int8"), ("S[()]", "float32"), ("not M[0]", "bool"),
    ],
)  # fmt: skip
def test_types(text, dtype):
    # `index` is no word of files but has a meaning in trees.
    assert infer_dtype(expr_from_text(text), SCOPE) == dtype


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q", "no axis 'q' here; axes: i, j, ko.x, one"),
        ("Q[i]", "no buffer 'Q' is known here; known: F, H, T.pack, B, S, M"),
        ("F[i]", "F[i]: 1 indices, F has 2"),
        ("F[i, F[0, 0]]", "F[i, F[0, 0]]: an index must be an integer; cast it"),
        ("F[0, 0] + 1", "F[0, 0] + 1: operands are float32 and int32; cast one of them"),
        ("F[0, 0] + H[0]", "operands are float32 and float16"),
        ("F[0, 0] if F[0, 0] else F[0, 0]", "found float32 where bool is needed"),
        ("F[0, 0] // F[0, 0]", "floordiv is for integers, found float32"),
        ("i / j", "i / j: / is for floats, found int32; use // or truncdiv"),
        ("M[0] + M[1]", "add of bools; cast them or use and/or/not"),
        ("exp(i)", "exp(i): exp is for floats, found int32; cast the argument"),
        ("abs(M[0])", "abs of a bool; cast the argument"),
        ("pow(F[0, 0], H[0])", "arguments are float16 and float32; cast them"),
        ("i and j", "found int32 where bool is needed"),
        ("acc[2]", "acc[2] where there are 2 accumulators"),
    ],
)
def test_types_that_do_not_match(text, message):
    with pytest.raises(SpecError) as error:
        infer_dtype(expr_from_text(text), SCOPE)
    assert message in str(error.value)


def test_index_arithmetic_has_the_index_dtype():
    wide = Scope(buffers={"B": Buffer(name="B", shape=(2,), dtype="int64")}, axes=frozenset("i"), index_dtype="int64")
    assert infer_dtype(expr_from_text("i + B[0] * 2"), wide) == "int64"
    assert infer_dtype(Cast(INDEX, Const("int8", "1")), wide) == "int64"
