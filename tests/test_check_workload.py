"""Each rule of a well-formed workload is broken once, and the message says where, what and what to do."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autosched.spec.check_workload import MAX_STAGES, check_workload
from autosched.spec.errors import SpecError
from autosched.spec.evaluate import evaluate, random_inputs
from autosched.spec.expr import Acc, Axis, Load, const
from autosched.spec.expr_text import expr_from_text
from autosched.spec.task import ValueRange
from autosched.spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from strategies import AXES, BUFFERS, expressions, workloads

X = Buffer(name="X", shape=(4,), dtype="float32")
Y = Stage(
    name="Y",
    axes=(IterAxis(name="i", extent=4),),
    outputs=(Output(name="Y", dtype="float32"),),
    body=(Load("X", (Axis("i"),)),),
)
GOOD = Workload(inputs=(X,), stages=(Y,), params=("X", "Y"))
ZERO = Reducer(op="sum", init=(const("float32", 0),))
K = IterAxis(name="k", extent=2)


def with_stage(**changes):
    return attrs.evolve(GOOD, stages=(attrs.evolve(Y, **changes),))


def stage_reading(buffer, name, dtype="float32"):
    body = (Load(buffer, (Axis("i"),)),)
    return attrs.evolve(Y, name=name, outputs=(Output(name=name, dtype=dtype),), body=body)


def test_a_good_workload_passes():
    check_workload(GOOD)


def test_errors_are_value_errors_with_a_path():
    with pytest.raises(ValueError, match="operands") as error:
        check_workload(with_stage(body=(expr_from_text("X[i] + 1"),)))
    assert error.value.path == "stages[0] 'Y'"


MANY = tuple(stage_reading("X" if n == 0 else f"S{n - 1}", f"S{n}") for n in range(MAX_STAGES + 1))
BAD = {
    "buffer twice": (
        attrs.evolve(GOOD, inputs=(X, X)),
        "two buffers are called 'X'; give each its own name",
    ),
    "stage twice": (
        attrs.evolve(GOOD, stages=(Y, attrs.evolve(Y, outputs=(Output(name="Z", dtype="float32"),)))),
        "two stages are called 'Y'; give each its own name",
    ),
    "output named unlike its stage": (
        with_stage(outputs=(Output(name="Z", dtype="float32"),)),
        "stage 'Y' fills 'Z'; a single output has its stage's name",
    ),
    "values and outputs": (with_stage(body=()), "stage 'Y' has 0 values for 1 outputs"),
    "no outputs": (with_stage(outputs=(), body=()), "stage 'Y' has 0 values for 0 outputs"),
    "parameter twice": (attrs.evolve(GOOD, params=("X", "Y", "Y")), "params: parameter 'Y' is listed twice"),
    "unknown parameter": (attrs.evolve(GOOD, params=("X", "Q", "Y")), "params: parameter 'Q' is no buffer"),
    "input not a parameter": (attrs.evolve(GOOD, params=("Y",)), "params: input 'X' is not a parameter; add it"),
    "no output": (attrs.evolve(GOOD, params=("X",)), "params: no output among the parameters; add the buffer"),
    "index dtype": (attrs.evolve(GOOD, index_dtype="int8"), "index_dtype: index dtype 'int8'; allowed: int32, int64"),
    "no stages": (attrs.evolve(GOOD, stages=(), params=("X",)), "params: no output"),
    "too many stages": (
        attrs.evolve(GOOD, stages=MANY, params=("X", MANY[-1].name)),
        "stages: 65 stages; allowed: 1 to 64",
    ),
    "unknown buffer": (
        with_stage(body=(Load("Q", (Axis("i"),)),)),
        "stages[0]: stage 'Y' reads 'Q', which is not known",
    ),
    "order": (
        attrs.evolve(GOOD, stages=(stage_reading("Z", "Y"), stage_reading("X", "Z"))),
        "stages[0]: stage 'Y' reads 'Z', which is filled by this or a later stage; put stages in order",
    ),
    "reads itself": (with_stage(body=(Load("Y", (Axis("i"),)),)), "reads 'Y', which is filled by this or a later"),
    "needless stage": (
        attrs.evolve(GOOD, stages=(Y, stage_reading("X", "Z"))),
        "stages: stage 'Z' is needed by no output; remove it",
    ),
    "too large": (
        attrs.evolve(GOOD, inputs=(attrs.evolve(X, shape=(2**16, 2**15)),)),
        "buffer 'X' has 2147483648 elements; at most 2147483647 fit int32",
    ),
    "too many dimensions": (
        attrs.evolve(GOOD, inputs=(attrs.evolve(X, shape=(1,) * 17),)),
        "buffer 'X' has 17 dimensions; at most 16",
    ),
    "axis twice": (
        with_stage(axes=(IterAxis(name="i", extent=4), IterAxis(name="i", extent=2))),
        "stages[0] 'Y'.axes: two axes are called 'i'; give each its own name",
    ),
    "reduce without reducer": (with_stage(reduce=(K,)), "'Y'.reduce: a reducer and reduce axes come together"),
    "reducer without reduce": (with_stage(reducer=ZERO), "'Y'.reduce: a reducer and reduce axes come together"),
    "acc without reducer": (with_stage(body=(Acc(0),)), "stages[0] 'Y'.body: acc is for custom reducers"),
    "acc in a sum": (with_stage(body=(Acc(0),), reduce=(K,), reducer=ZERO), "acc is for custom reducers; take it out"),
    "two outputs of a sum": (
        attrs.evolve(
            GOOD,
            params=("X", "P", "Q"),
            stages=(
                attrs.evolve(
                    Y,
                    outputs=(Output(name="P", dtype="float32"), Output(name="Q", dtype="float32")),
                    body=Y.body * 2,
                    reduce=(K,),
                    reducer=ZERO,
                ),
            ),
        ),
        "stages[0] 'Y'.reducer: reducer sum fills one output, found 2; use custom",
    ),
    "start values": (
        with_stage(reduce=(K,), reducer=Reducer(op="sum", init=())),
        "stages[0] 'Y'.reducer.init: 0 start values for 1 outputs",
    ),
    "type of a start value": (
        with_stage(reduce=(K,), reducer=Reducer(op="sum", init=(const("int8", 0),))),
        "stages[0] 'Y'.reducer.init: start value int8(0) is not a float32 constant",
    ),
    "type of a value": (
        with_stage(body=(expr_from_text("cast(int8, X[i])"),)),
        "stages[0] 'Y'.body: the value is int8, output 'Y' is float32; cast one",
    ),
    "types of operands": (with_stage(body=(expr_from_text("X[i] * i"),)), "X[i] * i: operands are float32 and int32"),
    "unknown axis": (with_stage(body=(expr_from_text("X[j]"),)), "stages[0] 'Y': no axis 'j' here; axes: i"),
    "too high": (
        with_stage(body=(expr_from_text("X[i + 1]"),)),
        "stages[0] 'Y'.body: X[i + 1]: index 0 runs over 1..4, allowed is 0..3; guard it with 'x if cond else y'",
    ),
    "too low": (with_stage(body=(expr_from_text("X[i - 1]"),)), "X[i - 1]: index 0 runs over -1..2, allowed is 0..3"),
    "guarded on one side": (
        with_stage(body=(expr_from_text("X[i * 2 - 1] if i >= 1 else float32(0.0)"),)),
        "X[i * 2 - 1]: index 0 runs over 1..5, allowed is 0..3",
    ),
    "guarded by a select": (
        with_stage(body=(expr_from_text("select(i >= 1, X[i - 1], float32(0.0))"),)),
        "X[i - 1]: index 0 runs over -1..2",
    ),
    "in a condition": (
        with_stage(body=(expr_from_text("X[i] if X[i + 1] > float32(0.0) else X[0]"),)),
        "X[i + 1]: index 0 runs over 1..4",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("workload", "message"), BAD.values(), ids=BAD.keys())
def test_every_rule_has_its_message(workload, message):
    with pytest.raises(SpecError) as error:
        check_workload(workload)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        "X[i - 1] if i >= 1 else float32(0.0)",
        "X[i + 1] if i < 3 else float32(0.0)",
        "float32(0.0) if i < 2 or i > 3 else X[i - 2]",
        "(X[i * 2 - 2] if i * 2 - 2 < 4 else float32(1.0)) if i >= 1 else float32(0.0)",
        "X[(i + 2) % 4]",
        "X[3 - i]",
        "X[min(i * 5, 3)]",
        "X[i // 2 + i % 2]",
        "X[i * 3 // 2 - i // 2]",
        "X[i * i // 3]",
        "X[i - 1] if i * i > 0 else float32(0.0)",
    ],
)
def test_loads_shown_to_be_in_bounds(body):
    check_workload(with_stage(body=(expr_from_text(body),)))


# --- gathers --------------------------------------------------------------------------------------------------------


def gather(text, dtype="int32"):
    rows = Buffer(name="R", shape=(4,), dtype=dtype)
    return attrs.evolve(
        GOOD, inputs=(X, rows), params=("X", "R", "Y"), stages=(attrs.evolve(Y, body=(expr_from_text(text),)),)
    )


@pytest.mark.parametrize(
    ("text", "dtype", "ranges"),
    [
        ("X[R[i]]", "int32", {"R": (0, 3)}),
        ("X[R[i] // 2]", "int32", {"R": (0, 7)}),
        ("X[min(max(R[i], 0), 3)]", "int32", {}),
        ("X[R[i]] if R[i] >= 0 and R[i] < 4 else float32(0.0)", "int32", {}),
        ("X[R[i] + int8(1)]", "int8", {"R": (-1, 2)}),
        ("X[cast(int32, R[i]) + cast(int32, R[0])]", "int8", {"R": (0, 1)}),
    ],
)
def test_gathers_in_bounds(text, dtype, ranges):
    check_workload(gather(text, dtype), ranges)


@pytest.mark.parametrize(
    ("text", "dtype", "ranges", "message"),
    [
        ("X[R[i]]", "int32", {}, "index 0 runs over -2147483648..2147483647, allowed is 0..3; clamp it with min"),
        ("X[R[i]]", "int32", {"R": (0, 4)}, "index 0 runs over 0..4, allowed is 0..3; clamp it with min and max"),
        ("X[R[i]]", "uint8", {}, "index 0 runs over 0..255"),
        ("X[R[i]] if R[i] < 4 else X[0]", "int32", {}, "index 0 runs over -2147483648..3"),
        ("X[(R[i] + R[0]) // int8(64)]", "int8", {"R": (0, 127)}, "index 0 runs over -2..1"),
    ],
)  # fmt: skip
def test_gathers_out_of_bounds(text, dtype, ranges, message):
    with pytest.raises(SpecError) as error:
        check_workload(gather(text, dtype), ranges)
    assert message in str(error.value)


# --- what passes can be computed ------------------------------------------------------------------------------------


@given(workloads())
def test_generated_workloads_pass(workload):
    check_workload(workload)


UNCLAMPED = {dtype: expressions(dtype, AXES, BUFFERS, in_bounds=False) for dtype in ("float32", "int32")}


@given(st.sampled_from(["float32", "int32"]).flatmap(lambda dtype: st.tuples(st.just(dtype), UNCLAMPED[dtype])))
def test_what_passes_never_reads_out_of_bounds(pair):
    dtype, body = pair
    stage = Stage(
        name="Y",
        axes=tuple(IterAxis(name=name, extent=extent) for name, extent in AXES.items()),
        outputs=(Output(name="Y", dtype=dtype),),
        body=(body,),
    )
    workload = Workload(inputs=BUFFERS, stages=(stage,), params=(*(buffer.name for buffer in BUFFERS), "Y"))
    try:
        check_workload(workload)
    except SpecError as error:
        assert "runs over" in str(error)  # noqa: PT017 # any other rule would mean that the strategy is wrong
        assume(False)
    evaluate(workload, random_inputs(workload, 0))


def test_ranges_of_inputs_are_used_by_both():
    workload = gather("X[R[i]]")
    check_workload(workload, {"R": (1, 2)})
    inputs = random_inputs(workload, 0, [ValueRange(buffer="R", low=1, high=2)])
    assert evaluate(workload, inputs)["Y"].shape == (4,)


def test_what_was_found_good_with_some_ranges_is_not_good_with_all():
    workload = gather("X[R[i]]")
    for _ in range(2):
        check_workload(workload, {"R": (0, 3)})
        with pytest.raises(SpecError, match=r"index 0 runs over 0\.\.4"):
            check_workload(workload, {"R": (0, 4)})
        with pytest.raises(SpecError, match="index 0 runs over -2147483648"):
            check_workload(workload)


def test_a_list_where_a_tuple_belongs_is_checked_all_the_same():
    body = (Load("X", [Axis("i")]),)
    for _ in range(2):
        check_workload(with_stage(body=body))
        with pytest.raises(SpecError, match=r"index 0 runs over 0\.\.3"):
            check_workload(attrs.evolve(with_stage(body=body), inputs=(attrs.evolve(X, shape=(3,)),)))
    check_workload(gather("X[R[i]]"), {"R": [0, 3]})


def test_checking_an_ordinary_workload_does_not_import_numpy():
    code = """
import sys
from autosched.spec.builder import *
A = placeholder((8,), name="A")
Y = compute((8,), lambda i: if_then_else(i >= 1, A[i - 1], 0.0), "Y")
build([A, Y])
assert "numpy" not in sys.modules
Z = compute((4,), lambda i: A[i * 3 // 2 - i // 2], "Z")
build([A, Z])
assert "numpy" in sys.modules, "the last resort of a check"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
