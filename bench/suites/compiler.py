"""The compiler: what reading, checking and lowering a spec file and looking up a record cost, by how large it is."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from ...search.default import default_candidate, default_schedule
from ...search.space import Space
from ...spec.claim import Protocol, Tool
from ...spec.schedule import Schedule
from ...spec.spec_file import SpecFile, save_spec
from ...store.machine import this_machine
from ...store.records import MEASURED, Measurement, Record, utc_now
from ...store.store import Store
from ..report import Row, at_most, spread_row
from ..rounds import spread
from ..works import Work, work
from .spine_calls import lookup_rows, run_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ...spec.task import Task
    from ..suite import Ground

PRODUCT: Final = work("gemm_1024", "gemm", N=1024, K=1024, M=1024)
WORKS: Final = (
    PRODUCT,
    work("gemm_ragged", "gemm", N=100, K=64, M=200),
    work("gemv_1024", "gemv", N=1024, K=1024),
    work("batch_gemm_8", "batch_gemm", B=8, N=128, K=64, M=128),
    work("conv2d_k1", "conv2d", N=1, C=64, H=56, W=56, K=128, R=1, S=1),
    work("conv2d_k3", "conv2d", N=1, C=64, H=58, W=58, K=64, R=3, S=3),
    work("depthwise_k3", "depthwise_conv2d", N=1, C=64, H=16, W=16, R=3, S=3),
    work("layer_56", "conv2d", N=1, C=64, H=56, W=56, K=64, R=3, S=3, padding=1, bias=True, relu=True),
    work("layer_14", "conv2d", N=1, C=256, H=14, W=14, K=256, R=3, S=3, padding=1, bias=True, relu=True),
    work("layer_k7", "conv2d", N=1, C=3, H=224, W=224, K=64, R=7, S=7, stride=2, padding=3, bias=True, relu=True),
    work("depthwise_layer", "depthwise_conv2d", N=1, C=64, H=14, W=14, R=3, S=3, padding=1, bias=True, relu=True),
)
"""Tasks of one stage, and of four: pad, convolution, bias, ReLU."""

SIZES: Final = ((1, 100), (101, 150), (1, 150), (151, 200), (201, 300))
"""Numbers of JSON nodes that have a row together; a bar is for files of up to 150."""
LARGEST_WITH_BAR: Final = 150
SAMPLES: Final = 6
"""Schedules of a task drawn from its space, beside plain loops and the default."""


def run(ground: Ground) -> Iterator[Row]:
    """Reading by size, check and lowering by stages, lookups."""
    folder = ground.folder / "specs"
    folder.mkdir()
    works = (WORKS[1], WORKS[-1]) if ground.options.quick else WORKS
    for each in works:
        ground.say(f"{each.name}: spec files")
        write_specs(each, ground.options.threads, folder, 1 if ground.options.quick else SAMPLES)
    ground.say("reading, checking and lowering in one process")
    files: list[dict[str, Any]] = run_module(ground, "compiling", str(folder), str(ground.rounds))
    yield from reading_rows(files)
    yield from lowering_rows(files)
    ground.say("lookups in one process")
    spec, store = known_product(ground, works[0])
    yield from lookup_rows(ground, store, spec)


def write_specs(work: Work, threads: int, folder: Path, samples: int) -> None:
    """Spec files of a task: plain loops, the default schedule, and some from all over its space."""
    task = work.task(threads)
    space, rng = Space(task, this_machine()), random.Random(0)
    schedules = [Schedule(), default_candidate(space).schedule]
    while len(schedules) < samples + 2:
        candidate = space.candidate(space.sample(rng))
        if candidate is not None:
            schedules.append(candidate.schedule)
    for number, schedule in enumerate(schedules):
        save_spec(SpecFile(task=task, schedule=schedule), folder / f"{work.name}.{number}.json")


def reading_rows(files: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """JSON text to checked record: parsed, structured, task and schedule checked; by the number of JSON nodes."""
    for kind, what in (("fresh_s", "names never read before"), ("read_s", "files read before")):
        for least, most in SIZES:
            chosen = [file for file in files if least <= file["nodes"] <= most]
            if chosen:
                samples = [seconds * 1e6 for file in chosen for seconds in file[kind]]
                bar = at_most(300) if most <= LARGEST_WITH_BAR else None
                name = f"JSON to checked, {least} to {most} nodes, {kind.removesuffix('_s')}"
                yield spread_row(name, spread(samples), "us", bar, f"{len(chosen)} files, {what}")


def lowering_rows(files: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Check and lowering to TVM's schedule, by the number of stages of the task."""
    for stages, words, limit in ((1, "one stage", 3.0), (4, "four stages", 8.0)):
        chosen = [file for file in files if file["stages"] == stages]
        if chosen:
            samples = [seconds * 1e3 for file in chosen for seconds in file["lower_s"]]
            yield spread_row(f"check and lower, {words}", spread(samples), "ms", at_most(limit), f"{len(chosen)} files")


def known_product(ground: Ground, work: Work) -> tuple[Path, str]:
    """A spec file, and a store of its own that holds a record of it as a search leaves one: a trial and a final."""
    task = work.task(ground.options.threads)
    schedule = default_schedule(task)
    spec, store = ground.folder / f"{work.name}.json", str(ground.folder / "known")
    save_spec(SpecFile(task=task, schedule=schedule), spec)
    with Store(store) as opened:
        opened.put(_made_up_record(task, schedule))
    return spec, store


def _made_up_record(task: Task, schedule: Schedule) -> Record:
    """Nobody measured these times: only reading them is timed, and the store is thrown away."""
    tools = (Tool(name="apache-tvm", version="0.0"), Tool(name="autosched", version="0.0"))
    samples_s = tuple(0.005 + number * 1.2345678e-6 for number in range(7))
    measurements = tuple(
        Measurement(
            samples_s=samples_s, baseline_s=baseline_s, verified=True, accuracy="reassociated", origin=MEASURED,
            tools=tools, date=utc_now(),
        )
        for baseline_s in ((), samples_s)
    )  # fmt: skip
    protocol = Protocol(threads=task.threads)
    return Record(task=task, schedule=schedule, machine=this_machine(), protocol=protocol, measurements=measurements)
