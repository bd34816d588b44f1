"""Integer arithmetic: nothing that the simplifier or the intervals say may differ from what the numbers do."""

from __future__ import annotations

import itertools

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.bounds_exact import MAX_POINTS, exact_range
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.expr import Axis, Binary, Compare, Const, If, Select, index
from autosched.spec.expr_text import expr_from_text, text_from_expr
from autosched.spec.linear import (
    UNBOUNDED,
    Facts,
    expr_from_linear,
    facts_from_extents,
    joined_digits,
    linear,
    narrowed,
    value_range,
)
from autosched.spec.simplify import FALSE, TRUE, simplify, truth
from naive_interpreter import value_of
from strategies import AXES, conditions, index_expressions, workloads

FACTS = facts_from_extents(AXES)
POINTS = [dict(zip(AXES, place, strict=True)) for place in itertools.product(*(range(e) for e in AXES.values()))]
indices = index_expressions(AXES)
guards = conditions(AXES)


@given(indices)
def test_simplified_is_equal(node):
    simple = simplify(node, FACTS)
    for point in POINTS:
        assert value_of(simple, point) == value_of(node, point), (text_from_expr(node), text_from_expr(simple), point)


@given(guards)
def test_simplified_conditions_are_equal(cond):
    simple = simplify(cond, FACTS)
    for point in POINTS:
        assert bool(value_of(simple, point)) == bool(value_of(cond, point)), (text_from_expr(simple), point)


@given(guards, st.booleans(), indices)
def test_simplified_under_a_guard_is_equal_where_the_guard_holds(cond, holds, node):
    simple = simplify(node, narrowed(FACTS, cond, holds))
    for point in POINTS:
        if bool(value_of(cond, point)) == holds:
            assert value_of(simple, point) == value_of(node, point), (text_from_expr(simple), point)


@given(indices)
def test_the_range_encloses_every_value(node):
    low, high = value_range(node, FACTS)
    for point in POINTS:
        assert low <= value_of(node, point) <= high, (text_from_expr(node), point)


@given(guards, st.booleans(), indices)
def test_the_range_under_a_guard_encloses_every_value_there(cond, holds, node):
    low, high = value_range(node, narrowed(FACTS, cond, holds))
    for point in POINTS:
        if bool(value_of(cond, point)) == holds:
            assert low <= value_of(node, point) <= high, (text_from_expr(cond), text_from_expr(node), point)


@given(indices)
def test_simplifying_twice_changes_nothing_more(node):
    simple = simplify(node, FACTS)
    assert simplify(simple, FACTS) == simple


@given(indices.filter(lambda node: not isinstance(node, If)))
def test_a_linear_form_is_equal(node):
    back = expr_from_linear(linear(node, FACTS))
    for point in POINTS[::7]:
        assert value_of(back, point) == value_of(node, point)


@given(indices)
def test_joined_digits_are_equal(node):
    form = linear(node, FACTS)
    joined = expr_from_linear(joined_digits(form, FACTS))
    for point in POINTS:
        assert value_of(joined, point) == value_of(node, point), (text_from_expr(joined), point)


@given(indices, st.integers(2, 9), st.integers(1, 5))
def test_digits_are_joined_whatever_they_are_of(node, size, factor):
    quotient, rest = Binary("floordiv", node, index(size)), Binary("floormod", node, index(size))
    apart = Binary("add", Binary("mul", quotient, index(size * factor)), Binary("mul", rest, index(factor)))
    joined = joined_digits(linear(apart, FACTS), FACTS)
    for point in POINTS:
        assert value_of(expr_from_linear(joined), point) == factor * value_of(node, point)


def test_digits_of_an_axis_make_the_axis():
    form = linear(expr_from_text("i // 3 * 3 + i % 3 + 7"), FACTS)
    assert joined_digits(form, FACTS) == (7, {Axis("i"): 1})


