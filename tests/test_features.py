"""Features: as many as there are names, all of them finite, the same for the same plan."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.search.features import NAMES, as_mapping, features_of
from autosched.search.hardware import hardware_from_machine
from autosched.search.space import candidate_from_plan
from autosched.spec.check import check_schedule
from autosched.spec.testing import schedules, tasks
from pretended_bench import LARGE
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from autosched.search.features import Features
    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task

SPACE = shared_space(LARGE, MACHINE)


def features(schedule: Schedule, task: Task) -> Features:
    hardware = hardware_from_machine(MACHINE, task.threads)
    return features_of(candidate_from_plan((), schedule, check_schedule(schedule, task), hardware), task, hardware)


@settings(max_examples=60)
@given(data=st.data())
def test_any_schedule_has_finite_features_and_the_same_again(data: st.DataObject) -> None:
    task = data.draw(tasks())
    schedule = data.draw(schedules(task))
    found = features(schedule, task)
    assert len(found) == len(NAMES)
    assert all(map(math.isfinite, found)), as_mapping(found)
    assert features(schedule, task) == found


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_what_a_space_made_and_what_a_file_says_have_the_same_features(seed: int) -> None:
    candidate = SPACE.candidate(SPACE.sample(random.Random(seed)))
    if candidate is not None:
        assert features_of(candidate, LARGE, SPACE.hardware) == features(candidate.schedule, LARGE)


def test_names_say_what_is_counted() -> None:
    """A tile of 4 rows and 2 vectors of 16 holds 8 accumulators."""
    sketch = SPACE.sketches[0]
    place = next(n for n, knob in enumerate(sketch.knobs) if knob.name.endswith("/tile"))
    lanes = SPACE.hardware.lanes(4)
    values = list(sketch.knobs[place].values)
    point = [0] * (len(sketch.knobs) + 1)
    point[place + 1] = values.index((lanes, 2, 4))
    candidate = SPACE.candidate(tuple(point))
    assert candidate is not None
    found = as_mapping(features_of(candidate, LARGE, SPACE.hardware))
    assert found["accumulators"] == 8
    assert (found["rows"], found["vectors"], found["lanes"]) == (2, 1, math.log2(lanes))
    assert found["accumulates"] == 1
    assert found["waste"] == 0
    assert found["main_share"] + found["other_share"] <= 1 + 1e-9


def test_a_candidate_that_the_model_expects_less_of_has_more_predicted_work() -> None:
    rng = random.Random(0)
    made = [c for c in (SPACE.candidate(SPACE.sample(rng)) for _ in range(20)) if c is not None]
    ranked = sorted(made, key=lambda candidate: candidate.predicted_s)
    work = [as_mapping(features_of(candidate, LARGE, SPACE.hardware))["predicted_work"] for candidate in ranked]
    assert work == sorted(work)
