"""The ceiling: how fast this machine multiplies and adds in registers, by a kernel in our own words.

``P[p, a, l] = P[p, a, l] * x + y``, over and over: every thread p keeps `ACCUMULATORS` independent vectors in
registers, enough to hide the latency of a multiply-add. The first link of each chain multiplies by an ``x[a, l]`` of
its own, or all vectors would be one; where registers are few, that one is loaded, and nothing else touches memory.
Timed in turn with another kernel in one process (`Measurer.retime` with `beside`), it says what share of the machine
that kernel used.
"""

from __future__ import annotations

from typing import Final

from ..spec.dtypes import size_bytes
from ..spec.expr import Acc, Axis, Binary, Cast, Const, Expr, Load, const
from ..spec.schedule import Accumulate, At, BindLoop, Nest, Schedule
from ..spec.task import Task, ValueRange
from ..spec.workload import Buffer, IterAxis, Output, Reducer, Stage, Workload
from ..store.machine import this_machine
from .hardware import hardware_from_machine

ACCUMULATORS: Final = 12
STEPS: Final = 2**14
CHAIN: Final = 8
"""Multiply-adds written out in one step, so that counting the loop costs nothing."""
_FLOAT: Final = "float32"


def peak_task(threads: int, lanes: int | None = None, steps: int = STEPS) -> Task:
    """The chain of multiply-adds for `threads` threads; `lanes` floats fill a vector, by default of this CPU."""
    lanes = lanes or vector_lanes()
    # Whole numbers 1 to 9 scaled below 1: the chain converges, so that it meets neither infinities nor denormals.
    own: Expr = Binary("mul", Cast(_FLOAT, Load("x", (Axis("a"), Axis("l")))), const(_FLOAT, 0.0625))
    value: Expr = Acc(0)
    half: Expr = const(_FLOAT, 0.5)
    for factor in (own, *[half] * (CHAIN - 1)):
        value = Binary("add", Binary("mul", value, factor), const(_FLOAT, 0.75))
    stage = Stage(
        name="P",
        axes=(
            IterAxis(name="p", extent=threads),
            IterAxis(name="a", extent=ACCUMULATORS),
            IterAxis(name="l", extent=lanes),
        ),
        reduce=(IterAxis(name="r", extent=steps),),
        outputs=(Output(name="P", dtype=_FLOAT),),
        body=(value,),
        reducer=Reducer(op="custom", init=(Const(_FLOAT, "1.0"),)),
    )
    workload = Workload(
        inputs=(Buffer(name="x", shape=(ACCUMULATORS, lanes), dtype="int32"),), stages=(stage,), params=("x", "P")
    )
    return Task(workload=workload, threads=threads, ranges=(ValueRange(buffer="x", low=1, high=9),))


def peak_schedule() -> Schedule:
    """One thread for each p; its accumulators are one unrolled tile of vectors in registers."""
    return schedule_in_registers("P", ("r",))


def schedule_in_registers(stage: str, reduce: tuple[str, ...]) -> Schedule:
    """A reduction over `reduce`, outermost first, into (p, a, l): a thread for each p, a vectors of l in registers."""
    accumulator = f"{stage}.acc"
    return Schedule(
        stagings=(Accumulate(stage=stage, as_=accumulator, order=("p", "a", "l")),),
        nests=(
            Nest(
                stage=accumulator,
                order=("p", *reduce, "a", "l"),
                bind=(
                    BindLoop(loop="p", to="parallel"),
                    BindLoop(loop="a", to="unroll"),
                    BindLoop(loop="l", to="vectorize"),
                ),
                start=reduce[0],
            ),
            Nest(stage=stage, bind=(BindLoop(loop="l", to="vectorize"),), at=At(stage=accumulator, loop="p")),
        ),
    )


def peak_flops(task: Task) -> int:
    """Floating-point operations of one call, two for each multiply-add."""
    (stage,) = task.workload.stages
    return 2 * CHAIN * stage.points


def vector_lanes() -> int:
    """Floats in a vector of this CPU."""
    return hardware_from_machine(this_machine(), threads=1).lanes(size_bytes(_FLOAT))
