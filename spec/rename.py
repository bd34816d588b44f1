"""Schedules under other names: two equal workloads share one identity, so a stored schedule must fit both.

A schedule names things of its workload (stages, buffers, axes) and things that it makes itself (stages by stagings,
axes and loops by splits and fuses). The former are replaced by the map of `canonical_names`. The latter follow what
they are named after: ``jo``, made of axis ``j``, is ``a1o`` where ``j`` is ``a1``; ``C.acc``, made of ``C``, is
``p2.acc``. Any other name stays. A name that is taken gets underscores at its end, which renaming drops again where it
can; so the canonical schedule does not depend on the names it came from.

What has different names at one place has different names there afterwards, so a schedule that fits a workload fits it
renamed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import attrs

from .canonical import Names, canonical_names, identity, renamed, stage_order
from .convert import unstructure
from .errors import SpecError
from .expr import rename
from .expr_text import MAX_NAME, RESERVED
from .json_text import compact_json
from .schedule import (
    Accumulate,
    Align,
    At,
    Bind,
    BindFused,
    BindLoop,
    Fuse,
    Inline,
    Nest,
    Pack,
    Partial,
    Reindex,
    Schedule,
    Split,
    Staging,
    Tensorize,
)
from .workload import output_names

if TYPE_CHECKING:
    from .algorithm import Algorithm
    from .workload import Workload

Stems: TypeAlias = tuple[tuple[str, str], ...]
"""What a made name may begin with, and what that is called now; longest first."""

Naming: TypeAlias = Callable[[str, Stems, Collection[str]], str]
"""The new name of something made: from its old name, what it may be named after, and the names that are taken."""

DIGEST_VERSION: Final = 1
_LEADING: Final = re.compile(r"_+(?=[A-Za-z])")

Record = TypeVar("Record")
Read = TypeVar("Read", Reindex, Pack)


def schedule_to_canonical(schedule: Schedule, workload: Workload | Names) -> Schedule:
    """The schedule for the canonical form of its workload; `workload` may be given by its `canonical_names`."""
    return _renamed(schedule, _names_of(workload), following)


def schedule_from_canonical(schedule: Schedule, workload: Workload | Names) -> Schedule:
    """A schedule for the canonical form, renamed to fit `workload`, which may be given by its `canonical_names`."""
    names = _names_of(workload)
    return schedule if _is_canonical(names) else _renamed(schedule, names.inverted, following)


def schedule_digest(schedule: Schedule, workload: Workload | Names) -> str:
    """The sha256 of a schedule with every name replaced by a canonical or positional one, as 64 hexadecimal digits.

    Schedules of equal workloads that differ in nothing but names share it; an algorithm counts by its workload's
    identity. Fields that hold their default do not count, so a new field of the language leaves old digests as they
    are.
    """
    algorithm = schedule.algorithm
    names = _names_of(workload) if algorithm is None else canonical_names(algorithm.workload)
    positional = _renamed(_with(schedule, algorithm=None), names, numbering())
    text = f"schedule {DIGEST_VERSION} {compact_json(unstructure(positional))}"
    if algorithm is not None:
        text += f" algorithm {algorithm.accuracy} {identity(algorithm.workload)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _names_of(workload: Workload | Names) -> Names:
    return workload if isinstance(workload, Names) else canonical_names(workload)


def _is_canonical(names: Names) -> bool:
    maps = (names.buffers, names.stages, *names.axes.values())
    return all(old == new for mapping in maps for old, new in mapping.items())


# --- names of what a schedule makes -----------------------------------------------------------------------------------


def following(old: str, stems: Stems, taken: Collection[str]) -> str:
    """A name that follows the stem it begins with, or stays, and is not taken."""
    new = _followed(old, stems)
    while new in taken or new in RESERVED:
        new += "_"
    return new


@lru_cache(maxsize=4096)
def _followed(old: str, stems: Stems) -> str:
    """The same name, taken or not; remembered, because the names of a store's schedules are few."""
    bare = _bare(old) if old[-1] == "_" else old
    for stem, now in stems:
        if old.startswith(stem):
            # A name that is its stem and underscores keeps them: without, it would be the stem's.
            new = now + (bare[len(stem) :] or old[len(stem) :])
            break
    else:
        new = _LEADING.sub("", bare, count=1) if bare[0] == "_" else bare
        for _, now in stems:
            if new.startswith(now):  # told apart from a name that does follow, or the way back would rename it
                new = "_" + new
    return old if len(new) > MAX_NAME - 8 else new


