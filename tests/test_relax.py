"""What Relax's legalisation gives is read, with the right numbers, or refused with the block and the reason.

The table is `relax_operators`; docs/reading.md lists it (``--accept-goldens`` writes it there).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tvm_ffi

from autosched.search.default import default_schedule
from autosched.spec.canonical import canonical, identity
from autosched.spec.errors import LoweringError
from autosched.spec.evaluate import evaluate
from autosched.spec.inputs import random_inputs
from autosched.spec.schedule import Schedule
from autosched.spec.task import Task, ValueRange
from autosched.spec.tolerance import tolerance
from autosched.spec.tvm_lower import lower
from autosched.spec.tvm_read import workload_from_primfunc
from autosched.spec.tvm_write import primfunc_from_workload
from relax_operators import GROUPS, READ, REFUSED, Case, functions_of
from tvm_numbers import run_function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autosched.spec.workload import Workload
    from tvm_numbers import Arrays

PAGE = Path(__file__).parent.parent / "docs" / "reading.md"


def tasks_of(case: Case) -> list[tuple[object, Task]]:
    """Each function of an operator that has something to compute, and the task read of it."""
    known = [ValueRange(buffer=name, low=low, high=high) for name, (low, high) in case.ranges.items()]
    found = []
    for func in functions_of(case).values():
        names = {param.name for param in func.params}
        ranges = tuple(r for r in known if r.buffer in names)
        found.append((func, Task.from_primfunc(func, threads=2, ranges=ranges)))
    assert found
    return found


def assert_right(found: Arrays, wanted: Mapping[str, np.ndarray], workload: Workload) -> None:
    for name in workload.outputs:
        relative, absolute = tolerance(workload, name)
        assert not np.isnan(wanted[name].astype(np.float64)).any(), "a test of nothing"
        got = found[name].astype(wanted[name].dtype)
        np.testing.assert_allclose(got, wanted[name], rtol=relative, atol=absolute, err_msg=name)


@pytest.mark.parametrize("name", READ)
def test_an_operator_is_read_and_computes_the_same(name: str) -> None:
    for func, task in tasks_of(READ[name]):
        workload = task.workload
        written = primfunc_from_workload(workload)
        inputs = random_inputs(workload, 3, task.ranges)
        if READ[name].positive:
            inputs = {buffer: np.abs(array) for buffer, array in inputs.items()}
        wanted = evaluate(workload, inputs, precise=True)
        assert_right(run_function(func, workload, inputs), wanted, workload)
        assert_right(run_function(written, workload, inputs), wanted, workload)


@pytest.mark.parametrize("name", READ)
def test_an_operator_is_found_again(name: str) -> None:
    """Its identity does not depend on who wrote the function, nor on its names; what the store asks for is stable."""
    for func, task in tasks_of(READ[name]):
        known = {r.buffer: (r.low, r.high) for r in task.ranges}
        again = workload_from_primfunc(primfunc_from_workload(task.workload), known)
        assert again == task.workload
        assert identity(again) == identity(canonical(task.workload)) == task.identity
        assert identity(workload_from_primfunc(func, known)) == task.identity


@pytest.mark.parametrize("name", READ)
def test_an_operator_is_scheduled_without_measuring(name: str) -> None:
    for _, task in tasks_of(READ[name]):
        for schedule in (Schedule(), default_schedule(task)):
            main = lower(schedule, task).mod["main"]
            assert [param.name for param in main.params] == [param.name.replace(".", "_") for param in main.params]
            assert tvm_ffi.structural_equal(main, lower(schedule, task).mod["main"])


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_is_refused_with_the_place_and_the_reason(name: str) -> None:
    case, messages = REFUSED[name], []
    for func in functions_of(case).values():
        try:
            workload_from_primfunc(func)
        except LoweringError as error:
            messages.append(str(error))
    assert len(messages) == 1
    assert messages[0].startswith(("block '", "buffer '"))
    assert case.refused in messages[0]


def test_names_that_relax_repeats_are_told_apart() -> None:
    """The three T_multiply of a GELU."""
    ((_, task),) = tasks_of(READ["gelu"])
    names = [stage.name for stage in task.workload.stages]
    assert len(names) == len(set(names))
    assert len([name for name in names if name.startswith("T_multiply")]) == 3


# --- the page ---------------------------------------------------------------------------------------------------------


def tables() -> tuple[str, str]:
    """What the page says of operators that are read, and of those that are not."""
    read = [f"| {group} | {'; '.join(cases)} |" for group, cases in GROUPS.items()]
    reasons: dict[str, list[str]] = {}
    for name, case in REFUSED.items():
        reasons.setdefault(case.refused, []).append(name)
    refused = [f"| {'; '.join(names)} | … {reason} … |" for reason, names in reasons.items()]
    return (
        "\n".join(["| kind | operators |", "|---|---|", *read]),
        "\n".join(["| operators | what the message says |", "|---|---|", *refused]),
    )


@pytest.mark.parametrize("heading", ["Read", "Refused"])
def test_the_page_lists_what_is_tested(heading: str, request: pytest.FixtureRequest) -> None:
    table = tables()[["Read", "Refused"].index(heading)]
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}\n(?:.*\n)*?(?P<table>(?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    if request.config.getoption("--accept-goldens"):
        PAGE.write_text(f"{text[: found.start('table')]}{table}\n{text[found.end('table') :]}", encoding="utf-8")
    else:
        assert found["table"] == f"{table}\n"
