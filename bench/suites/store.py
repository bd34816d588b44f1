"""The store: what lookups cost among a thousand records and among a million, in a process and as commands."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ...search.default import default_schedule
from ...spec.claim import Protocol
from ...spec.cores import available_cores
from ...spec.spec_file import SpecFile, save_spec
from ...store.keys import task_key
from ...store.machine import this_machine
from ...store.records import MEASURED, Measurement, Record, utc_now
from ...store.store import Store
from ..commands import heavy_imports, run_command
from ..filling import fill
from ..report import Row, at_most, spread_row, yes_row
from ..rounds import spread
from .spine import GEMM, SMALL_GEMM
from .spine_calls import run_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..suite import Ground

EACH: Final = 10
"""Records of a task: every tenth is a leader, which a lookup reads."""
FEW: Final = 1_000
MANY: Final = 1_000_000
LOOKUPS: Final = 5_000


def run(ground: Ground) -> Iterator[Row]:
    """The rows of the small store, then those of the large one and how much slower it is."""
    record = a_record(ground)
    spec = ground.folder / "task.json"
    save_spec(SpecFile(task=record.task, schedule=record.schedule), spec)
    sizes = (FEW, 5 * FEW) if ground.options.quick else (FEW, MANY)
    halves = []
    for records in sizes:
        folder = store_of(ground, records)
        if not folder.exists():
            yield filled_row(ground, folder, record, records)
        found = run_module(ground, "in_store", str(folder), str(spec), str(records // EACH), str(LOOKUPS))
        halves.append(statistics.median(found["known"]))
        yield from lookup_rows(f"{records:,} records", found)
    yield Row(name="lookup: growth", figure=halves[1] / halves[0], unit="x", bar=at_most(2))
    largest = store_of(ground, sizes[-1])
    with Store(largest) as store:
        store.put(record)
    yield from process_rows(ground, largest, spec, task_key(record.task))


def store_of(ground: Ground, records: int) -> Path:
    """The folder of a store of so many records."""
    return Path(ground.options.store or ground.folder, f"store-{records}")


def a_record(ground: Ground) -> Record:
    """A record as long as those of a search: two sessions of a product's default schedule, not measured."""
    task = (SMALL_GEMM if ground.options.quick else GEMM).task(available_cores())
    session = Measurement(
        samples_s=tuple(0.004 + number * 1.1e-6 for number in range(7)), verified=True, accuracy="reassociated",
        origin=MEASURED, date=utc_now(),
    )  # fmt: skip
    final = attrs.evolve(session, baseline_s=tuple(0.008 + number * 1.1e-6 for number in range(7)), date=utc_now())
    return Record(
        task=task, schedule=default_schedule(task), machine=this_machine(), protocol=Protocol(threads=task.threads),
        measurements=(session, final),
    )  # fmt: skip


def filled_row(ground: Ground, folder: Path, record: Record, records: int) -> Row:
    """Fills a store; how many records in a second."""
    ground.say(f"a store of {records:,} records")
    begin = time.perf_counter()
    fill(folder, record, records // EACH, EACH)
    rate = records / (time.perf_counter() - begin)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return Row(name=f"{records:,} records: filled", figure=rate, unit="/s", detail=f"{size:.0f} MB")


def lookup_rows(name: str, found: dict[str, list[float]]) -> Iterator[Row]:
    """Hits in turn with one another, each of another task: half of them, and 99 of 100, take no longer than this."""
    what = "each of another task, in any order"
    known = [seconds * 1e6 for seconds in found["known"]]
    yield spread_row(f"{name}: lookup, half", spread(known), "us", at_most(150), what)
    high = statistics.quantiles(known, n=100)[98]
    yield Row(name=f"{name}: lookup, 99 of 100", figure=high, unit="us", bar=at_most(1000), detail=what)
    for kind, detail in (("fresh", "of a Task whose identity is not known yet"), ("missed", "of what is not there")):
        samples = [seconds * 1e6 for seconds in found[kind]]
        yield spread_row(f"{name}: lookup, {kind}", spread(samples), "us", None, detail)


def process_rows(ground: Ground, folder: Path, spec: Path, key: str) -> Iterator[Row]:
    """``autosched lookup`` in a process of its own, by each way to name a task."""
    work = SMALL_GEMM if ground.options.quick else GEMM
    for name, words in {
        "operator": work.words,
        "key": ("--key", key),
        "spec file": ("--spec", str(spec)),
    }.items():
        command = ("lookup", *words, "--store", str(folder), "--json")
        ground.say(f"autosched lookup by {name}, {ground.processes} processes")
        run_command(command)  # not timed: it may write Python's caches
        with ground.lock.timing():
            walls_s = [run_command(command).wall_s for _ in range(ground.processes)]
        yield spread_row(f"lookup by {name}: whole process", spread(walls_s), "s", at_most(0.35))
        heavy = heavy_imports(command)
        yield yes_row(f"lookup by {name}: without TVM and NumPy", not heavy, ", ".join(heavy))
