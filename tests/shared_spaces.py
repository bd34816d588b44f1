"""One space for each task and machine in a process of tests: it remembers the candidates that it made.

That this changes nothing of what strategies propose is tested in test_strategies.py. Who asks for `Space` itself gets a
new one; the tuner and the default take the shared ones in all tests (`conftest.py`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from autosched.search import default, tuner
from autosched.search.default import default_candidate
from autosched.search.space import Space

if TYPE_CHECKING:
    from autosched.spec.algorithm import Algorithm
    from autosched.spec.claim import Machine
    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task
    from autosched.store.speeds import Speeds


def shared_space(
    task: Task, machine: Machine, *, speeds: Speeds | None = None, algorithms: tuple[Algorithm, ...] = ()
) -> Space:
    """The space of the built-in rules, as `tune` makes it where none is given."""
    return _shared(task, machine, speeds, tuple(algorithms))


@functools.cache
def _shared(task: Task, machine: Machine, speeds: Speeds | None, algorithms: tuple[Algorithm, ...]) -> Space:
    return Space(task, machine, speeds=speeds, algorithms=algorithms)


@functools.cache
def shared_default(task: Task, machine: Machine) -> Schedule:
    """The default schedule of a task, looked for once."""
    return default_candidate(shared_space(task, machine)).schedule


def share_spaces() -> None:
    """From here on searches and defaults take the shared spaces: hundreds of candidates are made once, not in each."""
    for module in (tuner, default):
        module.Space = shared_space  # type: ignore[attr-defined]
