"""What a suite found: rows with figure, bar and whether it is met, as a table for people and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rounds import Spread

YES_NO: Final = "yes/no"
"""The unit of figures that are 1 for yes and 0 for no."""


@attrs.frozen(kw_only=True)
class Bar:
    """What a figure must reach, or stay below where `at_least` is False."""

    limit: float
    at_least: bool = True


@attrs.frozen(kw_only=True)
class Row:
    """A figure. `low` and `high` are the quartiles of its rounds, None where it was taken once.

    None as `figure`: it could not be taken, and `detail` says why.
    """

    name: str
    figure: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    bar: Bar | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is no bar, or no figure."""
        if self.bar is None or self.figure is None:
            return None
        return self.figure >= self.bar.limit if self.bar.at_least else self.figure <= self.bar.limit


def at_least(limit: float) -> Bar:
    """A bar from below."""
    return Bar(limit=limit)


def at_most(limit: float) -> Bar:
    """A bar from above."""
    return Bar(limit=limit, at_least=False)


def spread_row(name: str, found: Spread, unit: str, bar: Bar | None = None, detail: str = "") -> Row:
    """The row of a figure that was taken in many rounds."""
    return Row(name=name, figure=found.median, low=found.low, high=found.high, unit=unit, bar=bar, detail=detail)


def yes_row(name: str, is_so: bool, detail: str = "") -> Row:
    """The row of something that must be so."""
    return Row(name=name, figure=float(is_so), unit=YES_NO, bar=at_least(1), detail=detail)


@attrs.frozen(kw_only=True)
class Report:
    """The rows of a suite, and where and when they were taken. `notes` are lines for people: what was left out."""

    suite: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int
    quick: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def json_from_report(report: Report) -> str:
    """One JSON object; times in the unit that a row names."""
    rows = [{**attrs.asdict(row), "bar": _bar_json(row.bar), "met": row.met} for row in report.rows]
    return json.dumps({**attrs.asdict(report), "rows": rows}, indent=1, allow_nan=False)


def text_from_report(report: Report) -> str:
    """The table: figure, quartiles, bar and verdict in columns; what was left out stands below."""
    head = ("", "figure", "", "half of the rounds", "bar", "met", "")
    table = [head, *(_cells(row) for row in report.rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(head))]
    lines = [_line(cells, widths) for cells in table]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machine = report.machine
    lines.append("")
    lines.append(
        f"{report.date[:16]}Z, {report.threads} threads of {machine['vendor']} family {machine['family']} "
        f"model {machine['model']}; {versions}"
    )
    return "\n".join([*lines, *report.notes])


def line_from_row(row: Row) -> str:
    """A row alone, as soon as it is known: what is stopped later leaves it on the screen."""
    return " ".join(filter(None, _cells(row)))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if column == 1 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    figure, unit = _number(row.figure), row.unit
    if unit == YES_NO:
        figure, unit = ("-" if row.figure is None else "yes" if row.figure else "no"), ""
    between = f"{_number(row.low)} .. {_number(row.high)}" if row.low is not None else ""
    bar = ""
    if row.bar is not None and row.unit != YES_NO:
        bar = f"{'>=' if row.bar.at_least else '<='} {_number(row.bar.limit)}"
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return row.name, figure, unit, between, bar, met, row.detail


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar_json(bar: Bar | None) -> dict[str, Any] | None:
    return None if bar is None else {"limit": bar.limit, "sense": ">=" if bar.at_least else "<="}
