"""Text that is safe to print: a stranger's file must not move the cursor, hide a line or turn letters around.

Every record that holds free text has one of these validators on it, so the rule holds wherever the record came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UNPRINTABLE, SpecError

if TYPE_CHECKING:
    import attrs


def check_printable(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Raises SpecError where a text holds what does not belong on a terminal; other values pass."""
    if type(value) is str:
        check_text(value, attribute.name)


def check_text(value: str, place: str) -> None:
    """The same for a text that no validator saw, which stands at `place`."""
    if (found := UNPRINTABLE.search(value)) is not None:
        near = value[max(0, found.start() - 20) : found.end() + 20]
        raise SpecError(f"found the control character U+{ord(found[0]):04X} in {near!r}; leave it out", place)


def check_each_printable(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    """The same for each text of a tuple."""
    for text in value:
        check_printable(None, attribute, text)
