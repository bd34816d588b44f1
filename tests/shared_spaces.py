"""One space for each task and machine in a process of tests: it remembers the candidates that it made.

That this changes nothing of what strategies propose is tested in test_strategies.py. Who asks for `Space` itself gets a
new one; the tuner and the default take the shared ones in all tests (`conftest.py`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from autosched.search import auto, default, tuner
from autosched.search.default import default_candidate
from autosched.search.features import Features, features_of
from autosched.search.space import Candidate, Space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.search.hardware import Hardware
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


class _SharedSpace(Space):
    """Remembers schedules too, and the spaces of other tasks that it is asked for."""

    def __init__(self, task: Task, machine: Machine, **options: Any) -> None:
        super().__init__(task, machine, **options)
        self.unchecked = functools.cache(super().unchecked)  # type: ignore[method-assign]

    def for_task(self, task: Task, algorithms: Sequence[Algorithm] = ()) -> Space:
        return _shared(task, self._machine, self._speeds, tuple(algorithms))


@functools.cache
def _shared(task: Task, machine: Machine, speeds: Speeds | None, algorithms: tuple[Algorithm, ...]) -> Space:
    return _SharedSpace(task, machine, speeds=speeds, algorithms=algorithms)


@functools.cache
def shared_default(task: Task, machine: Machine) -> Schedule:
    """The default schedule of a task, looked for once."""
    return default_candidate(shared_space(task, machine)).schedule


_FEATURES: dict[Candidate, Features] = {}


def _features(candidate: Candidate, task: Task, hardware: Hardware) -> Features:
    """The features of a candidate, which belongs to one space."""
    if candidate not in _FEATURES:
        _FEATURES[candidate] = features_of(candidate, task, hardware)
    return _FEATURES[candidate]


def share_spaces() -> None:
    """From here on searches and defaults take the shared spaces: hundreds of candidates are made once, not in each."""
    for module in (tuner, default):
        module.Space = shared_space  # type: ignore[attr-defined]
    auto.features_of = _features  # type: ignore[attr-defined]
