"""Tasks, schedules and records for the tests of the store."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs

from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.claim import Effort, Failure, Machine, Protocol, Tool
from autosched.spec.schedule import At, BindFused, BindLoop, Nest, Reindex, Schedule, Split
from autosched.spec.task import Task
from autosched.store.records import MEASURED, FailedTrial, Measurement, Record, SearchState
from autosched.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MACHINE = Machine(
    arch="x86_64", vendor="AuthenticAMD", family=26, model=2, isa=("avx2", "avx512f", "fma"),
    cores=2, l1d_bytes=49152, l2_bytes=1048576, l3_bytes=33554432,
)  # fmt: skip
OTHER_MACHINE = attrs.evolve(MACHINE, model=3)
PROTOCOL = Protocol(threads=2)
OTHER_PROTOCOL = Protocol(threads=2, repeats=3)
STATE = SearchState(strategy="auto", trials=9, finished=8, seconds=1.5, space="cpu-1", date="2026-11-23")


@functools.cache  # a task remembers its canonical form
def gemm(names: str = "ABCijk", extent: int = 64, threads: int = 2) -> Task:
    """C[i, j] += A[i, k] * B[k, j], its buffers and axes called by the six letters of `names`."""
    a, b, c, i, j, k = list(names)
    A, B = placeholder((extent, extent), name=a), placeholder((extent, extent), name=b)
    r = reduce_axis(extent, name=k)
    body = eval(f"lambda {i}, {j}: total(A[{i}, r] * B[r, {j}], r)", {"A": A, "B": B, "r": r, "total": sum_over})  # noqa: S307 # axes are named by parameters
    return Task(workload=build([A, B, compute((extent, extent), body, name=c)]), threads=threads)


@functools.cache
def tiled(names: str = "ABCijk", factor: int = 8, extent: int = 64) -> Schedule:
    """B packed into panels of `factor` columns, the panels in parallel; for `gemm` of the same names."""
    _, b, c, i, j, k = list(names)
    jo, ji = f"{j}o", f"{j}i"
    return Schedule(
        stagings=(
            Reindex(
                stage=c, reads=b, as_=f"{b}.pack", order=(jo, k, ji),
                splits=(Split(axis=j, into=(jo, ji), factors=(extent // factor, factor)),),
            ),
        ),
        nests=(
            Nest(stage=f"{b}.pack", at=At(stage=c, loop="p")),
            Nest(
                stage=c,
                splits=(Split(axis=j, into=(jo, ji), factors=(extent // factor, factor)),),
                order=(jo, i, k, ji),
                bind=(BindFused(fuse=(jo, i), as_="p", to="parallel"), BindLoop(loop=ji, to="vectorize")),
                start=k,
            ),
        ),
    )  # fmt: skip


def named(model: Record, names: str) -> Record:
    """A record of `tiled()` for `gemm()` as who uses `names` sees it."""
    extent = model.task.workload.inputs[0].shape[0]
    factor = model.schedule.stagings[0].splits[0].factors[1]  # type: ignore[union-attr] # tiled() begins with Reindex
    return attrs.evolve(model, task=gemm(names, extent), schedule=tiled(names, factor, extent))


def timed(*samples_s: float, **changes: object) -> Measurement:
    """A verified measurement made here, but for `changes`."""
    given: dict[str, object] = {
        "samples_s": samples_s, "verified": True, "accuracy": "reassociated", "origin": MEASURED,
        "tools": (Tool(name="apache-tvm", version="0.27.0.post1"),), "date": "2026-11-23T07:00:00.000000Z",
    }  # fmt: skip
    return Measurement(**{**given, **changes})  # type: ignore[arg-type]


def failed(kind: str = "crash", detail: str = "", date: str = "2026-11-23T07:00:00.000000Z") -> FailedTrial:
    return FailedTrial(failure=Failure(kind=kind, detail=detail), date=date)


def record(*measurements: Measurement, **changes: object) -> Record:
    """A record of `tiled()` for `gemm()` on MACHINE under PROTOCOL, but for `changes`."""
    given: dict[str, object] = {
        "task": gemm(), "schedule": tiled(), "machine": MACHINE, "protocol": PROTOCOL, "measurements": measurements,
    }  # fmt: skip
    return Record(**{**given, **changes})  # type: ignore[arg-type]


def numbered(number: int) -> Record:
    """A record of a schedule of its own; a lower number is faster."""
    schedule = Schedule(nests=(Nest(stage="C", unroll_limit=number),))
    return record(timed(0.001 * (number + 1)), schedule=schedule)


def dated(number: int) -> Record:
    """A session of its own of one schedule."""
    return record(timed(0.1, date=f"day {number:03}"))


EFFORT = Effort(strategy="evolve", trials=64, seconds=12.5, seed=0)


def filled(folder: Path, put: Sequence[Record], searched: Sequence[tuple[Record, SearchState]] = ()) -> Store:
    """A store with records, and with searches that ended, in a folder."""
    store = Store(folder)
    for each in put:
        store.put(each)
    for about, state in searched:
        store.finish_search(about.task, state, about.machine, about.protocol)
    return store
