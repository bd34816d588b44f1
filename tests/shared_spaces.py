"""One space for each task and machine in a process of tests: it remembers the candidates that it made.

That this changes nothing of what strategies propose is tested in test_strategies.py.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from autosched.search.space import Space

if TYPE_CHECKING:
    from autosched.spec.algorithm import Algorithm
    from autosched.spec.claim import Machine
    from autosched.spec.task import Task
    from autosched.store.speeds import Speeds


@functools.cache
def shared_space(
    task: Task, machine: Machine, *, speeds: Speeds | None = None, algorithms: tuple[Algorithm, ...] = ()
) -> Space:
    """The space of the built-in rules, as `tune` makes it where none is given."""
    return Space(task, machine, speeds=speeds, algorithms=algorithms)
