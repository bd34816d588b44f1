"""What a rule of the space is: a space is made by a few of them in turn, a user's own beside the built-in ones.

A rule says what it adds and leaves the rest as it found it; deterministic, so that equal tasks have equal spaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ..spec.task import Task
from ..spec.workload import Stage
from .hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.schedule import Schedule
    from .knobs import Knob, KnobValue
    from .layouts import Layout

SPACE: Final = "rules-12"
"""The name of what the built-in rules make. When they make more it gets another, and exhausted ones are searched."""

BUILT_IN: Final = ("vectors", "partial sums", "tiles", "together")
"""The names of the built-in rules, in order."""


@attrs.frozen(kw_only=True)
class Reduction:
    """A stage with a reduction, of a task on some hardware: what rules are asked about."""

    task: Task
    stage: Stage
    hardware: Hardware


class Rule:
    """One rule; its methods give back what they are given unless a rule has something to say."""

    @property
    def name(self) -> str:
        """What records call it: a rule with settings says them in its name, for each name stands for one space."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def layouts(self, reduction: Reduction, found: tuple[Layout, ...]) -> tuple[Layout, ...]:  # noqa: ARG002 # offered
        """The layouts of a reduction, most ordinary first, after the rules before `found` these."""
        return found

    def knobs(
        self,
        reduction: Reduction,  # noqa: ARG002 # offered to who has a use for it
        layout: Layout | None,  # noqa: ARG002 # as above
        found: tuple[Knob, ...],
    ) -> tuple[Knob, ...]:
        """The knobs of a reduction in a layout, None for plain loops; names of one reduction differ."""
        return found

    def schedule(self, task: Task, values: Mapping[str, KnobValue], made: Schedule) -> Schedule:  # noqa: ARG002 # offered
        """The schedule for the values of the knobs, which are called ``stage/knob``; it is checked afterwards.

        What the checks refuse is left out of the space.
        """
        return made


def space_name(rules: Sequence[Rule] | None, algorithms: Sequence[str] = ()) -> str:
    """What records call the space of these rules, None standing for the built-in ones, and of named algorithms."""
    names = BUILT_IN if rules is None else tuple(rule.name for rule in rules)
    made = SPACE if names == BUILT_IN else f"{SPACE}: {', '.join(names)}"
    return f"{made}, also by {', '.join(algorithms)}" if algorithms else made
