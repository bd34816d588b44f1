"""Names for pieces of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.expr_text import RESERVED

if TYPE_CHECKING:
    from collections.abc import Sequence


class FreeNames:
    """Names for pieces of axes, free of clashes within one stage and with words of the language.

    Asked twice, the same name comes back.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)
        self._made: dict[str, str] = {}

    def __call__(self, wanted: str) -> str:
        if wanted not in self._made:
            name = wanted
            while name in self._taken or name in RESERVED:  # n, no, not
                name += "_"
            self._taken.add(name)
            self._made[wanted] = name
        return self._made[wanted]