def _bare(name: str) -> str:
    """`name` without the underscores at its end, unless nothing would be left of its last part."""
    bare = name.rstrip("_")
    return bare if bare and not bare.endswith(".") else name


def numbering() -> Naming:
    """Names by position in the walk, unlike any name of a file."""
    numbers = count()
    return lambda _, __, ___: f"${next(numbers)}"


# --- the walk ---------------------------------------------------------------------------------------------------------


def _renamed(schedule: Schedule, names: Names, naming: Naming) -> Schedule:
    try:
        if schedule.algorithm is not None:
            algorithm, names = _renamed_algorithm(schedule.algorithm, names.buffers, naming)
            schedule = _with(schedule, algorithm=algorithm)
        return _Renaming(names, naming).schedule(schedule)
    except KeyError as error:
        message = (
            f"the schedule names {error.args[0]!r}, which this workload does not have; check it against its workload"
        )
        raise SpecError(message, "schedule") from error


def fitted(algorithm: Algorithm, params: Sequence[str]) -> Algorithm:
    """The algorithm with its parameters called `params`, in their order; other buffers give way."""
    names = dict(zip(algorithm.workload.params, params, strict=True))
    return _renamed_algorithm(algorithm, names, following)[0]


def _renamed_algorithm(algorithm: Algorithm, params: Mapping[str, str], naming: Naming) -> tuple[Algorithm, Names]:
    """An algorithm with its parameters renamed by `params`, and the names that its workload had → those it has.

    Names of its own stay unless they are taken: they are made names, named after nothing.
    """
    workload = algorithm.workload
    buffers = {name: params[name] for name in workload.params}
    stages: dict[str, str] = {}
    axes: dict[str, Mapping[str, str]] = {}
    for stage in stage_order(workload):
        for name in (output.name for output in stage.outputs if output.name not in buffers):
            buffers[name] = naming(name, (), buffers.values())
        alone = len(stage.outputs) == 1
        taken = {*buffers.values(), *stages.values()}
        stages[stage.name] = buffers[stage.name] if alone else naming(stage.name, (), taken)
        scope: dict[str, str] = {}
        for name in stage.extents:
            scope[name] = naming(name, (), scope.values())
        axes[stage.name] = scope
    outputs = {stage.name: tuple(output.name for output in stage.outputs) for stage in workload.stages}
    names = Names(buffers=buffers, stages=stages, axes=axes, outputs=outputs)
    return attrs.evolve(algorithm, workload=renamed(workload, names)), names


_SLOTS: Final[dict[type, tuple[tuple[Callable[..., None], Callable[[object], object], str], ...]]] = {
    cls: tuple((getattr(cls, f.name).__set__, getattr(cls, f.name).__get__, f.name) for f in attrs.fields(cls))
    for cls in (
        Split,
        Fuse,
        Inline,
        Accumulate,
        Reindex,
        Pack,
        Partial,
        BindLoop,
        BindFused,
        At,
        Align,
        Tensorize,
        Nest,
        Schedule,
    )
}
"""Record → how each slot is set and read, and its name."""


def _with(record: Record, **changes: object) -> Record:
    """`record` with some fields changed, not validated again: `following` makes valid names of valid ones.

    A quarter of the time that the constructor takes; every lookup renames a schedule.
    """
    cls = type(record)
    new = object.__new__(cls)
    for put, get, name in _SLOTS[cls]:
        put(new, changes[name] if name in changes else get(record))
    return new


