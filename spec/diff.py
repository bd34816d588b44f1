"""What two spec files say differently: by meaning, so names, and what can be written in two ways, do not count.

Each spec becomes a list of statements. A statement has a key, made of tokens instead of names, a value in tokens too,
and both in words: two specs differ where a key has two values. So one comparison does for tasks, stagings and nests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .canonical import canonical_names, identity
from .check import check_schedule
from .diff_tokens import Tokens
from .expr_text import text_from_expr
from .rename import schedule_digest
from .schedule import Accumulate, Inline, Pack, Partial, Reindex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .algorithm import Algorithm
    from .nest import BoundLoop, StageNest
    from .schedule import Nest, Split, Staging
    from .spec_file import SpecFile
    from .task import Task
    from .workload import Reducer, Stage

YES: Final = "yes"
"""What is said of a thing that is there."""

Key: TypeAlias = tuple[str, ...]
Statements: TypeAlias = "dict[Key, Statement]"


@attrs.frozen
class Statement:
    """Something that a spec says: where, in words; its value in tokens; and its value in words.

    A key of two parts, as ``("nest", "s0")``, says that there is such a thing; longer keys say what is true of it.
    Where `place` is empty, another statement says the same to people; what is not worth saying `alone` counts only
    where both sides say something. Of an order, a tuple, only what both sides have is compared: that the other things
    are there is said elsewhere.
    """

    place: str
    value: str | tuple[str, ...]
    text: str
    alone: bool = True


@attrs.frozen(kw_only=True)
class Change:
    """A place where two specs differ, and what each says there in words; None where it says nothing."""

    place: str
    before: str | None
    after: str | None


@attrs.frozen(kw_only=True)
class Comparison:
    """All changes from one spec to another; there are none where the two mean the same."""

    task: tuple[Change, ...]
    schedule: tuple[Change, ...]

    @property
    def is_same(self) -> bool:
        """True where both ask for the same and compute it in the same way."""
        return not self.task and not self.schedule


def compare_specs(before: SpecFile, after: SpecFile) -> Comparison:
    """The changes of meaning from one well-formed spec to another; claims and the operator's name do not count."""
    return Comparison(task=_task_changes(before.task, after.task), schedule=_schedule_changes(before, after))


def _changes(before: Statements, after: Statements) -> tuple[Change, ...]:
    """Every key with two values; what is said of a thing that only one side has is left out."""
    found: list[Change] = []
    for key in (*before, *(key for key in after if key not in before)):
        old, new = before.get(key), after.get(key)
        parent = key[:2]
        if parent != key and (parent in before) != (parent in after):
            continue
        one = old or after[key]
        differ = _differ(old.value, new.value) if old and new else one.alone
        if differ and one.place:
            texts = (None if side is None else side.text for side in (old, new))
            found.append(Change(place=one.place, before=next(texts), after=next(texts)))
    return tuple(found)


def _differ(old: str | tuple[str, ...], new: str | tuple[str, ...]) -> bool:
    if isinstance(old, tuple) and isinstance(new, tuple):
        return [token for token in old if token in new] != [token for token in new if token in old]
    return old != new


# --- tasks ------------------------------------------------------------------------------------------------------------


def _task_changes(before: Task, after: Task) -> tuple[Change, ...]:
    changes = _changes(_request(before), _request(after))
    if before.identity == after.identity:
        return changes
    found = _changes(_computation(before), _computation(after))
    return changes + (found or (Change(place="workload", before=before.identity[:12], after=after.identity[:12]),))


def _request(task: Task) -> Statements:
    """What is asked for beside the computation."""
    names = task.names.buffers
    said: Statements = {
        ("target",): Statement("target", task.target.kind, task.target.kind),
        ("threads",): Statement("threads", str(task.threads), str(task.threads)),
    }
    for option in task.target.options:
        said["target option", option.name] = Statement(f"target {option.name}", repr(option.value), str(option.value))
    for name in task.constants:
        said["constant", names[name]] = Statement(f"constant {name}", "", YES)
    for known in task.ranges:
        values = f"{known.low}..{known.high}"
        said["range", names[known.buffer]] = Statement(f"values of {known.buffer}", values, values)
    return said


def _computation(task: Task) -> Statements:
    workload, form = task.workload, task.canonical_workload
    said: Statements = {("index",): Statement("index dtype", workload.index_dtype, workload.index_dtype)}
    for number, name in enumerate(workload.params):
        buffer = workload.buffers[name]
        role = "output" if name in workload.writer else "input"
        shape = f"{role} {buffer.dtype}[{', '.join(map(str, buffer.shape))}]"
        said["parameter", str(number)] = Statement(f"parameter {name}", shape, shape)
    own = {task.names.stages[stage.name]: stage for stage in workload.stages if stage.name in task.names.stages}
    for stage in form.stages:
        said |= _stage(own[stage.name], stage)
    return said


