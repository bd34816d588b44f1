"""Keys: every input that changes the answer changes the key, nothing else does, and they stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.builder import build, call, compute, constant, placeholder
from autosched.spec.claim import Machine, Protocol
from autosched.spec.errors import SpecError
from autosched.spec.task import Argument, OperatorCall, Target, TargetOption, Task, ValueRange
from autosched.store.keys import (
    KEY_DIGITS,
    Difference,
    Key,
    differences,
    key_from_task,
    machine_key,
    protocol_key,
    record_key,
    slot,
    task_key,
)
from store_cases import MACHINE, PROTOCOL, gemm, tiled

if TYPE_CHECKING:
    from collections.abc import Callable


def lookup(indices: str = "I", table: str = "T", out: str = "Y") -> Task:
    """Y[i] = exp(T[i]) * I[i]: with an integer input, so that its values may be bounded."""
    I, T = placeholder((8,), "int32", name=indices), placeholder((8,), name=table)  # noqa: E741
    workload = build([I, T, compute((8,), lambda i: call("exp", T[i]) * I[i].astype("float32"), name=out)])
    return Task(
        workload=workload, threads=2, constants=(table,), ranges=(ValueRange(buffer=indices, low=0, high=99),),
        target=Target(options=(TargetOption(name="mcpu", value="znver5"), TargetOption(name="opt", value=3))),
    )  # fmt: skip


TASK = lookup()


def option(name: str, value: str | int | bool) -> Callable[[Task], Task]:
    kept = tuple(o for o in TASK.target.options if o.name != name)
    return lambda t: attrs.evolve(t, target=Target(kind="llvm", options=(*kept, TargetOption(name=name, value=value))))


MUTATIONS: dict[str, Callable[[Task], Task]] = {
    "workload": lambda t: attrs.evolve(gemm(), target=t.target),
    "extent": lambda t: attrs.evolve(t, workload=gemm(extent=32).workload, constants=(), ranges=()),
    "target kind": lambda t: attrs.evolve(t, target=attrs.evolve(t.target, kind="cuda")),
    "no options": lambda t: attrs.evolve(t, target=Target()),
    "option's value": option("mcpu", "znver4"),
    "option as text": option("opt", "3"),
    "option as truth": option("opt", True),
    "one as option": option("opt", 1),
    "another option": option("mattr", "+avx512f"),
    "threads": lambda t: attrs.evolve(t, threads=1),
    "constants": lambda t: attrs.evolve(t, constants=()),
    "another constant": lambda t: attrs.evolve(t, constants=("I",)),
    "both constant": lambda t: attrs.evolve(t, constants=("I", "T")),
    "ranges": lambda t: attrs.evolve(t, ranges=()),
    "low": lambda t: attrs.evolve(t, ranges=(ValueRange(buffer="I", low=1, high=99),)),
    "high": lambda t: attrs.evolve(t, ranges=(ValueRange(buffer="I", low=0, high=98),)),
    "order of parameters": lambda t: attrs.evolve(t, workload=attrs.evolve(t.workload, params=("T", "I", "Y"))),
    "index dtype": lambda t: attrs.evolve(t, workload=attrs.evolve(t.workload, index_dtype="int64")),
}


def test_every_input_changes_the_key() -> None:
    keys = {name: task_key(mutate(TASK)) for name, mutate in MUTATIONS.items()} | {"none": task_key(TASK)}
    same = [(a, b) for a in keys for b in keys if a < b and keys[a] == keys[b]]
    assert same == []


@pytest.mark.parametrize(
    "same",
    [
        lookup("indices", "weights", "result"),
        attrs.evolve(TASK, op=OperatorCall(name="embedding", args=(Argument(name="n", value=8),))),
        attrs.evolve(TASK, target=attrs.evolve(TASK.target, options=TASK.target.options[::-1])),
        attrs.evolve(TASK, constants=("T", "T")),
    ],
    ids=["names", "operator", "order of options", "a constant twice"],
)
def test_what_changes_no_answer_changes_no_key(same: Task) -> None:
    assert task_key(same) == task_key(TASK)


def test_every_field_of_a_key_counts() -> None:
    key = key_from_task(TASK, MACHINE)
    changed: dict[str, object] = {
        "identity_version": 0, "workload": "0" * 64, "target_kind": "cuda", "target_options": (), "threads": 1,
        "constants": (), "ranges": (),
    }  # fmt: skip
    assert {*changed, "machine"} == {field.name for field in attrs.fields(Key)}, "a new field wants its mutation here"
    keys = {attrs.evolve(key, **{name: value}).task for name, value in changed.items()}  # type: ignore[arg-type]
    assert len(keys | {key.task}) == len(changed) + 1
    assert attrs.evolve(key, machine="").task == key.task == task_key(TASK), "one task on all machines"


MACHINE_MUTATIONS: dict[str, object] = {
    "arch": "aarch64", "vendor": "GenuineIntel", "family": 6, "model": 85, "isa": ("avx2",), "cores": 4,
    "l1d_bytes": 32768, "l2_bytes": 0, "l3_bytes": 0,
}  # fmt: skip
PROTOCOL_MUTATIONS: dict[str, object] = {
    "version": 2, "warmup": 0, "number": 2, "repeats": 3, "min_sample_s": 0.1, "flush_cache": True, "pinned": False,
    "threads": 1, "statistic": "min",
}  # fmt: skip


def test_every_fact_of_a_machine_counts() -> None:
    assert set(MACHINE_MUTATIONS) == {field.name for field in attrs.fields(Machine)}
    changed = {machine_key(attrs.evolve(MACHINE, **{name: value})) for name, value in MACHINE_MUTATIONS.items()}  # type: ignore[arg-type]
    assert len(changed | {machine_key(MACHINE)}) == len(MACHINE_MUTATIONS) + 1


def test_every_part_of_a_protocol_counts() -> None:
    assert set(PROTOCOL_MUTATIONS) == {field.name for field in attrs.fields(Protocol)}
    changed = {protocol_key(attrs.evolve(PROTOCOL, **{name: value})) for name, value in PROTOCOL_MUTATIONS.items()}  # type: ignore[arg-type]
    assert len(changed | {protocol_key(PROTOCOL)}) == len(PROTOCOL_MUTATIONS) + 1


def test_equal_records_have_equal_keys() -> None:
    odd = attrs.evolve(PROTOCOL, flush_cache=0, pinned=1, min_sample_s=5)  # type: ignore[arg-type] # as a caller may
    even = attrs.evolve(PROTOCOL, flush_cache=False, pinned=True, min_sample_s=5.0)
    assert odd == even
    for first, second in ((odd, even), (even, odd)):
        protocol_key.cache_clear()
        assert protocol_key(first) == protocol_key(second), "whoever asks first must not decide for the others"


def test_keys_stay_what_they_are() -> None:
    # If one of these changes, every store in the world becomes a miss: raise IDENTITY_VERSION, and say so in CHANGELOG.
    assert task_key(gemm()) == TASK_KEY
    assert machine_key(MACHINE) == MACHINE_KEY
    assert protocol_key(PROTOCOL) == PROTOCOL_KEY


TASK_KEY = "826bc114417b77bb64154be4217590b77a0ce37932a5172da97b9a741dd6fbb7"
MACHINE_KEY = "01a25578d34d9aba18012c7e724b3544d9510f547f40a48e11c0cf41c343495f"
PROTOCOL_KEY = "60cc99f22d4074e6adb6c04b2a9ec5f14ba5b7b3eb66a2c5580c0258677c8758"


def test_a_slot_is_task_machine_protocol_and_a_record_its_schedule_too() -> None:
    place = slot(gemm(), MACHINE, PROTOCOL)
    assert place.split("/") == [task_key(gemm()), machine_key(MACHINE), protocol_key(PROTOCOL)]
    assert {len(part) for part in place.split("/")} == {KEY_DIGITS}
    one, two = (record_key(gemm(), MACHINE, PROTOCOL, tiled(factor=f)) for f in (8, 16))
    assert one != two
    assert one.rpartition("/")[0] == two.rpartition("/")[0] == f"record/{place}"


def test_a_record_has_one_key_under_all_names() -> None:
    keys = {record_key(gemm(names), MACHINE, PROTOCOL, tiled(names)) for names in ("ABCijk", "XYZmnr", "PQRabc")}
    assert len(keys) == 1


@given(st.permutations(["A", "B", "C"]), st.permutations(["i", "j", "k"]))
def test_names_are_no_part_of_a_key(buffers: list[str], axes: list[str]) -> None:
    assert task_key(gemm("".join(buffers + axes))) == task_key(gemm())


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 8), st.integers(1, 8))
def test_keys_are_equal_only_for_equal_requests(a: int, b: int, threads_a: int, threads_b: int) -> None:
    same = task_key(gemm(extent=a, threads=threads_a)) == task_key(gemm(extent=b, threads=threads_b))
    assert same == ((a, threads_a) == (b, threads_b))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (attrs.evolve(TASK, constants=("W",)), r"constants: 'W' is not a parameter; parameters: I, T, Y"),
        (attrs.evolve(TASK, ranges=(ValueRange(buffer="i", low=0, high=1),)), r"ranges: 'i' is not a parameter"),
        (attrs.evolve(TASK, ranges=TASK.ranges * 2), r"ranges: p0 is given twice; give one value"),
        (
            attrs.evolve(TASK, target=attrs.evolve(TASK.target, options=TASK.target.options * 2)),
            r"target.options: mcpu, opt is given twice; give one value",
        ),
    ],
    ids=["constant", "range", "range twice", "option twice"],
)
def test_a_task_that_contradicts_itself_has_no_key(wrong: Task, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        task_key(wrong)


def test_differences_say_which_fields() -> None:
    ours = key_from_task(TASK, MACHINE)
    assert differences(ours, ours) == ()
    assert differences(ours, attrs.evolve(ours, threads=8, constants=())) == (
        Difference(field="threads", ours="2", theirs="8"),
        Difference(field="constants", ours="p1", theirs="none"),
    )
    assert differences(MACHINE, attrs.evolve(MACHINE, isa=("avx2", "sse2"))) == (
        Difference(field="isa", ours="avx2 avx512f fma", theirs="avx2 sse2"),
    )
    with pytest.raises(TypeError, match="a Machine is compared with a Protocol; give two of one class"):
        differences(MACHINE, PROTOCOL)


def test_a_constant_in_the_body_counts() -> None:
    def scaled(factor: float) -> Task:
        A = placeholder((4,), name="A")
        return Task(workload=build([A, compute((4,), lambda i: A[i] * constant(factor, "float32"), "B")]), threads=1)

    assert task_key(scaled(2.0)) != task_key(scaled(2.0000002384185791))
    assert task_key(scaled(0.1)) == task_key(scaled(0.10000000149011612)), "the same float32"
