"""How fast this machine is, by kernels in our own words: multiply-adds, bytes from each cache level, parallel loops.

``S[p, a, l] += x[p, r, a, l]``, over all r and that many turns: thread p sums a buffer of its own, which is as large as
the cache level asks for, into vectors that stay in registers. What is measured is kept with the machine's fingerprint;
the analytic model reckons with it (`hardware_from_machine`).
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from ..spec.claim import Failure, Protocol
from ..spec.dtypes import size_bytes
from ..spec.errors import MeasureError
from ..spec.expr import Axis, Load, const
from ..spec.task import Task
from ..spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from ..store.keys import machine_key
from ..store.machine import this_machine
from ..store.records import utc_now
from ..store.speeds import Speeds
from .hardware import hardware_from_machine
from .measure import Measurer
from .peak import peak_flops, peak_schedule, peak_task, schedule_in_registers, vector_lanes

if TYPE_CHECKING:
    from pathlib import Path

    from ..spec.claim import Machine
    from ..spec.schedule import Schedule

ROUNDS: Final = 7
READ_BYTES: Final = 2**25
"""Of a cache level, so many bytes are read in a call, in turns."""
MEMORY_BYTES: Final = (2**26, 2**28)
"""Bytes of the buffers that lie in memory, all threads together: three times the last cache, within these bounds."""
BEYOND: Final = 1.5
"""But at least so many times the last cache, however large that is."""
_VECTORS: Final = 8
_FLOAT: Final = "float32"


def read_task(threads: int, bytes_each: int, turns: int) -> Task:
    """`threads` threads sum `bytes_each` bytes each, `turns` times."""
    lanes = vector_lanes()
    rows = max(1, bytes_each // (_VECTORS * lanes * size_bytes(_FLOAT)))
    place = (Axis("p"), Axis("r"), Axis("a"), Axis("l"))
    stage = Stage(
        name="S",
        axes=(
            IterAxis(name="p", extent=threads),
            IterAxis(name="a", extent=_VECTORS),
            IterAxis(name="l", extent=lanes),
        ),
        reduce=(IterAxis(name="t", extent=turns), IterAxis(name="r", extent=rows)),
        outputs=(Output(name="S", dtype=_FLOAT),),
        body=(Load("x", place),),
        reducer=Reducer(op="sum", init=(const(_FLOAT, 0.0),)),
    )
    source = Buffer(name="x", shape=(threads, rows, _VECTORS, lanes), dtype=_FLOAT)
    return Task(workload=Workload(inputs=(source,), stages=(stage,), params=("x", "S")), threads=threads)


def read_schedule() -> Schedule:
    """One thread for each p; its sums are one unrolled tile of vectors in registers."""
    return schedule_in_registers("S", ("t", "r"))


def measure_speeds(threads: int, *, lock_path: Path | None = None) -> Speeds:
    """The speeds of this machine with `threads` threads at work, measured now: some seconds."""
    machine = this_machine()
    with Measurer(peak_task(threads, steps=1), Protocol(threads=threads), lock_path=lock_path) as measurer:
        flops = _flops(measurer, threads)
        rates = [_bytes_per_s(measurer, threads, *shape) for shape in read_shapes(machine, threads)]
        (idle,) = measurer.retime([peak_schedule()], ROUNDS)
    l2, l3, memory = rates
    return Speeds(
        machine=machine_key(machine),
        threads=threads,
        flops=flops,
        l2_bytes=l2 / threads,
        l3_bytes=l3 / threads,
        memory_bytes=memory,
        region_s=_checked(idle),
        date=utc_now(),
    )


def fma_peak_gflops(threads: int, *, lock_path: Path | None = None) -> float:
    """Giga operations per second of multiply-adds in registers, on `threads` threads, measured now."""
    with Measurer(peak_task(threads, steps=1), Protocol(threads=threads), lock_path=lock_path) as measurer:
        return _flops(measurer, threads) / 1e9


def _flops(measurer: Measurer, threads: int) -> float:
    peak = peak_task(threads)
    return peak_flops(peak) / _median_s(measurer, (peak, peak_schedule()))


def read_shapes(machine: Machine, threads: int) -> list[tuple[int, int]]:
    """Bytes for each thread, and turns, by which the second and last cache and memory are read."""
    hardware = hardware_from_machine(machine, threads)
    # Half of a level: the whole of it is never ours. The last one is shared.
    l2, l3 = hardware.l2_bytes // 2, max(hardware.l3_bytes // 2 // threads, hardware.l2_bytes * 2)
    least, most = MEMORY_BYTES
    memory = max(min(most, max(least, 3 * hardware.l3_bytes)), int(BEYOND * hardware.l3_bytes)) // threads
    return [(l2, max(1, READ_BYTES // l2)), (l3, max(1, READ_BYTES // l3)), (memory, 1)]


def _bytes_per_s(measurer: Measurer, threads: int, bytes_each: int, turns: int) -> float:
    """Of all threads together."""
    task = read_task(threads, bytes_each, turns)
    (stage,) = task.workload.stages
    return stage.points * size_bytes(_FLOAT) / _median_s(measurer, (task, read_schedule()))


def _median_s(measurer: Measurer, kernel: tuple[Task, Schedule]) -> float:
    (samples,) = measurer.retime((), ROUNDS, beside=kernel)
    return _checked(samples)


def _checked(samples: tuple[float, ...] | Failure) -> float:
    if isinstance(samples, Failure):
        raise MeasureError(f"the machine's speeds could not be measured: {samples.kind}, {samples.detail}")
    return statistics.median(samples)
