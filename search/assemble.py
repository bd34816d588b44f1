"""Puts rules together into one schedule: inline what is cheap, tile reductions, attach epilogues, nest the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..spec.errors import SpecError
from ..spec.expr import Load
from ..spec.nest import plan_from_nests
from ..spec.rewrite import apply_staging
from ..spec.schedule import At, Inline, Nest, Schedule, Staging
from .digits import digit_stagings
from .layouts import Layout
from .nests import plain_nest
from .structure import is_map, reads_elementwise, sole_reader
from .tiling import Tile, reach_of, tiled_reduction
from .together import nests_together
from .windows import window_staging

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..spec.task import Task
    from ..spec.workload import Stage, Workload
    from .hardware import Hardware
    from .knobs import KnobValue


@attrs.frozen(kw_only=True)
class StageChoice:
    """What was chosen for one reduction."""

    layout: Layout | None
    tile: Tile | None
    inline_producers: bool = False
    together: bool = False
    """Whether all stages are done together, step by step of what they share; one reduction says so for all."""

    @classmethod
    def from_knobs(cls, layout: Layout | None, stage: str, values: Mapping[str, KnobValue]) -> StageChoice:
        """The choice that knobs named ``stage/…`` spell."""
        own = {name.removeprefix(f"{stage}/"): v for name, v in values.items() if name.startswith(f"{stage}/")}
        together = bool(own.pop("together", False))
        if layout is None:
            return cls(layout=None, tile=None, together=together)
        lanes, vectors, rows = own.pop("tile")  # type: ignore[misc] # always a triple
        inline = bool(own.pop("inline_producers", False))
        tile = Tile(lanes=lanes, vectors=vectors, rows=rows, **own)  # type: ignore[arg-type] # names are Tile's fields
        return cls(layout=layout, tile=tile, inline_producers=inline, together=together)


class _Assembly:
    """The schedule being made, and the workload as its stagings leave it."""

    def __init__(self, task: Task) -> None:
        self.workload = task.workload
        self.constants = task.constants
        self.stagings: list[Staging] = []
        self.nests: dict[str, Nest] = {}

    def stage(self, *stagings: Staging) -> None:
        for staging in stagings:
            self.workload = apply_staging(self.workload, staging)
            self.stagings.append(staging)


def assemble(task: Task, choices: Mapping[str, StageChoice], hardware: Hardware) -> tuple[Schedule, Workload]:
    """The schedule in which each reduction is done as chosen, and the workload as its stagings leave it."""
    made = _Assembly(task)
    _inline_maps(made)
    made.stage(*digit_stagings(made.workload))
    for stage in made.workload.stages:
        choice = choices.get(stage.name)
        if choice is not None and choice.layout is not None and choice.tile is not None:
            _tile(made, made.workload.stage(stage.name), choice, hardware)
    once = _from_constants(made.workload, task.constants)
    if any(choice.together for choice in choices.values()):
        made.nests = _together(made, choices, once, hardware)
    for stage in made.workload.stages:
        if stage.name not in made.nests:
            made.nests[stage.name] = plain_nest(stage, hardware)
    ordered = tuple(made.nests[stage.name] for stage in made.workload.stages)
    return Schedule(stagings=tuple(made.stagings), once=once, nests=ordered), made.workload


def _together(
    made: _Assembly, choices: Mapping[str, StageChoice], once: Sequence[str], hardware: Hardware
) -> dict[str, Nest]:
    """The nests of stages done together; SpecError where one of them is done otherwise."""
    if once or any(choice.layout is not None and not choice.layout.partial for choice in choices.values()):
        raise SpecError(
            "a stage has blocks of its own, or is computed once; it cannot be done together with the others"
        )
    return nests_together(made.workload, made.nests, hardware)


def _from_constants(workload: Workload, constants: Sequence[str]) -> tuple[str, ...]:
    """Stages that read nothing but constants: no call has to compute them."""
    known = set(constants)
    found = []
    for stage in workload.stages:
        made = {output.name for output in stage.outputs}
        if stage.reads and known.issuperset(stage.reads) and not made & {*workload.params}:
            found.append(stage.name)
            known |= made
    return tuple(found)


def _reads_constants(made: _Assembly, buffers: Sequence[str]) -> bool:
    """True where some of the buffers are constants, or computed from nothing else."""
    steady = _from_constants(made.workload, made.constants)
    writers = made.workload.writer
    return any(name in made.constants or (name in writers and writers[name].name in steady) for name in buffers)


def _inline_maps(made: _Assembly) -> None:
    """Inlines every map that one other map reads elementwise."""
    for stage in made.workload.stages:
        reader = sole_reader(made.workload, made.workload.stage(stage.name))
        if is_map(stage) and reader is not None and reads_elementwise(reader, stage):
            made.stage(Inline(stage=stage.name))


def _tile(made: _Assembly, stage: Stage, choice: StageChoice, hardware: Hardware) -> None:
    assert choice.layout is not None
    assert choice.tile is not None
    stage = _stage_windows(made, stage, choice)
    if choice.inline_producers:
        stage, choice = _inline_producers(made, stage, choice)
    assert choice.layout is not None
    assert choice.tile is not None
    tile = choice.tile
    if tile.pack_inside and _reads_constants(made, choice.layout.staged):
        tile = attrs.evolve(tile, pack_inside=False)  # what no call has to compute is computed as a whole
    tiled = tiled_reduction(made.workload, stage, choice.layout, tile, hardware)
    made.stage(*tiled.stagings)
    for nest in tiled.nests:
        made.nests[nest.stage] = nest
    copier = made.workload.stage(stage.name)
    while (reader := _taker(made.workload, copier)) is not None:
        made.stage(Inline(stage=copier.name))
        copier = made.workload.stage(reader.name)
    if tiled.attach and _can_attach(made, copier, tiled.accumulator):
        at = At(stage=tiled.accumulator, loop=tiled.attach)
        try:
            trial = plan_from_nests(made.workload, [*made.nests.values(), Nest(stage=copier.name, at=at)])
        except SpecError:  # no step of that loop completes a part of what the copy-out gives: it comes afterwards
            return
        local = {axis.name: axis.extent for axis in trial.by_stage[copier.name].axes}
        made.nests[copier.name] = plain_nest(copier, hardware, at, local, skip_tails=False)


def _stage_windows(made: _Assembly, stage: Stage, choice: StageChoice) -> Stage:
    """Stages the buffers that are to be read by windows, and inlines what makes them; the stage as it is then."""
    assert choice.layout is not None
    assert choice.tile is not None
    reach = reach_of(stage, choice.layout, choice.tile)
    for buffer, phases in choice.layout.windows:
        staging = window_staging(made.workload.buffers[buffer], made.workload.stage(stage.name), phases, reach)
        if staging is None:
            continue
        made.stage(staging)
        producer = made.workload.writer.get(buffer)
        if choice.inline_producers and producer is not None and _can_inline(made.workload, producer):
            made.stage(Inline(stage=producer.name))
    return made.workload.stage(stage.name)


def _inline_producers(made: _Assembly, stage: Stage, choice: StageChoice) -> tuple[Stage, StageChoice]:
    """Inlines maps such as padding into the staged reads of a reduction."""
    assert choice.layout is not None
    staged = []
    for buffer in choice.layout.staged:
        producer = made.workload.writer.get(buffer)
        if producer is not None and _can_inline(made.workload, producer):
            before = set(stage.reads)
            made.stage(Inline(stage=producer.name))
            stage = made.workload.stage(stage.name)
            staged += [name for name in stage.reads if name not in before]
        else:
            staged.append(buffer)
    return stage, attrs.evolve(choice, layout=attrs.evolve(choice.layout, staged=tuple(staged)))


def _can_inline(workload: Workload, producer: Stage) -> bool:
    """True for a map that nothing but one stage reads."""
    return is_map(producer) and sole_reader(workload, producer) is not None


def _taker(workload: Workload, copier: Stage) -> Stage | None:
    """The one reader of a copy that does as well without it: elementwise, or itself a copy."""
    reader = sole_reader(workload, copier)
    if not is_map(copier) or reader is None or not is_map(reader):
        return None
    return reader if isinstance(reader.body[0], Load) or reads_elementwise(reader, copier) else None


def _can_attach(made: _Assembly, copier: Stage, accumulator: str) -> bool:
    """True where all that the copy-out reads, the accumulator apart, is an input."""
    writers = [made.workload.writer[buffer].name for buffer in copier.reads if buffer in made.workload.writer]
    return all(writer == accumulator for writer in writers)
