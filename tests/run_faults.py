"""``make faults``: harms tuners in every way that is promised to be survived, and tables what was seen.

The tuners are real ones, with a store, processes, limits and a lock; only their kernels are pretended. Exit status 1
where anything differs from what must be seen. SHORT does fewer kills and fewer candidates, as the unit suite does.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fault_candidates import FAULTS, MORE_FAULTS, candidate_rows, known_failure_rows, nothing_measured_row
from fault_kills import interrupt_row, kill_rows, kill_tuners
from fault_rows import report
from fault_surroundings import (
    full_store_row,
    full_temporary_rows,
    helper_rows,
    interrupted_row,
    interrupted_twice_row,
    read_only_row,
    two_tuners_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fault_rows import Row

KILLS: Final = 200
FEW_KILLS: Final = 5
FEW_TRIALS: Final = 20
INTERRUPTS: Final = 20
LANES: Final = 2
"""Tuners that are killed at the same time."""


def candidates(seed: int, short: bool) -> list[Row]:
    if short:
        return list(candidate_rows(seed, FAULTS))
    return [*candidate_rows(seed, {**FAULTS, **MORE_FAULTS}), nothing_measured_row(seed)]


def known(seed: int, short: bool) -> list[Row]:
    return list(known_failure_rows(seed))


def kills(seed: int, short: bool) -> list[Row]:
    if short:
        return kill_rows([kill_tuners(seed, FEW_KILLS, trials=FEW_TRIALS)])
    with ProcessPoolExecutor(LANES) as pool:
        seeds = [1000 * seed + 100 * lane for lane in range(LANES)]
        return kill_rows(list(pool.map(kill_tuners, seeds, [KILLS // LANES] * LANES)))


def helpers(seed: int, short: bool) -> list[Row]:
    return list(helper_rows(seed))


def disks(seed: int, short: bool) -> list[Row]:
    rows = [full_store_row(seed)]
    return rows if short else [*rows, *full_temporary_rows(seed), read_only_row(seed)]


def interrupts(seed: int, short: bool) -> list[Row]:
    if short:
        return [interrupted_row(seed)]
    return [
        interrupted_row(seed),
        interrupted_twice_row(seed),
        interrupt_row(kill_tuners(seed, INTERRUPTS, signal.SIGINT)),
    ]


def two(seed: int, short: bool) -> list[Row]:
    return [two_tuners_row(seed)]


PARTS: Final[dict[str, tuple[str, Callable[[int, bool], list[Row]]]]] = {
    "candidates": ("Candidates", candidates),
    "known": ("Known failures", known),
    "kills": ("Tuners killed", kills),
    "helpers": ("Helpers killed", helpers),
    "disks": ("Disks and permissions", disks),
    "interrupts": ("Ctrl-C", interrupts),
    "two": ("Two tuners", two),
}


def run(parts: Sequence[str], seed: int, short: bool) -> tuple[str, list[Row]]:
    """The page of the parts, and all rows."""
    begin = time.monotonic()
    done = []
    for name in parts:
        title, part = PARTS[name]
        done.append((title, part(seed, short)))
        print(f"{title}: {time.monotonic() - begin:.0f} s", flush=True)
    return report(done, seed, time.monotonic() - begin), [row for _, rows in done for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be given again")
    parser.add_argument("--report", type=Path, help="write the table here, as docs/faults.md")
    given = parser.parse_args()
    text, rows = run(given.part or list(PARTS), given.seed, given.short)
    print(text)
    if given.report is not None:
        given.report.write_text(text)
    wrong = [(row, line) for row in rows for line in row.wrong]
    for row, line in wrong:
        print(f"{row.injected}: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
