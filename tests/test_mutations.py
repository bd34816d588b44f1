"""A spec with one thing changed is refused in one sentence, or right: no crash, no error of TVM's, no wrong number."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autosched.spec.errors import SpecError
from autosched.spec.expr_text import expr_from_text
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from autosched.spec.testing import schedules, tasks, workloads
from mutations import changed_node, mutated
from pair_cases import pair
from pair_proof import judge
from pair_tally import DEFECTS

if TYPE_CHECKING:
    from autosched.spec.task import Task

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@SLOW
@given(data=st.data(), task=tasks(workloads(max_stages=3)), rng=st.randoms(use_true_random=False))
def test_a_changed_spec_is_refused_or_right(data: st.DataObject, task: Task, rng: random.Random) -> None:
    original = text_from_spec(SpecFile(task=task, schedule=data.draw(schedules(task))))
    mutants, messages = [], []
    for _ in range(3):
        try:
            mutants.append(spec_from_text(json.dumps(mutated(json.loads(original), rng))))
        except SpecError as error:
            messages.append(str(error))
    assert not any("\n" in message for message in messages)
    for verdict in judge(mutants):
        assert verdict.outcome not in DEFECTS, verdict.detail


@pytest.fixture(scope="module")
def content() -> dict[str, object]:
    drawn = pair(0, 3)
    found: dict[str, object] = json.loads(text_from_spec(SpecFile(task=drawn.task, schedule=drawn.legal)))
    return found


def test_one_thing_is_changed_and_the_original_stays(content: dict[str, object]) -> None:
    before = json.dumps(content)
    changed = [json.dumps(mutated(content, random.Random(seed))) for seed in range(200)]
    assert json.dumps(content) == before
    assert len(set(changed) - {before}) > 120
    assert [json.dumps(mutated(content, random.Random(seed))) for seed in range(200)] == changed


def test_every_node_of_an_expression_can_change() -> None:
    node = expr_from_text("max(X[i + 1, j] * 3.0 if i < 4 else cast(float32, k), float32(0.0))".replace("3.0", "Y[j]"))
    changed = {changed_node(node, ["i", "j", "X", "Y"], random.Random(seed)) for seed in range(300)}
    assert len(changed) > 40
