"""Pages with a part that a command writes, between two marks that name it."""

from __future__ import annotations

from typing import Final

from ..spec.errors import SpecError

END: Final = "<!-- to here -->"


def begin_of(module: str) -> str:
    """The mark where what `module`, run as a program, writes begins."""
    return f"<!-- written by python -m {module} -->"


def page_with(page: str, module: str, text: str) -> str:
    """A page with `text` in the place of what `module` wrote last; SpecError where it has no place for it."""
    mark = begin_of(module)
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SpecError(f"the page has no place for the tables; put two lines there: {mark} and {END}")
    return f"{before}{mark}\n\n{text}\n\n{END}{after}"
