"""Records to JSON values and back: nothing is lost, nothing is coerced, and faults are found where they are."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.claim import Claim, Failure, Machine, Protocol
from autosched.spec.convert import STAGINGS, structure, unstructure
from autosched.spec.errors import SpecError
from autosched.spec.expr_text import text_from_expr
from autosched.spec.json_text import LINE, MAX_BYTES, MAX_DEPTH, compact_json, read_json, write_json
from autosched.spec.schedule import Accumulate, BindFused, BindLoop, Nest, Schedule, Split, Staging
from autosched.spec.task import Argument, OperatorCall, Target, TargetOption, Task
from autosched.spec.workload import Workload
from schedule_strategies import any_tasks, calls, claims, failures, machines, protocols, schedules, stagings, targets
from strategies import workloads

RECORDS = {
    Schedule: schedules,
    Workload: workloads(),
    Task: any_tasks(workloads(max_stages=1)),
    Target: targets,
    OperatorCall: calls,
    Machine: machines,
    Protocol: protocols,
    Failure: failures,
    Claim: claims,
}


def through_json(record: object) -> object:
    return structure(read_json(write_json(unstructure(record))), type(record))


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_a_record_survives_json(cls: type, data: st.DataObject) -> None:
    record = data.draw(RECORDS[cls])
    value = unstructure(record)
    assert structure(value, cls) == record
    assert unstructure(structure(value, cls)) == value
    assert structure(read_json(write_json(value)), cls) == record
    assert structure(read_json(compact_json(value)), cls) == record


@given(staging=stagings)
def test_a_staging_survives_alone_and_as_one_of_many(staging: Staging) -> None:
    value = unstructure(staging)
    assert isinstance(value, dict)
    assert [STAGINGS[tag] for tag in value] == [type(staging)]
    assert structure(value, type(staging)) == staging
    assert structure({"stagings": [value]}, Schedule).stagings == (staging,)


def test_the_tags_are_all_stagings() -> None:
    assert set(STAGINGS.values()) == set(Staging.__args__)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_exact(value: float) -> None:
    call = OperatorCall(name="f", args=(Argument(name="x", value=value),))
    (found,) = through_json(call).args
    assert type(found.value) is float
    assert found.value.hex() == value.hex()


@given(workload=workloads())
def test_a_body_is_written_as_text(workload: Workload) -> None:
    value: Any = unstructure(workload)
    for stage, written in zip(workload.stages, value["stages"], strict=True):
        texts = [text_from_expr(body) for body in stage.body]
        assert written["body"] == (texts[0] if len(texts) == 1 else texts)
        assert written["axes"] == [f"{axis.name}: {axis.extent}" for axis in stage.axes]


def test_the_form_of_a_schedule() -> None:
    schedule = Schedule(
        stagings=(Accumulate(stage="C", as_="C.acc", order=("i", "j")),),
        nests=(
            Nest(
                stage="C.acc",
                splits=(Split(axis="j", into=("jo", "ji"), factors=(4, 8)),),
                bind=(BindFused(fuse=("i", "jo"), as_="p", to="parallel"), BindLoop(loop="ji", to="vectorize")),
            ),
        ),
    )
    assert json.loads(json.dumps(unstructure(schedule))) == {
        "stagings": [{"accumulate": {"stage": "C", "as": "C.acc", "order": ["i", "j"]}}],
        "nests": [
            {
                "stage": "C.acc",
                "splits": [{"axis": "j", "into": ["jo", "ji"], "factors": [4, 8]}],
                "bind": [{"fuse": ["i", "jo"], "as": "p", "to": "parallel"}, {"loop": "ji", "to": "vectorize"}],
            }
        ],
    }


def test_keys_are_in_the_order_of_the_record() -> None:
    staging = Accumulate(stage="C", as_="D", splits=(Split(axis="j", into=("k",), factors=(4,)),), order=("k",))
    assert list(unstructure(staging)["accumulate"]) == ["stage", "as", "splits", "order"]


def test_a_protocol_is_written_in_full_so_that_later_defaults_do_not_change_it() -> None:
    assert set(unstructure(Protocol(threads=2))) == {field.name for field in attrs.fields(Protocol)}


@pytest.mark.parametrize("value", ["2", 2.0, True, None, [2], {}])
def test_only_a_whole_number_is_one(value: object) -> None:
    with pytest.raises(SpecError, match="allowed: a whole number") as caught:
        structure({"threads": value}, Protocol)
    assert caught.value.path == "threads"


@pytest.mark.parametrize("value", [1, 1.0, "true", None, [], 0])
def test_only_true_and_false_are_truth_values(value: object) -> None:
    with pytest.raises(SpecError, match="allowed: true or false"):
        structure({"threads": 1, "pinned": value}, Protocol)


@pytest.mark.parametrize("value", ["0.5", True, None, [0.5]])
def test_only_a_number_is_a_float(value: object) -> None:
    with pytest.raises(SpecError, match="allowed: a number"):
        structure({"threads": 1, "min_sample_s": value}, Protocol)


@given(
    into=st.lists(st.sampled_from(("jo", "ji", "jv")), min_size=1, max_size=3, unique=True),
    factor=st.sampled_from((0, 1, 2, True, False, 1.0, "1", None)),
)
def test_what_was_read_before_does_not_excuse_what_is_like_it(into: list[str], factor: Any) -> None:
    """Small records are known again by what they were read from, and in Python 1 == 1.0 == True."""
    right = {"axis": "j", "into": into, "factors": [1] * len(into)}
    known = structure(right, Split)
    assert structure(right, Split) == known
    other = {**right, "factors": [factor] * len(into)}
    if type(factor) is int and factor > 0:
        assert structure(other, Split).factors == (factor,) * len(into)
    else:
        with pytest.raises(SpecError, match="factors"):
            structure(other, Split)


@given(workloads(), st.data())
def test_a_workload_that_was_read_before_does_not_excuse_one_that_is_like_it(
    workload: Workload, data: st.DataObject
) -> None:
    form = unstructure(workload)
    assert structure(form, Workload) == workload
    assert isinstance(form, dict)
    field = data.draw(st.sampled_from(sorted(form)))
    with pytest.raises(SpecError):
        structure({**form, field: 3}, Workload)
    with pytest.raises(SpecError):
        structure({**form, "unheard": "of"}, Workload)
    assert structure(form, Workload) == workload


@given(workloads())
def test_a_workload_is_one_record_wherever_it_stands(workload: Workload) -> None:
    form: Any = unstructure(Task(workload=workload, threads=1))
    assert structure(form, Task).workload is structure(form["workload"], Workload)


def test_a_whole_number_will_do_for_a_float() -> None:
    found = structure({"threads": 1, "min_sample_s": 2}, Protocol).min_sample_s
    assert type(found) is float
    assert found == 2.0


@pytest.mark.parametrize("value", [1, None, True, ["a"], {"a": 1}])
def test_only_text_is_text(value: object) -> None:
    with pytest.raises(SpecError, match="allowed: text") as caught:
        structure({"nests": [{"stage": "C"}, {"stage": value}]}, Schedule)
    assert caught.value.path == "nests[1].stage"


@pytest.mark.parametrize("value", ["ab", {"a": 1}, 3, None, ("a", "b")])
def test_only_a_list_is_a_list(value: object) -> None:
    with pytest.raises(SpecError, match="allowed: a list") as caught:
        structure({"nests": [{"stage": "C", "order": value}]}, Schedule)
    assert caught.value.path == "nests[0].order"


@given(schedule=schedules, data=st.data())
def test_a_damaged_schedule_is_refused_with_a_path_or_is_another_schedule(
    schedule: Schedule, data: st.DataObject
) -> None:
    value = read_json(compact_json(unstructure(schedule)))
    damaged = data.draw(_damaged(value))
    try:
        other = structure(damaged, Schedule)
    except SpecError:
        return
    assert structure(unstructure(other), Schedule) == other


def _damaged(value: Any) -> st.SearchStrategy:
    """`value` with one place in it replaced by something else."""
    junk = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], {}, ["x"], {"x": 1}])
    if isinstance(value, list) and value:
        return junk | st.integers(0, len(value) - 1).flatmap(
            lambda n: _damaged(value[n]).map(lambda new: [*value[:n], new, *value[n + 1 :]])
        )
    if isinstance(value, dict) and value:
        return junk | st.sampled_from(sorted(value)).flatmap(
            lambda key: _damaged(value[key]).map(lambda new: {**value, key: new})
        )
    return junk


def test_options_of_a_target_are_sorted_whatever_their_order_in_the_file() -> None:
    found = structure({"mcpu": "znver5", "kind": "llvm", "jit": True, "cores": 2}, Target)
    assert found.options == (
        TargetOption(name="cores", value=2),
        TargetOption(name="jit", value=True),
        TargetOption(name="mcpu", value="znver5"),
    )


def test_what_cannot_be_said_is_not_written() -> None:
    twice = (TargetOption(name="mcpu", value="a"), TargetOption(name="mcpu", value="b"))
    with pytest.raises(SpecError, match="option is given twice"):
        unstructure(Target(options=twice))
    with pytest.raises(SpecError, match="called kind"):
        unstructure(Target(options=(TargetOption(name="kind", value="a"),)))
    with pytest.raises(SpecError, match="argument is given twice"):
        unstructure(OperatorCall(name="f", args=(Argument(name="x", value=1), Argument(name="x", value=2))))


# --- the text itself --------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(value=values)
def test_any_value_survives_both_forms(value: Any) -> None:
    for text in (write_json(value), compact_json(value)):
        assert read_json(text) == value
        assert read_json(text.encode()) == value
    assert "\n" not in compact_json(value)
    assert compact_json(value).isascii()


@given(value=values)
def test_only_what_does_not_fit_on_a_line_is_broken(value: Any) -> None:
    text = write_json(value)
    flat = json.dumps(value, ensure_ascii=False)
    assert (text == flat + "\n") == (len(flat) < LINE or not value or not isinstance(value, (list, dict)))
    for line in text.splitlines():
        entry = line.strip().removesuffix(",")
        inside = "{" + entry + "}" if entry.startswith('"') and not entry.endswith('"') else "[" + entry + "]"
        if len(line) > LINE and not entry.endswith(("[", "{")):
            (found,) = _items(inside)
            assert not found or not isinstance(found, (list, dict)), "this could have been broken"


def _items(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:  # a key and a text
        found = json.loads("{" + text[1:-1] + "}")
    return list(found.values()) if isinstance(found, dict) else found


def test_what_fits_on_a_line_stays_on_it() -> None:
    room = LINE - len('  "k": ["",')
    text = write_json({"a": [1] * 60, "k": ["x" * (room - 1)], "l": ["x" * room]})
    lines = text.splitlines()
    assert f'  "k": ["{"x" * (room - 1)}"],' in lines
    assert '  "l": [' in lines
    assert max(map(len, lines)) == LINE
    assert write_json([]) == "[]\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_written(value: float) -> None:
    for write in (write_json, compact_json):
        with pytest.raises(SpecError, match="nan or an infinity"):
            write({"x": [value]})


def test_nesting_is_counted_exactly_and_strings_do_not_count() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert read_json('["' + "[" * 100 + '", "\\"' + "{" * 100 + '"]')
    assert read_json("[" + "[]," * 1000 + "[]]")
    for text in ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), '{"a":' * 65 + "1" + "}" * 65, "[" * 10**6):
        with pytest.raises(SpecError, match="nest deeper"):
            read_json(text)


@given(text=st.text(st.sampled_from('[]{}",:1\\a ')))
def test_nesting_is_never_undercounted(text: str) -> None:
    try:
        read_json("[" * (MAX_DEPTH - 1) + text)
    except SpecError:
        return
    raise AssertionError("brackets are not closed, so this is not JSON")


def test_size_is_bounded_before_anything_else() -> None:
    assert read_json(" " * (MAX_BYTES - 1) + "1") == 1
    for text in (" " * MAX_BYTES + "1", b"\xff" * (MAX_BYTES + 1)):
        with pytest.raises(SpecError, match="at most 8388608 are read"):
            read_json(text)


def test_whole_numbers_have_at_most_twenty_digits() -> None:
    assert read_json("-" + "9" * 20) == -(10**20 - 1)
    with pytest.raises(SpecError, match="21 digits"):
        read_json("-" + "9" * 21)


@pytest.mark.parametrize("text", ["1e400", "-1e400", '{"a": [1.5e309]}'])
def test_a_float_too_large_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="too large for a float"):
        read_json(text)
