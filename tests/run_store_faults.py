"""``make store-faults``: a store under many writers and kills, with bytes changed, and among bad files; tables it.

Exit status 1 where anything was lost, torn or wrong. SHORT does a little of each, as `make slice` does.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import store_bring_in
import store_flips
import store_load
from fault_rows import Row, row, table

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG: Final = store_load.Load(writers=16, writes=2000, readers=2, kills=50)
SHORT: Final = store_load.Load(writers=4, writes=25, readers=1, kills=3)
TITLES: Final = {"load": "Many processes", "flips": "Changed bytes", "import": "Files from strangers"}
HEAD: Final = """<!-- Written by `make store-faults`; do not edit. -->
# The store under load and damage

What each row does: [testing.md](testing.md).
"""
FLIPS: Final = 1000
FEW_FLIPS: Final = 8
FILES: Final = 1000
FEW_FILES: Final = 20


def load_rows(seed: int, load: store_load.Load) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = store_load.run(Path(folder), load, seed)
    wrong = [f"{len(found.lost)} lost"] if found.lost else []
    yield row(
        f"{load.writers} processes, {load.writes} writes each", found.acknowledged, "all acknowledged writes are there",
        f"so; {found.acknowledged / found.seconds:.0f} writes a second", wrong,
    )  # fmt: skip
    yield row("`kill -9` of a writer, meanwhile", found.kills, "nothing acknowledged is lost, no lock stays", "so")
    yield row(
        f"{load.readers} readers, meanwhile", found.reads, "each value whole, and never an older one than before",
        f"so; the slowest took {found.slowest_read_s * 1e3:.0f} ms", found.wrong,
    )  # fmt: skip


def flip_rows(seed: int, flips: int) -> Iterator[Row]:
    """Half of the changes in a store that was closed, half in one whose process was killed."""
    for logged, what in ((False, "a closed store"), (True, "the store of a killed process, with its log")):
        with tempfile.TemporaryDirectory() as name:
            whole, folder = Path(name, "whole"), Path(name, "damaged")
            store_flips.make(whole, logged=logged)
            seen: Counter[str] = Counter()
            lost, wrong = 0, []
            for flip in store_flips.random_flips(whole, flips // 2, random.Random(seed)):
                shutil.copytree(whole, folder)
                store_flips.apply(flip, folder)
                found = store_flips.outcome(folder)
                seen[found.seen] += 1
                lost += found.lost
                wrong += [f"{flip}: {line}" for line in found.wrong]
                shutil.rmtree(folder)
        yield row(
            f"a byte changed in {what}", flips // 2,
            "the right value, a miss with a warning, or one line; the doctor saves the rest and names what is lost",
            f"{seen['right']} read right, {seen['missing']} with misses, {seen['error']} refused; of "
            f"{len(store_flips.keys()) * (flips // 2)} entries {lost} lost", wrong,
        )  # fmt: skip


def import_rows(seed: int, files: int) -> Iterator[Row]:
    """One of each kind of bad file among many good ones."""
    with tempfile.TemporaryDirectory() as folder:
        found = store_bring_in.run(Path(folder), files, random.Random(seed))
    yield row(
        f"{len(store_bring_in.DAMAGE)} bad files among {files}", files,
        "the good ones are claims, each bad one is listed with its reason",
        f"{found.taken} taken, {found.refused} listed, in {found.seconds:.1f} s", found.wrong,
    )  # fmt: skip


def keep(page: Path, title: str, section: str) -> None:
    """Writes a part's table into the page, in the place of its last one."""
    _, *sections = page.read_text().split("\n## ") if page.exists() else ("",)
    known = {each.partition("\n")[0]: f"## {each.rstrip()}\n" for each in sections}
    page.write_text("\n".join([HEAD, *{**known, title: section}.values()]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--part", choices=tuple(TITLES), action="append", help="only this part")
    parser.add_argument("--report", type=Path, help="write the tables here, as docs/store-faults.md")
    given = parser.parse_args()
    load, flips, files = (SHORT, FEW_FLIPS, FEW_FILES) if given.short else (LONG, FLIPS, FILES)
    parts = {
        "load": lambda: load_rows(given.seed, load),
        "flips": lambda: flip_rows(given.seed, flips),
        "import": lambda: import_rows(given.seed, files),
    }
    rows: list[Row] = []
    for name in given.part or parts:
        begin = time.monotonic()
        found = list(parts[name]())
        text = "\n".join(table(TITLES[name], found)).rstrip() + (
            f"\n\nSeed {given.seed}, {time.monotonic() - begin:.0f} s.\n"
        )
        print(text, flush=True)
        if given.report is not None:
            keep(given.report, TITLES[name], text)
        rows += found
    wrong = [line for each in rows for line in each.wrong]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