@given(workloads())
def test_simplified_workloads_compute_the_same(workload):
    stages = tuple(
        attrs.evolve(stage, body=tuple(simplify(body, facts_from_extents(stage.extents)) for body in stage.body))
        for stage in workload.stages
    )
    inputs = random_inputs(workload, 0)
    expected = evaluate(workload, inputs, precise=True)
    found = evaluate(attrs.evolve(workload, stages=stages), inputs, precise=True)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def simple(text, **extents):
    return text_from_expr(simplify(expr_from_text(text), facts_from_extents(extents)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(jo * 32 + ji) // 32", "jo"),
        ("(jo * 32 + ji) % 32", "ji"),
        ("(jo * 32 + ji) // 8 // 4", "jo"),
        ("(jo * 32 + ji) // 16", "jo * 2 + ji // 16"),
        ("(jo * 64 + ji * 2) // 2", "jo * 32 + ji"),
        ("(jo * 6 + 4) // 4", "jo * 3 // 2 + 1"),
        ("(jo * 6 + 2) // 4", "(jo * 3 + 1) // 2"),
        ("ji + jo * 32 - ji", "jo * 32"),
        ("ji - ji", "0"),
        ("2 * (ji + 3) - 6", "ji * 2"),
        ("min(ji, 31)", "ji"),
        ("max(ji, 5)", "max(ji, 5)"),
        ("min(ji + 1, ji + 2)", "ji + 1"),
        ("ji % 64", "ji"),
        ("(ji + 64) % 64", "ji"),
        ("(ji - 32) // 32", "-1"),
        ("truncdiv(ji * 4, 4)", "ji"),
        ("truncdiv(ji - 5, 4)", "truncdiv(ji - 5, 4)"),
        ("ji < 32", "bool(1)"),
        ("ji >= 32", "bool(0)"),
        ("ji == 40", "bool(0)"),
        ("ji != 40", "bool(1)"),
        ("ji if jo * 32 + ji < 128 else jo", "ji"),
        ("X[ji] if ji < 16 else X[ji % 16]", "X[ji] if ji < 16 else X[ji - 16]"),
        ("ji < 32 and jo < 2", "jo < 2"),
        ("ji >= 32 or jo < 2", "jo < 2"),
        ("not ji < 32", "bool(0)"),
        ("X[(jo * 32 + ji) // 32, 0 * ji]", "X[jo, 0]"),
        ("min(ji, 20) < 18", "ji < 18"),
        ("min(ji, 20) < 20", "ji < 20"),
        ("min(ji, 20) >= 20", "ji >= 20"),
        ("min(ji, 20) > 19", "ji > 19"),
        ("min(ji, 20) == 3", "ji == 3"),
        ("min(ji, 20) <= 20", "bool(1)"),
        ("min(ji, 20) == 20", "min(ji, 20) == 20"),
        ("min(ji, 20) != 20", "min(ji, 20) != 20"),
        ("X[min(ji, 20)] if min(ji, 20) < 18 else 0", "X[ji] if ji < 18 else 0"),
    ],
)
def test_what_is_simplified(text, expected):
    assert simple(text, jo=4, ji=32) == expected


def test_floats_are_left_in_their_order():
    text = "F[i] + float32(1.0) + float32(2.0)"
    assert simple(text, i=4) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i * 3 - j", (-4, 27)),
        ("i // 3", (0, 3)),
        ("(i - 5) // 3", (-2, 1)),
        ("i % 4", (0, 3)),
        ("truncdiv(i, 3)", (0, 3)),
        ("i * j", (0, 36)),
        ("i - i", (0, 0)),
        ("R[i]", (2, 7)),
        ("R[i] * 2 + 1", (5, 15)),
        ("Q[i]", UNBOUNDED),
        ("min(max(Q[i], 0), 9)", (0, 9)),
        ("cast(int8, i)", (0, 9)),
        ("cast(int8, i * 100)", (-128, 127)),
        ("cast(uint8, Q[i])", (0, 255)),
        ("i if i < 4 else 3", (0, 3)),
        ("select(i >= 4, i, 4)", (4, 9)),
        ("i < 4", (0, 1)),
        ("int8(5)", (5, 5)),
        ("i * 1000000000 * 1000000000 * 1000000000", UNBOUNDED),
    ],
)
def test_ranges(text, expected):
    low, high = value_range(expr_from_text(text), facts_from_extents({"i": 10, "j": 5}, {"R": (2, 7)}))
    if expected == UNBOUNDED:
        assert low <= max(UNBOUNDED[0], 0)
        assert high >= UNBOUNDED[1]
    else:
        assert (low, high) == expected