def _stage(stage: Stage, form: Stage) -> Statements:
    """What a stage computes: `form` is the stage in canonical names."""
    place, key = f"stage {stage.name}", ("stage", form.name)
    said: Statements = {key: Statement(place, "", YES)}
    for word, axes in (("axes", stage.axes), ("reduce", stage.reduce)):
        extents = ", ".join(str(axis.extent) for axis in axes)
        said[(*key, word)] = Statement(
            f"{place}, {word}", extents, ", ".join(f"{a.name}: {a.extent}" for a in axes) or "none"
        )
    value, text = ("; ".join(map(text_from_expr, s.body)) for s in (form, stage))
    said[(*key, "body")] = Statement(f"{place}, body", value, text)
    reducer = _reducer_text(stage.reducer)
    said[(*key, "reducer")] = Statement(f"{place}, reducer", reducer, reducer)
    dtypes = ", ".join(output.dtype for output in stage.outputs)
    said[(*key, "dtype")] = Statement(f"{place}, dtype", dtypes, dtypes)
    return said


def _reducer_text(reducer: Reducer | None) -> str:
    if reducer is None:
        return "none"
    return f"{reducer.op} from {', '.join(map(text_from_expr, reducer.init))}"


# --- schedules --------------------------------------------------------------------------------------------------------


def _schedule_changes(before: SpecFile, after: SpecFile) -> tuple[Change, ...]:
    if len({(spec.task.identity, schedule_digest(spec.schedule, spec.task.names)) for spec in (before, after)}) == 1:
        return ()
    if found := _algorithm_changes(before.schedule.algorithm, after.schedule.algorithm):
        return found
    tokens = _tokens(before), _tokens(after)
    changes = _changes(_schedule(before, tokens[0]), _schedule(after, tokens[1]))
    orders = [list(side.stagings) for side in tokens]
    if sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]:
        listed = (", then ".join(words(staging) for staging in side.stagings.values()) for side in tokens)
        changes += (Change(place="order of stagings", before=next(listed), after=next(listed)),)
    return changes


def _algorithm_changes(before: Algorithm | None, after: Algorithm | None) -> tuple[Change, ...]:
    """The change from one algorithm to another: what is said of stages of different workloads is not compared."""
    one, other = (side and (identity(side.workload), side.accuracy) for side in (before, after))
    if one == other:
        return ()
    texts = ("the task's own" if side is None else f"{side.name}, {side.accuracy}" for side in (before, after))
    return (Change(place="algorithm", before=next(texts), after=next(texts)),)


def _tokens(spec: SpecFile) -> Tokens:
    algorithm = spec.schedule.algorithm
    return Tokens(spec.task.names if algorithm is None else canonical_names(algorithm.workload))


def _schedule(spec: SpecFile, tokens: Tokens) -> Statements:
    said: Statements = {}
    for staging in spec.schedule.stagings:
        said |= _staging(staging, tokens)
    plan = check_schedule(spec.schedule, spec.task)
    for name in spec.schedule.once:
        said["once", tokens.stages[name]] = Statement(f"{name}, computed once", "", YES)
    for nest in plan.nests:
        said |= _nest(nest, tokens)
        if nest.at is not None:
            place = Statement(
                f"nest of {nest.stage.name}, at",
                tokens.place(nest.at, plan.by_stage[nest.at.stage]),
                f"loop {nest.at.loop} of {nest.at.stage}",
            )
            said["nest", tokens.stages[nest.stage.name], "at"] = place
    return said


def words(staging: Staging) -> str:
    """A staging in a few words."""
    match staging:
        case Inline(stage=stage):
            return f"inline {stage}"
        case Accumulate(stage=stage, as_=new):
            return f"accumulate {stage} as {new}"
        case Partial(stage=stage, as_=new):
            return f"partial results of {stage} as {new}"
        case Reindex(stage=stage, reads=reads, as_=new, load=load):
            return f"reindex {reads if load is None else text_from_expr(load)} for {stage} as {new}"
        case Pack(stage=stage, reads=reads, as_=new):
            return f"pack {reads} for {stage} as {new}"


