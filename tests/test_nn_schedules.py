"""Every operator of `autosched.nn` has schedules: made by the rules, not plain loops for want of one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from autosched.nn.registry import get_task, operators
from autosched.search.default import default_schedule
from autosched.search.space import Space
from autosched.spec.testing import assert_lowers_correctly
from operator_cases import CASES
from store_cases import MACHINE


def test_every_operator_has_a_case() -> None:
    assert {op for op, _ in CASES} == {*operators()}


@pytest.mark.parametrize(("op", "args"), CASES)
def test_its_space_has_candidates(op: str, args: dict[str, Any]) -> None:
    space = Space(get_task(op, **args, threads=2), MACHINE)
    rng = random.Random(0)
    assert any(space.candidate(space.sample(rng)) is not None for _ in range(20))


@pytest.mark.slow
@pytest.mark.parametrize(("op", "args"), CASES)
def test_its_default_computes_it(op: str, args: dict[str, Any]) -> None:
    task = get_task(op, **args, threads=2)
    assert_lowers_correctly(default_schedule(task, MACHINE), task)
