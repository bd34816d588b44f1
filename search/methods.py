"""The search methods by name. A strategy is imported when it is asked for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from ..spec.errors import SpecError

if TYPE_CHECKING:
    from .space import Space
    from .strategy import Strategy

METHODS: Final = ("auto", "evolutionary", "random")
"""Every name; "auto" is the method that does best on the whole, which is "evolutionary" so far."""


def check_method(method: str) -> None:
    """Raises SpecError for a name that no method has."""
    if method not in METHODS:
        raise SpecError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}", "method")


def strategy_named(method: str, space: Space, seed: int) -> Strategy:
    """The strategy of a method for a space; `seed` decides all that is left to chance in it."""
    check_method(method)
    if method == "random":
        from .random_search import RandomSearch

        return RandomSearch(space, random.Random(seed))

    from .evolution import Evolution

    return Evolution(space, random.Random(seed))
