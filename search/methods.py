"""The search methods by name. A strategy is imported when it is asked for."""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any, Final

from ..spec.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .history import PastTask
    from .space import Space
    from .strategy import Strategy

_HOMES: Final = {
    "auto": ("evolution", "Evolution"),
    "evolutionary": ("evolution", "Evolution"),
    "annealing": ("annealing", "Annealing"),
    "q": ("q_learning", "QLearning"),
    "random": ("random_search", "RandomSearch"),
    "grid": ("grid", "Grid"),
}
"""Method → the module and the class of its strategy; "auto" is what does best on the whole."""

METHODS: Final = tuple(_HOMES)
WITH_PAST: Final[frozenset[str]] = frozenset()
"""The methods whose strategies are made with what is known of other tasks: ``(space, rng, past)``."""


def check_method(method: str) -> None:
    """Raises SpecError for a name that no method has."""
    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}", "method")


def strategy_named(method: str, space: Space, seed: int, past: Sequence[PastTask] = ()) -> Strategy:
    """The strategy of a method for a space; `seed` decides all that is left to chance in it.

    `past` is what is known of other tasks on this machine; methods that do not ask for it are made without.
    """
    check_method(method)
    module, name = _HOMES[method]
    home: Any = importlib.import_module(f".{module}", __package__)
    made_of = (space, random.Random(seed), *([tuple(past)] if method in WITH_PAST else []))
    strategy: Strategy = getattr(home, name)(*made_of)
    return strategy