class _Renaming:
    """One walk over a schedule: the old → new names of stages, buffers, and for each stage of its axes and loops.

    The maps hold what exists at that point: an axis that is split or fused leaves its name to others, as in the checks.
    """

    def __init__(self, names: Names, naming: Naming) -> None:
        self.naming = naming
        self.stages = dict(names.stages)
        self.buffers = dict(names.buffers)
        self.axes: dict[str, Mapping[str, str]] = dict(names.axes)
        self.outputs = dict(names.outputs)

    def schedule(self, schedule: Schedule) -> Schedule:
        stagings = tuple([self.staging(staging) for staging in schedule.stagings])
        once = tuple([self.stages[name] for name in schedule.once])
        nests = [self.nest(nest) for nest in schedule.nests]
        # An `at` may name a loop of a later nest, so these come last.
        placed = tuple([self.placed(nest) for nest in nests])
        return _with(schedule, stagings=stagings, once=once, nests=placed)

    def cut(self, splits: tuple[Split, ...], scope: dict[str, str]) -> tuple[Split, ...]:
        """The splits renamed; in the scope, the axes they make take the place of those they cut."""
        axes = [scope.pop(split.axis) for split in splits]
        found = []
        for split, axis in zip(splits, axes, strict=True):
            stems = ((split.axis, axis),)
            into = []
            for name in split.into:
                new = scope[name] = self.naming(name, stems, scope.values())
                into.append(new)
            found.append(_with(split, axis=axis, into=tuple(into)))
        return tuple(found)

    # --- stagings -----------------------------------------------------------------------------------------------------

    def staging(self, staging: Staging) -> Staging:
        match staging:
            case Inline():
                for name in self.outputs.pop(staging.stage):
                    del self.buffers[name]
                return _with(staging, stage=self.stages.pop(staging.stage))
            case Accumulate():
                return self.accumulate(staging)
            case Partial():
                return self.partial(staging)
            case Reindex():
                axes = self.axes[staging.stage]
                load = None if staging.load is None else rename(staging.load, axes, self.buffers)
                return _with(self.staged(staging, dict(axes)), load=load)
            case Pack():
                scope: dict[str, str] = {}
                for name in staging.dims:
                    scope[name] = self.naming(name, (), scope.values())
                dims = tuple(scope.values())
                return _with(self.staged(staging, scope), dims=dims)

    def accumulate(self, staging: Accumulate) -> Accumulate:
        """The new stage has what fuses and splits make of the old one's axes; the old one keeps its spatial axes."""
        scope = dict(self.axes[staging.stage])
        fuses = []
        for fuse in staging.fuses:
            parts = tuple([scope.pop(name) for name in fuse.fuse])
            scope[fuse.as_] = as_ = self.naming(fuse.as_, (), scope.values())
            fuses.append(_with(fuse, fuse=parts, as_=as_))
        splits = self.cut(staging.splits, scope)
        order = tuple([scope[name] for name in staging.order])
        stage, as_ = self.made_of(staging, scope)
        spatial = _spatial(staging)
        old = self.axes[staging.stage]
        self.axes[staging.stage] = {name: new for name, new in old.items() if name in spatial}
        return _with(staging, stage=stage, as_=as_, fuses=tuple(fuses), splits=splits, order=order)

    def partial(self, staging: Partial) -> Partial:
        """The new stage has what splits make of the old one's axes; the old one reduces over those it keeps."""
        scope = dict(self.axes[staging.stage])
        splits = self.cut(staging.splits, scope)
        keep = tuple([scope[name] for name in staging.keep])
        stage, as_ = self.made_of(staging, scope)
        cut = {split.axis for split in staging.splits}
        left = {name: new for name, new in self.axes[staging.stage].items() if name not in cut}
        self.axes[staging.stage] = {**left, **dict(zip(staging.keep, keep, strict=True))}
        return _with(staging, stage=stage, as_=as_, splits=splits, keep=keep)

    def made_of(self, staging: Accumulate | Partial, scope: dict[str, str]) -> tuple[str, str]:
        """The names of a stage and of the one made of it, which has the axes in `scope`."""
        stage = self.stages[staging.stage]
        as_ = self.new_stage(staging.as_, ((staging.stage + ".", stage + "."),), len(self.outputs[staging.stage]))
        self.axes[staging.as_] = scope
        return stage, as_

    def staged(self, staging: Read, scope: dict[str, str]) -> Read:
        """A `Reindex` or `Pack`: the new stage has the axes of its `order`."""
        splits = self.cut(staging.splits, scope)
        order = tuple([scope[name] for name in staging.order])
        stage, reads = self.stages[staging.stage], self.buffers[staging.reads]
        stems = [(staging.stage + ".", stage + "."), (staging.reads + ".", reads + ".")]
        if len(staging.reads) > len(staging.stage):
            stems.reverse()
        as_ = self.new_stage(staging.as_, tuple(stems))
        self.axes[staging.as_] = {name: scope[name] for name in staging.order}
        return _with(staging, stage=stage, reads=reads, as_=as_, splits=splits, order=order)

    def new_stage(self, old: str, stems: Stems, count: int = 1) -> str:
        """The name of a new stage with so many outputs, whose buffers are named after it."""
        taken = {*self.stages.values(), *self.buffers.values()}
        if count > 1:
            taken |= {name.removesuffix(ending) for name in taken for ending in output_names("", count)}
        new = self.stages[old] = self.naming(old, stems, taken)
        self.outputs[old] = output_names(old, count)
        self.buffers.update(zip(self.outputs[old], output_names(new, count), strict=True))
        return new

    # --- nests --------------------------------------------------------------------------------------------------------

    def nest(self, nest: Nest) -> Nest:
        """The nest renamed but for its `at`; its loops become the axes of its stage."""
        scope = dict(self.axes[nest.stage])
        align = nest.align and _with(nest.align, axis=scope[nest.align.axis])
        splits = self.cut(nest.splits, scope) if nest.splits else ()
        order = tuple([scope[name] for name in nest.order])
        fused: dict[str, str] = {}
        binds: list[Bind] = []
        for bind in nest.bind:
            if isinstance(bind, BindLoop):
                binds.append(_with(bind, loop=scope[bind.loop]))
                continue
            parts = tuple([scope[name] for name in bind.fuse])
            taken = {*scope.values(), *fused.values()}.difference(parts)
            fused[bind.as_] = as_ = self.naming(bind.as_, (), taken)
            binds.append(_with(bind, fuse=parts, as_=as_))
        scope |= fused
        self.axes[nest.stage] = scope
        start, skip = (None if loop is None else scope[loop] for loop in (nest.start, nest.skip))
        tensorize = nest.tensorize and _with(nest.tensorize, loop=scope[nest.tensorize.loop])
        made = {"splits": splits, "order": order, "bind": tuple(binds), "start": start, "skip": skip}
        return _with(nest, stage=self.stages[nest.stage], align=align, tensorize=tensorize, **made)

    def placed(self, nest: Nest) -> Nest:
        """The nest with its `at` renamed."""
        at = nest.at
        if at is None:
            return nest
        return _with(nest, at=_with(at, stage=self.stages[at.stage], loop=self.axes[at.stage][at.loop]))


def _spatial(staging: Accumulate) -> set[str]:
    """The spatial axes of a stage: those that its accumulator's layout is made of."""
    names = set(staging.order)
    for split in staging.splits:
        if not names.isdisjoint(split.into):
            names.add(split.axis)
    for fuse in reversed(staging.fuses):
        if fuse.as_ in names:
            names.update(fuse.fuse)
    return names
