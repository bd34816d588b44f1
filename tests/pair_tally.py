"""Counts of a run of pairs: by kind and outcome, and by row of the language table and outcome; the report of both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from pair_rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

CORRECT: Final = "correct"
REFUSED: Final = "refused"
WRONG: Final = "wrong"
TVM_ERROR: Final = "TVM error"
BUILD_FAILURE: Final = "build failure"
INCOMPARABLE: Final = "incomparable"
"""The workload itself has no numbers to compare: a mutation made it divide by nothing, or overflow."""
OTHER_ALGORITHM: Final = "other algorithm"
"""The schedule computes what its algorithm says, which is not what its task asks for: only numbers can tell."""
TOO_LARGE: Final = "too large"
CRASH: Final = "crash"
HANG: Final = "hang"
DEFECTS: Final = (WRONG, TVM_ERROR, BUILD_FAILURE, CRASH, HANG)

DRAWN, BOLD, MUTANT = "drawn", "bold", "mutant"
"""A schedule that the checks accepted as it was drawn; one drawn without asking them; a spec with a field changed."""
COLUMNS: Final = ("correct", "refused", "mutant correct", "mutant refused")
"""The outcomes that each row must come to."""
OUTCOMES: Final = (CORRECT, REFUSED, TOO_LARGE, INCOMPARABLE, OTHER_ALGORITHM, *DEFECTS)


@attrs.frozen
class Defect:
    """A spec that broke the promise, whole, so that it can be replayed."""

    number: int
    kind: str
    outcome: str
    detail: str
    spec: str


@attrs.define
class Tally:
    """What some pairs came to."""

    pairs: int = 0
    cpu_s: float = 0.0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    rows: dict[str, Counter[str]] = attrs.field(factory=dict)
    defects: list[Defect] = attrs.field(factory=list)

    def count(self, kind: str, outcome: str, rows: Iterable[str]) -> None:
        self.outcomes[f"{kind}: {outcome}"] += 1
        if outcome in (CORRECT, REFUSED):
            column = outcome if kind != MUTANT else f"mutant {outcome}"
            for row in rows:
                self.rows.setdefault(row, Counter())[column] += 1

    def add(self, other: Tally) -> None:
        self.pairs += other.pairs
        self.cpu_s += other.cpu_s
        self.outcomes += other.outcomes
        for row, counts in other.rows.items():
            self.rows.setdefault(row, Counter()).update(counts)
        self.defects += other.defects

    def number_of(self, outcome: str, kinds: Iterable[str] = (DRAWN, BOLD, MUTANT)) -> int:
        return sum(self.outcomes[f"{kind}: {outcome}"] for kind in kinds)

    @property
    def proven(self) -> int:
        """Pairs that were lowered, built, run and found equal to NumPy."""
        return self.number_of(CORRECT)

    @property
    def empty_cells(self) -> list[str]:
        none: Counter[str] = Counter()
        return [f"{row.name}: {c}" for row in ROWS for c in COLUMNS if not self.rows.get(row.name, none)[c]]

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


def tally_from_json(value: dict[str, Any]) -> Tally:
    return Tally(
        pairs=value["pairs"],
        cpu_s=value["cpu_s"],
        outcomes=Counter(value["outcomes"]),
        rows={row: Counter(counts) for row, counts in value["rows"].items()},
        defects=[Defect(**defect) for defect in value["defects"]],
    )


def report(tally: Tally, seed: int) -> str:
    """The run as markdown: totals, then rows by outcomes."""
    lines = [
        "<!-- Written by `make pairs`; do not edit. -->",
        "# Pairs proven",
        "",
        f"Seed {seed}, {tally.pairs} pairs, {tally.cpu_s:.0f} s of CPU time. {tally.proven} schedules were",
        f"lowered, built, run and found right, {tally.proven / max(tally.cpu_s, 1e-9):.0f} a second on one core.",
        "",
        "| | drawn | bold | mutant |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {outcome} | "
        + " | ".join(str(tally.outcomes[f"{kind}: {outcome}"]) for kind in (DRAWN, BOLD, MUTANT))
        + " |"
        for outcome in OUTCOMES
    ]
    lines += ["", "| row | " + " | ".join(COLUMNS) + " |", "|---|---:|---:|---:|---:|"]
    none: Counter[str] = Counter()
    for row in ROWS:
        counts = tally.rows.get(row.name, none)
        lines.append(f"| {row.name} | " + " | ".join(str(counts[column]) for column in COLUMNS) + " |")
    return "\n".join(lines) + "\n"
