"""Tasks and schedules of which there are as many as one likes: alike in all but a name, so that no two texts are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from ..spec.convert import structure, unstructure
from ..spec.schedule import Schedule
from ..spec.task import TargetOption

if TYPE_CHECKING:
    from ..spec.task import Task


def numbered_task(task: Task, number: int) -> Task:
    """The task for the CPU of that number, of 7 digits at most."""
    options = (TargetOption(name="mcpu", value=f"cpu{number:07}"),)
    return attrs.evolve(task, target=attrs.evolve(task.target, options=options))


def renamed(schedule: Schedule, suffix: str) -> Schedule:
    """The schedule with its own stages called otherwise: as good, and another text."""
    text = json.dumps(unstructure(schedule))
    for staging in schedule.stagings:
        name = getattr(staging, "as_", None)
        if name is not None:
            text = text.replace(json.dumps(name), json.dumps(name + suffix))
    return structure(json.loads(text), Schedule)
