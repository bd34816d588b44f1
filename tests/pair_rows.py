"""The rows of the language table: what a (workload, schedule) pair may make use of, each with how it is recognised.

Whoever adds a word to the language adds its row here; `make pairs` then fails until pairs reach it with every outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from autosched.spec.errors import SpecError
from autosched.spec.expr import Binary, Cast, Const, Expr, If, Load, loads, walk
from autosched.spec.rewrite import apply_staging
from autosched.spec.schedule import (
    BLOCKS,
    FRAGMENTS,
    SHARED,
    THREADS,
    VTHREAD,
    Accumulate,
    BindFused,
    BindLoop,
    Inline,
    Nest,
    Pack,
    Partial,
    Reindex,
    Schedule,
    Split,
)
from autosched.spec.task import Task
from autosched.spec.workload import Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Case:
    """A pair, and its workload after the stagings that apply (those of a schedule that is refused may not)."""

    task: Task
    schedule: Schedule
    rewritten: Workload

    @property
    def workload(self) -> Workload:
        return self.task.workload


def case_of(task: Task, schedule: Schedule) -> Case:
    workload = schedule.algorithm.workload if schedule.algorithm is not None else task.workload
    for staging in schedule.stagings:
        try:
            workload = apply_staging(workload, staging)
        except SpecError:
            continue
    return Case(task, schedule, workload)


@attrs.frozen
class Row:
    """One row: its name in the table, and whether a pair belongs to it."""

    name: str
    holds: Callable[[Case], bool]


# --- stagings ---------------------------------------------------------------------------------------------------------


def has_staging(kind: type) -> Callable[[Case], bool]:
    return lambda case: any(type(staging) is kind for staging in case.schedule.stagings)


def staging_splits(case: Case) -> Iterator[Split]:
    for staging in case.schedule.stagings:
        yield from getattr(staging, "splits", ())


def pads_reduction(case: Case) -> bool:
    reduce = {axis.name for stage in case.workload.stages for axis in stage.reduce}
    kinds = (Accumulate, Partial)
    cut = [split for staging in case.schedule.stagings if isinstance(staging, kinds) for split in staging.splits]
    return any(split.tail == "pad" and split.axis in reduce for split in cut)


def stages_a_staged(case: Case) -> bool:
    made = [getattr(staging, "as_", None) for staging in case.schedule.stagings]
    return any(staging.stage in made[:number] for number, staging in enumerate(case.schedule.stagings))


def fuses_reduction(case: Case) -> bool:
    reduce = {axis.name for stage in case.rewritten.stages for axis in stage.reduce}
    reduce |= {axis.name for stage in case.workload.stages for axis in stage.reduce}
    return any(reduce & {*fuse.fuse} for fuse in staging_fuses(case))


def accumulates_several(case: Case) -> bool:
    made = {staging.as_ for staging in case.schedule.stagings if isinstance(staging, Accumulate)}
    return any(stage.name in made and len(stage.outputs) > 1 for stage in case.rewritten.stages)


def staging_fuses(case: Case) -> Iterator[object]:
    for staging in case.schedule.stagings:
        if isinstance(staging, Accumulate):
            yield from staging.fuses


# --- nests ------------------------------------------------------------------------------------------------------------


def some_nest(holds: Callable[[Nest], bool]) -> Callable[[Case], bool]:
    return lambda case: any(holds(nest) for nest in case.schedule.nests)


def binds_to(word: str) -> Callable[[Case], bool]:
    return some_nest(lambda nest: any(bind.to == word for bind in nest.bind))


def binds_to_any(words: tuple[str, ...]) -> Callable[[Case], bool]:
    return some_nest(lambda nest: any(bind.to in words for bind in nest.bind))


def fuses_to(words: tuple[str, ...]) -> Callable[[Case], bool]:
    return some_nest(lambda nest: any(isinstance(bind, BindFused) and bind.to in words for bind in nest.bind))


def tail_is(tail: str, *, cuts: bool = True) -> Callable[[Nest], bool]:
    return lambda nest: any(split.tail == tail and (len(split.into) > 1 or not cuts) for split in nest.splits)


def host(case: Case, nest: Nest) -> Stage | None:
    found = [stage for stage in case.rewritten.stages if nest.at is not None and stage.name == nest.at.stage]
    return found[0] if found else None


def own_stage(case: Case, nest: Nest) -> Stage | None:
    return next((stage for stage in case.rewritten.stages if stage.name == nest.stage), None)


def reads(reader: Stage | None, producer: Stage | None) -> bool:
    return (
        reader is not None and producer is not None and any(output.name in reader.reads for output in producer.outputs)
    )


def attaches_producer(case: Case) -> bool:
    return any(reads(host(case, nest), own_stage(case, nest)) for nest in case.schedule.nests)


def attaches_consumer(case: Case) -> bool:
    return any(reads(own_stage(case, nest), host(case, nest)) for nest in case.schedule.nests)


def shares_what_threads_have(case: Case) -> bool:
    shared = [nest for nest in case.schedule.nests if nest.scope in SHARED]
    return any(reads(own_stage(case, nest), host(case, nest)) for nest in shared)


def attaches_chain(case: Case) -> bool:
    places = [nest.at for nest in case.schedule.nests if nest.at is not None]
    moved = {nest.stage for nest in case.schedule.nests if nest.at is not None}
    return len(set(places)) < len(places) or any(at.stage in moved for at in places)


def attaches_at_fused(case: Case) -> bool:
    fused = {(nest.stage, b.as_) for nest in case.schedule.nests for b in nest.bind if isinstance(b, BindFused)}
    return any((nest.at.stage, nest.at.loop) in fused for nest in case.schedule.nests if nest.at is not None)


def starts_before_vectors(nest: Nest) -> bool:
    return nest.start is not None and any(bind.to == "vectorize" for bind in nest.bind)


# --- workloads --------------------------------------------------------------------------------------------------------


def some_stage(holds: Callable[[Stage], bool]) -> Callable[[Case], bool]:
    return lambda case: any(holds(stage) for stage in case.workload.stages)


def reducer_is(op: str) -> Callable[[Case], bool]:
    return some_stage(lambda stage: stage.reducer is not None and stage.reducer.op == op)


def has_dtype(dtype: str) -> Callable[[Case], bool]:
    return some_stage(lambda stage: any(output.dtype == dtype for output in stage.outputs))


def widens(narrow: tuple[str, ...], wide: tuple[str, ...]) -> Callable[[Case], bool]:
    def holds(case: Case) -> bool:
        return any(
            isinstance(node, Cast)
            and node.dtype in wide
            and isinstance(node.value, Load)
            and case.workload.buffers[node.value.buffer].dtype in narrow
            for node in nodes(case)
        )

    return holds


def nodes(case: Case) -> Iterator[Expr]:
    return (node for stage in case.workload.stages for body in stage.body for node in walk(body))


def extents(case: Case) -> Iterator[int]:
    return (extent for stage in case.workload.stages for extent in stage.extents.values())


def is_prime(number: int) -> bool:
    return number > 4 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def pads_for_a_reader(case: Case) -> bool:
    padding = {s.name for s in case.workload.stages if isinstance(s.body[0], If) and isinstance(s.body[0].then, Load)}
    return any(padding & {*stage.reads} for stage in case.workload.stages)


def has_epilogue(case: Case) -> bool:
    sums = {output.name for s in case.workload.stages if s.reducer is not None for output in s.outputs}
    return any(stage.reducer is None and sums & {*stage.reads} for stage in case.workload.stages)


def has_window(case: Case) -> bool:
    return any(
        isinstance(node, Load)
        and any(isinstance(i, Binary) and i.op == "add" and not isinstance(i.b, Const) for i in node.indices)
        for node in nodes(case)
    )


def reads_backwards(case: Case) -> bool:
    indices = [entry for node in nodes(case) if isinstance(node, Load) for entry in node.indices]
    return any(isinstance(i, Binary) and i.op == "sub" and isinstance(i.a, Const) for i in indices)


def gathers(case: Case) -> bool:
    return any(loads(entry) for node in nodes(case) if isinstance(node, Load) for entry in node.indices)


def has_several_readers(case: Case) -> bool:
    return any(len(case.workload.readers(name)) > 1 for name in case.workload.writer)


ROWS: Final[tuple[Row, ...]] = (
    Row("algorithm", lambda case: case.schedule.algorithm is not None),
    Row("inline", has_staging(Inline)),
    Row("accumulate", has_staging(Accumulate)),
    Row("accumulate: fuses spatial axes", lambda case: any(staging_fuses(case)) and not fuses_reduction(case)),
    Row("accumulate: fuses reduce axes", fuses_reduction),
    Row("accumulate: several outputs", accumulates_several),
    Row("reindex", has_staging(Reindex)),
    Row("pack", has_staging(Pack)),
    Row("partial", has_staging(Partial)),
    Row("staging: split that divides", lambda case: any(split.tail == "none" for split in staging_splits(case))),
    Row("staging: tail by padding", lambda case: any(split.tail == "pad" for split in staging_splits(case))),
    Row("staging: reduce axis padded", pads_reduction),
    Row("staging of what a staging made", stages_a_staged),
    Row("split that divides", some_nest(tail_is("none"))),
    Row("split, tail by predicate", some_nest(tail_is("predicate"))),
    Row("split in three", some_nest(lambda nest: any(len(split.into) == 3 for split in nest.splits))),
    Row("order", some_nest(lambda nest: len(nest.order) > 1)),
    Row("parallel", binds_to("parallel")),
    Row("tensorize", some_nest(lambda nest: nest.tensorize is not None)),
    *(
        Row(word, binds_to_any(words))
        for word, words in (("blocks", BLOCKS), ("threads", THREADS), ("vthread", (VTHREAD,)))
    ),
    Row("shared memory", some_nest(lambda nest: nest.scope in SHARED)),
    Row("local memory", some_nest(lambda nest: nest.scope == "local")),
    Row("fragments", some_nest(lambda nest: nest.scope in FRAGMENTS)),
    Row("shared memory filled by the threads around", shares_what_threads_have),
    Row("align", some_nest(lambda nest: nest.align is not None)),
    Row("ahead", some_nest(lambda nest: nest.ahead > 0)),
    Row("load of reindex", lambda case: any(getattr(s, "load", None) is not None for s in case.schedule.stagings)),
    Row("once", lambda case: bool(case.schedule.once)),
    Row("vectorize", binds_to("vectorize")),
    Row("unroll", binds_to("unroll")),
    Row("serial", some_nest(lambda nest: any(isinstance(b, BindLoop) and b.to == "serial" for b in nest.bind))),
    Row("fuse, parallel", fuses_to(("parallel",))),
    Row("fuse, other", fuses_to(("serial", "unroll", "vectorize"))),
    Row("at: producer", attaches_producer),
    Row("at: consumer", attaches_consumer),
    Row("at: several at one loop, or one in another", attaches_chain),
    Row("at: a fused loop", attaches_at_fused),
    Row("start", some_nest(lambda nest: nest.start is not None)),
    Row("start before a vectorized loop", some_nest(starts_before_vectors)),
    Row("skip", some_nest(lambda nest: nest.skip is not None)),
    Row("unroll_limit", some_nest(lambda nest: nest.unroll_limit is not None)),
    *(Row(f"reducer {op}", reducer_is(op)) for op in ("sum", "prod", "min", "max", "custom")),
    Row("several outputs of a stage", some_stage(lambda stage: len(stage.outputs) > 1)),
    Row("several values, not reduced", some_stage(lambda stage: len(stage.outputs) > 1 and stage.reducer is None)),
    Row("several outputs of a workload", lambda case: len(case.workload.outputs) > 1),
    *(
        Row(dtype, has_dtype(dtype))
        for dtype in ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64")
    ),
    Row("int8 or uint8 into int32", widens(("int8", "uint8"), ("int32",))),
    Row("16-bit floats into float32", widens(("float16", "bfloat16"), ("float32",))),
    Row("64-bit indices", lambda case: case.workload.index_dtype == "int64"),
    Row("2 threads", lambda case: case.task.threads == 2),
    Row("extent prime, 5 or more", lambda case: any(map(is_prime, extents(case)))),
    Row("extent 1", lambda case: 1 in extents(case)),
    Row("output without dimensions", some_stage(lambda stage: not stage.axes)),
    *(
        Row(f"{count} stage{'s' * (count > 1)}", lambda case, count=count: len(case.workload.stages) == count)  # type: ignore[misc]
        for count in (1, 2, 3, 4)
    ),
    Row("padding read by a stage", pads_for_a_reader),
    Row("epilogue of a reduction", has_epilogue),
    Row("window h * s + r", has_window),
    Row("read backwards", reads_backwards),
    Row("gather", gathers),
    Row("buffer with several readers", has_several_readers),
)
"""Every row, in the order of the table."""


def rows_of(case: Case) -> tuple[str, ...]:
    """The names of the rows that a pair belongs to."""
    return tuple(row.name for row in ROWS if row.holds(case))
