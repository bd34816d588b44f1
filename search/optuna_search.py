"""Optuna's tree-structured Parzen estimator on the knobs of a space, by its ask-and-tell interface.

The sketch is a parameter, and each of its knobs one that is there only with it: the place of the value in its natural
order, or a choice for what is yes or no. Failures, and points whose values do not go together, count as worse than
whatever ran. Reference: Akiba et al., KDD 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from .strategy import Untried

if TYPE_CHECKING:
    import random

    from optuna.trial import Trial

    from .space import Candidate, Point, Space
    from .strategy import Outcome

_WARM: Final = 8
"""Trials drawn at random before the first that is chosen."""
_ASKS: Final = 12
"""How often Optuna is asked for something new before a candidate is drawn instead."""

_Parameters: TypeAlias = dict[str, BaseDistribution]


class OptunaSearch:
    """Proposes what Optuna suggests, and draws where it suggests nothing new."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self._space = space
        self._untried = Untried(space, rng)
        sampler = TPESampler(seed=rng.randrange(2**32), n_startup_trials=_WARM, constant_liar=True)
        self._study = _study(sampler)
        self._asked: dict[Point, Trial] = {}

    def propose(self, count: int) -> list[Candidate]:
        """Up to `count` candidates, none proposed or learned of before."""
        return self._untried.proposals(count, self._next)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Takes note of what came of a candidate, be it one that was proposed or another one."""
        self._untried.note(candidate)
        value = outcome if isinstance(outcome, float) else None
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        trial = self._asked.pop(candidate.point, None)
        if trial is not None:
            self._study.tell(trial, value, state=state)
        elif candidate.point and self._space.size:
            known = self._parameters(candidate.point[0])
            chosen = dict(zip(known, candidate.point, strict=True))
            self._study.add_trial(create_trial(params=chosen, distributions=known, value=value, state=state))

    def _next(self) -> Candidate | None:
        if not self._space.sketches:
            return None
        for _ in range(_ASKS):
            trial = self._study.ask()
            point = self._suggested(trial)
            candidate = self._untried.at(point)
            if candidate is not None and candidate.point not in self._asked:
                self._asked[candidate.point] = trial
                return candidate
            self._study.tell(trial, state=TrialState.PRUNED)
        return self._untried.drawn()

    def _suggested(self, trial: Trial) -> Point:
        """The point that a trial of Optuna's stands for."""
        number = trial.suggest_categorical("sketch", range(len(self._space.sketches)))
        point = [number]
        for name, places in list(self._parameters(number).items())[1:]:
            if isinstance(places, IntDistribution):
                point.append(trial.suggest_int(name, places.low, places.high))
            else:
                point.append(trial.suggest_categorical(name, range(2)))
        return tuple(point)

    def _parameters(self, number: int) -> _Parameters:
        """The parameters of a sketch: its number first, then the place of each knob's value."""
        found: _Parameters = {"sketch": CategoricalDistribution(range(len(self._space.sketches)))}
        for knob in self._space.sketches[number].knobs:
            is_choice = isinstance(knob.values[0], bool) and len(knob.values) == 2
            places = CategoricalDistribution(range(2)) if is_choice else IntDistribution(0, len(knob.values) - 1)
            found[f"{number}/{knob.name}"] = places
        return found


def _study(sampler: TPESampler) -> optuna.Study:
    """A study in memory; Optuna would print a line for it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="minimize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(level)
