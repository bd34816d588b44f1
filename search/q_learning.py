"""Q-learning over the steps of a space: which knob to turn, and which way, is learned from what turning it gained.

The seed of this project, FlexTensor, learns with a deep network which direction to go from a schedule (Zheng et al.,
FlexTensor, ASPLOS 2020, section 5). This is the table it stands for: a state is a sketch, an action a step of one of
its knobs, a reward the logarithm of old over new time (Watkins and Dayan, Q-learning, Machine Learning 8, 1992).
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..spec.claim import Failure
from .stepping import Stepping

if TYPE_CHECKING:
    import random

    from .space import Candidate, Point, Space
    from .strategy import Outcome

Action: TypeAlias = tuple[int, int]
"""The place of a knob in a point, and a step up or down."""

CURIOSITY: Final = 0.25
"""Part of the steps that are taken whatever the table says."""
RATE: Final = 0.5
DISCOUNT: Final = 0.5
PARENTS: Final = 4
"""Steps begin at one of so many of the fastest."""
PENALTY: Final = -1.0
"""The reward of a step to a candidate that fails."""


@attrs.frozen(kw_only=True)
class _Step:
    state: int
    action: Action
    seconds: float


class QLearning(Stepping):
    """Knows what each step gained."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        super().__init__(space, rng)
        self._values: dict[int, dict[Action, float]] = defaultdict(dict)
        self._steps: dict[Point, _Step] = {}

    def value(self, state: int, action: Action) -> float:
        """What an action is worth in a state; 0 where it was never taken."""
        return self._values[state].get(action, 0.0)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, and of the step that led to it, if one did."""
        super().learn(candidate, outcome)
        step = self._steps.pop(candidate.point, None)
        if step is not None:
            reward = PENALTY if isinstance(outcome, Failure) else math.log(step.seconds / outcome)
            future = max(self._values[candidate.point[0]].values(), default=0.0)
            old = self.value(step.state, step.action)
            self._values[step.state][step.action] = old + RATE * (reward + DISCOUNT * future - old)

    def _step(self) -> Candidate | None:
        """The step that the table values most, from one of the fastest."""
        fastest = sorted(self._measured, key=lambda entry: (entry[0], entry[1].point))[:PARENTS]
        seconds, start = self._rng.choice(fastest)
        for action in self._ordered(start.point):
            point = _after(start.point, action)
            candidate = self._untried.at(point)
            if candidate is not None:
                self._steps[point] = _Step(state=start.point[0], action=action, seconds=seconds)
                return candidate
        return None

    def _ordered(self, point: Point) -> list[Action]:
        """The steps from a point: in any order now and then, else the most valued first."""
        knobs = self._space.sketches[point[0]].knobs
        actions = [
            (place, step)
            for place, knob in enumerate(knobs, start=1)
            for step in (-1, 1)
            if 0 <= point[place] + step < len(knob.values)
        ]
        self._rng.shuffle(actions)
        if self._rng.random() >= CURIOSITY:
            actions.sort(key=lambda action: -self.value(point[0], action))
        return actions


def _after(point: Point, action: Action) -> Point:
    place, step = action
    return (*point[:place], point[place] + step, *point[place + 1 :])
