"""The search methods by name. A strategy is imported when it is asked for."""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any, Final

from ..spec.errors import SpecError

if TYPE_CHECKING:
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


def check_method(method: str) -> None:
    """Raises SpecError for a name that no method has."""
    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}", "method")


def strategy_named(method: str, space: Space, seed: int) -> Strategy:
    """The strategy of a method for a space; `seed` decides all that is left to chance in it."""
    check_method(method)
    module, name = _HOMES[method]
    home: Any = importlib.import_module(f".{module}", __package__)
    strategy: Strategy = getattr(home, name)(space, random.Random(seed))
    return strategy
