"""Keys over generated requests: equal ones share a key and what is stored, and each thing said in a request counts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.spec.check import check_schedule
from autosched.spec.convert import structure, unstructure
from autosched.spec.errors import SpecError
from autosched.spec.json_text import compact_json
from autosched.spec.outline import outline_from_json, outline_of
from autosched.spec.rename import schedule_digest
from autosched.spec.schedule import Schedule
from autosched.spec.spec_file import SpecFile
from autosched.spec.task import Task
from autosched.spec.testing import schedules, tasks
from autosched.store.keys import record_key, task_key
from autosched.store.store import Store
from autosched.store.stored import StoredRecord, record_from_stored, stored_from_record
from schedule_strategies import other_names
from store_cases import MACHINE, record, timed
from strategies import workloads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

small = tasks(workloads(max_stages=2))
unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def equal_tasks(draw: st.DrawFn, task: Task) -> Task:
    """The same request in other names, its stages in another order, what counts as a set in another."""
    workload = draw(other_names(task.workload))
    to = dict(zip(task.workload.params, workload.params, strict=True))
    constants = draw(st.permutations([to[name] for name in task.constants]))
    return attrs.evolve(task, workload=workload, constants=tuple(constants), op=None)


@unhurried
@given(task=small, data=st.data())
def test_equal_requests_share_a_key_and_what_is_stored_fits_both(task: Task, data: st.DataObject) -> None:
    other = data.draw(equal_tasks(task))
    schedule = data.draw(schedules(task))
    assert task_key(other) == task_key(task)
    assert outline_of(other) == outline_of(task)
    put = record(
        timed(0.001), task=task, schedule=schedule, protocol=attrs.evolve(record().protocol, threads=task.threads)
    )
    text = compact_json(unstructure(stored_from_record(put)))
    given_back = record_from_stored(structure(json.loads(text), StoredRecord), other, put.machine, put.protocol)
    check_schedule(given_back.schedule, other)
    assert schedule_digest(given_back.schedule, other.names) == schedule_digest(schedule, task.names)
    for same in (given_back, attrs.evolve(put, task=task)):
        assert record_key(same.task, same.machine, same.protocol, same.schedule) == record_key(
            put.task, put.machine, put.protocol, put.schedule
        )


@given(small)
def test_an_outline_is_read_from_what_is_written(task: Task) -> None:
    written: Any = unstructure(SpecFile(task=task, schedule=Schedule()))
    assert outline_from_json(written["task"]) == outline_of(task)


# --- everything that is said ------------------------------------------------------------------------------------------

TASK = get_task("conv2d", N=1, C=4, H=6, W=6, K=8, R=3, S=3, padding=1, bias=True, relu=True, threads=2)
NAMES = {"name", "op", "args", "params"}
"""Keys whose text is a name, which is no part of the identity; `op` of a reducer is flipped by itself."""
FLIPS = (
    (r"\d+", lambda found: str(int(found[0]) + 1)), (r" \+ ", lambda _: " - "), (r" - ", lambda _: " + "),
    (r" \* ", lambda _: " + "), (r" >= ", lambda _: " > "), (r" < ", lambda _: " <= "), (r" and ", lambda _: " or "),
    (r"\bmax\b", lambda _: "min"), (r"\bfloat32\b", lambda _: "float64"), (r"\bsum\b", lambda _: "prod"),
)  # fmt: skip


def flipped_texts(text: str) -> Iterator[str]:
    """`text` with one word, number or sign replaced, for each of them."""
    for pattern, other in FLIPS:
        for found in re.finditer(pattern, text):
            yield text[: found.start()] + other(found) + text[found.end() :]


def flipped(value: Any, key: str = "") -> Iterator[Any]:
    """The JSON value with one thing changed, for each thing that is no name."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from ({**value, name: other} for other in flipped(entry, name))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in flipped(entry, key))
        if key == "params":
            yield [value[1], value[0], *value[2:]]
    elif isinstance(value, str) and (key not in NAMES or value == "sum"):
        yield from flipped_texts(value)
    elif type(value) is int:
        yield value + 1


def test_everything_that_a_request_says_is_in_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(record(timed(0.001), task=TASK, schedule=Schedule()))
    assert store.best(TASK, MACHINE) is not None
    written: Any = unstructure(attrs.evolve(TASK, op=None))
    changed = []
    for other in flipped(written):
        try:
            task = structure(other, Task)
            key = task_key(task)
        except SpecError:
            continue  # it says nothing valid any more
        assert key != task_key(TASK), other
        assert store.best(task, MACHINE) is None
        changed.append(key)
    assert len(set(changed)) > 60, "each flip is another request"