def _staging(staging: Staging, tokens: Tokens) -> Statements:
    place = words(staging)
    token, axes = tokens.apply(staging)
    key = ("staging", token)
    said: Statements = {key: Statement(place, "", YES)}
    if isinstance(staging, Inline):
        return said
    if isinstance(staging, Accumulate):
        for fuse in staging.fuses:
            parts = ", ".join(fuse.fuse)
            said[(*key, "fuse", axes[fuse.as_])] = Statement(f"{place}, {parts} as one axis", "", YES)
    said |= {(*key, *rest): statement for rest, statement in _splits(place, staging.splits, axes)}
    listed = staging.keep if isinstance(staging, Partial) else staging.order
    word = "keep" if isinstance(staging, Partial) else "order"
    said[(*key, word)] = Statement(f"{place}, {word}", " ".join(axes[name] for name in listed), ", ".join(listed))
    return said


def _splits(place: str, splits: Sequence[Split], axes: Mapping[str, str]) -> Iterator[tuple[Key, Statement]]:
    tails = {"none": "", "pad": ", padded", "predicate": ", the rest skipped"}
    for split in splits:
        if len(split.into) == 1:
            continue  # another name, no other loops
        text = f"{' x '.join(map(str, split.factors))}{tails[split.tail]}"
        yield ("split", axes[split.axis]), Statement(f"{place}, split of {split.axis}", text, text)


def _nest(nest: StageNest, tokens: Tokens) -> Statements:
    place = f"nest of {nest.stage.name}"
    key = ("nest", tokens.stages[nest.stage.name])
    said: Statements = {key: Statement("", "", "")}
    axes, loops = tokens.axes[nest.stage.name], tokens.loops(nest)
    said |= {(*key, *rest): statement for rest, statement in _splits(place, nest.nest.splits, axes)}
    order = tuple(loops[loop.name] for loop in nest.loops if loop.extent > 1)
    said[(*key, "order")] = Statement(f"{place}, order", order, ", ".join(loop.name for loop in nest.loops))
    for bound in nest.bound:
        token, text = _bound(bound, loops)
        plain = bound.to == "serial" and len(bound.parts) == 1
        said[(*key, "loop", token)] = Statement(f"{place}, loop {text}", bound.to, bound.to, alone=not plain)
    if nest.nest.start is not None:
        inside = nest.bound[nest.bound_position(nest.nest.start) :]
        # Of loops of one step the next inner one is meant, wherever they stand.
        token, text = next((_bound(bound, loops) for bound in inside if bound.extent > 1), ("", "the last loop"))
        said[(*key, "start")] = Statement(f"{place}, start", token, f"before {text}")
    if nest.nest.skip is not None:
        around = nest.bound[: nest.bound_position(nest.nest.skip) + 1]
        steps = (_bound(bound, loops) for bound in reversed(around) if bound.extent > 1)
        token, text = next(steps, ("", "the first loop"))
        said[(*key, "skip")] = Statement(f"{place}, skip", token, f"steps of {text}")
    if nest.nest.tensorize is not None:
        done, name = nest.tensorized, nest.nest.tensorize.intrinsic
        value = f"{name} {' '.join(loops[loop.name] for loop in done)}"
        text = f"{name} ({', '.join(loop.name for loop in done)})"
        said[(*key, "tensorize")] = Statement(f"{place}, tensorize", value, text)
    if nest.nest.unroll_limit is not None:
        limit = str(nest.nest.unroll_limit)
        said[(*key, "unroll_limit")] = Statement(f"{place}, unroll_limit", limit, limit)
    said |= {(*key, *rest): statement for rest, statement in _memory(place, nest.nest, axes)}
    return said


def _memory(place: str, nest: Nest, axes: Mapping[str, str]) -> Iterator[tuple[Key, Statement]]:
    """Where the stage's buffer is, how it is padded, and how early it is filled."""
    if nest.scope != "global":
        yield ("scope",), Statement(f"{place}, scope", nest.scope, nest.scope)
    if (align := nest.align) is not None:
        text = f"{align.axis}: {align.offset} more than a multiple of {align.factor}"
        yield ("align",), Statement(f"{place}, align", f"{axes[align.axis]} {align.factor} {align.offset}", text)
    if nest.ahead:
        yield ("ahead",), Statement(f"{place}, ahead", str(nest.ahead), f"{nest.ahead} step{'s' * (nest.ahead != 1)}")


def _bound(bound: BoundLoop, loops: Mapping[str, str]) -> tuple[str, str]:
    """A loop as it runs: its token, and its text with the loops that are fused in it."""
    parts = [part.name for part in bound.parts]
    fused = f" ({', '.join(parts)})" if parts != [bound.name] else ""
    return " ".join(loops[name] for name in parts), f"{bound.name}{fused}"