@pytest.mark.parametrize(
    ("cond", "holds", "node", "expected"),
    [
        ("i >= 2 and i < 5", True, "i - 2", (0, 2)),
        ("i < 2 or i > 5", False, "i", (2, 5)),
        ("not i < 2", True, "i", (2, 9)),
        ("i + j < 4", True, "i + j", (0, 3)),
        ("i + j - 2 >= 0", True, "i + j - 2", (0, 11)),
        ("j - i > 0", True, "j - i - 1", (0, 3)),
        ("j - i > 0", True, "i - j", (-4, -1)),
        ("i == 7", True, "i", (7, 7)),
        ("i != 7", False, "i", (7, 7)),
        ("i != 7", True, "i", (0, 9)),
        ("5 > i", True, "i", (0, 4)),
        ("i * 2 < 7", True, "i * 2", (0, 6)),
        ("R[i] >= 0 and R[i] < 9", True, "R[i]", (0, 8)),
        ("R[i] < R[j]", True, "R[i]", UNBOUNDED),
    ],
)
def test_guards_narrow(cond, holds, node, expected):
    facts = narrowed(facts_from_extents({"i": 10, "j": 5}), expr_from_text(cond), holds)
    assert value_range(expr_from_text(node), facts) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B[i]", (-128, 127)),
        ("U[i]", (0, 255)),
        ("R[i] + R[j]", (-128, 127)),
        ("cast(int32, R[i]) + cast(int32, R[j])", (0, 200)),
        ("R[i] + int8(20)", (20, 120)),
        ("R[i] + int8(28)", (-128, 127)),
        ("min(max(R[i] + R[j], int8(0)), int8(9))", (0, 9)),
        ("(B[i] if i < 3 else R[i]) + int8(1)", (-128, 127)),
    ],
)
def test_arithmetic_on_loads_wraps(text, expected):
    facts = attrs.evolve(
        facts_from_extents({"i": 5, "j": 5}, {"R": (0, 100)}), dtypes={"R": "int8", "B": "int8", "U": "uint8"}
    )
    assert value_range(expr_from_text(text), facts) == expected


def test_truth_is_of_constants_only():
    assert truth(TRUE) is True
    assert truth(FALSE) is False
    assert truth(Compare("lt", Axis("i"), index(1))) is None
    assert truth(Const("int32", "1")) is None


def test_a_select_keeps_its_kind():
    node = Select(Compare("lt", Axis("i"), index(3)), Axis("i"), index(9))
    assert isinstance(simplify(node, facts_from_extents({"i": 5})), Select)


def test_unknown_axes_are_unbounded():
    assert value_range(Axis("q"), Facts({})) == UNBOUNDED


# --- exact bounds ---------------------------------------------------------------------------------------------------


@given(indices, st.lists(st.tuples(guards, st.booleans()), max_size=2))
def test_exact_bounds_are_those_of_the_points(node, taken):
    values = [
        value_of(node, point)
        for point in POINTS
        if all(bool(value_of(guard, point)) == holds for guard, holds in taken)
    ]
    assert exact_range(node, taken, AXES) == ((min(values), max(values)) if values else (0, 0))


def test_exact_bounds_give_up_where_it_takes_too_long():
    node = Binary("sub", Axis("i"), Axis("j"))
    assert exact_range(node, [], {"i": 1000, "j": 1000}) == (-999, 999)
    assert exact_range(node, [], {"i": 1000, "j": MAX_POINTS}) is None


def test_guards_that_take_too_long_are_left_out():
    cond = Compare("lt", Binary("add", Axis("i"), Axis("k")), index(3))
    near = Compare("lt", Axis("i"), index(5))
    extents = {"i": 1000, "k": MAX_POINTS}
    assert exact_range(Axis("i"), [(cond, True), (near, True)], extents) == (0, 4)


def test_loads_cannot_be_enumerated():
    assert exact_range(expr_from_text("R[i] + 1"), [], {"i": 3}) is None
    loaded = expr_from_text("R[i] < 2")
    assert exact_range(Axis("i"), [(loaded, True)], {"i": 3}) == (0, 2)
