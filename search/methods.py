"""The search methods: by name, or a strategy of one's own. A strategy is imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import random
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union

from ..spec.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .history import PastTask
    from .space import Space
    from .strategy import Strategy

StrategyFactory: TypeAlias = "Callable[[Space, random.Random], Strategy]"
Method: TypeAlias = Union[str, "StrategyFactory"]
"""The name of a method, or what makes a strategy of a space and a seeded generator."""

_HOMES: Final = {
    "auto": ("auto", "Auto"),
    "evolutionary": ("evolution", "Evolution"),
    "annealing": ("annealing", "Annealing"),
    "q": ("q_learning", "QLearning"),
    "random": ("random_search", "RandomSearch"),
    "grid": ("grid", "Grid"),
    "optuna": ("optuna_search", "OptunaSearch"),
}
"""Method → the module and the class of its strategy; "auto" is what does best on the whole."""

METHODS: Final = tuple(_HOMES)
WITH_PAST: Final = frozenset({"auto"})
"""The methods whose strategies are made with what is known of other tasks: ``(space, rng, past, kept)``."""


def check_method(method: Method) -> None:
    """Raises SpecError for what is no method: a name that none has, or one that needs what is not installed."""
    if method not in METHODS if isinstance(method, str) else not callable(method):
        raise SpecError(
            f"unknown method {method!r}; allowed: {', '.join(METHODS)}, or a function (space, rng) that gives a "
            f"strategy",
            "method",
        )
    if method == "optuna" and importlib.util.find_spec("optuna") is None:
        raise SpecError("'optuna' needs Optuna, which is not installed; pip install 'autosched[optuna]'", "method")


def name_of(method: Method) -> str:
    """What records call a method: its name, or the qualified name of what makes a strategy."""
    if isinstance(method, str):
        return method
    from .own_strategy import name_of_own

    return name_of_own(method)


def strategy_named(
    method: Method, space: Space, seed: int, past: Sequence[PastTask] = (), kept: Path | None = None
) -> Strategy:
    """The strategy of a method for a space; `seed` decides all that is left to chance in it.

    `past` is what is known of other tasks on this machine, and `kept` the file for what can be kept of learning from
    it; methods that do not ask for them are made without.
    """
    check_method(method)
    rng = random.Random(seed)
    if not isinstance(method, str):
        from .own_strategy import OwnStrategy

        return OwnStrategy(method, space, rng)
    module, name = _HOMES[method]
    home: Any = importlib.import_module(f".{module}", __package__)
    made_of = (space, rng, *([tuple(past), kept] if method in WITH_PAST else []))
    strategy: Strategy = getattr(home, name)(*made_of)
    return strategy
