"""What the fault-injection suite reports: a row for each thing injected, and the page made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@attrs.frozen(kw_only=True)
class Row:
    """What was injected, how often, what must be seen, what was seen; `wrong` names each difference.

    The count is 0 where other rows count what this one is about.
    """

    injected: str
    count: int
    expected: str
    seen: str
    wrong: tuple[str, ...] = ()


def row(injected: str, count: int, expected: str, seen: str, wrong: Iterable[str] = ()) -> Row:
    return Row(injected=injected, count=count, expected=expected, seen=seen, wrong=tuple(wrong))


def differs(**pairs: tuple[object, object]) -> list[str]:
    """A line for each pair (found, wanted) that is not equal."""
    return [f"{name}: {found!r}, not {wanted!r}" for name, (found, wanted) in pairs.items() if found != wanted]


def table(title: str, rows: Sequence[Row]) -> list[str]:
    lines = [f"## {title}", "", "| injected | times | must be seen | seen |", "|---|---:|---|---|"]
    lines += [
        " | ".join((f"| {_cell(r.injected)}", str(r.count or "all"), _cell(r.expected), f"{_cell(_seen(r))} |"))
        for r in rows
    ]
    return [*lines, ""]


def _seen(found: Row) -> str:
    return f"**differs**: {'; '.join(found.wrong[:3])}" if found.wrong else found.seen


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def report(parts: Sequence[tuple[str, Sequence[Row]]], seed: int, seconds: float) -> str:
    """The page of a run."""
    injected = sum(r.count for _, rows in parts for r in rows)
    wrong = sum(bool(r.wrong) for _, rows in parts for r in rows)
    lines = [
        "<!-- Written by `make faults`; do not edit. -->",
        "# Faults injected",
        "",
        f"Seed {seed}: {injected} faults in {seconds:.0f} s, {wrong or 'none'} with another outcome than expected.",
        "What each part does: [testing.md](testing.md).",
        "",
    ]
    for title, rows in parts:
        lines += table(title, rows)
    return "\n".join(lines).rstrip() + "\n"
