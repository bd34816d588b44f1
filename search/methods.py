"""The search methods by name."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from ..spec.errors import SpecError
from .evolution import Evolution
from .random_search import RandomSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .space import Space
    from .strategy import Strategy

METHODS: Final[Mapping[str, Callable[[Space, random.Random], Strategy]]] = {
    "auto": Evolution,
    "evolutionary": Evolution,
    "random": RandomSearch,
}
"""Name → strategy; "auto" is the one that does best on the whole."""


def check_method(method: str) -> None:
    """Raises SpecError for a name that no method has."""
    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}", "method")


def strategy_named(method: str, space: Space, seed: int) -> Strategy:
    """The strategy of a method for a space; `seed` decides all that is left to chance in it."""
    check_method(method)
    return METHODS[method](space, random.Random(seed))
