"""Hypothesis strategies of the records of schedules, tasks and claims; those of workloads are in the package.

`schedules` makes any valid record. `fitting_schedules` makes schedules whose every name means something in a workload,
which is what renaming needs; whether they are legal is not asked.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import attrs
from hypothesis import strategies as st

from autosched.spec.algorithm import ALGORITHM_ACCURACY, Algorithm
from autosched.spec.canonical import Names, canonical, canonical_names, renamed
from autosched.spec.claim import (
    ACCURACY_CLASSES,
    FAILURE_KINDS,
    Claim,
    Effort,
    Failure,
    Machine,
    Protocol,
    Tool,
)  # fmt: skip
from autosched.spec.expr import Axis, Load
from autosched.spec.expr_text import NAME, RESERVED
from autosched.spec.schedule import (
    BINDINGS,
    SCOPES,
    TAILS,
    Accumulate,
    Align,
    At,
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
)  # fmt: skip
from autosched.spec.task import Argument, OperatorCall, Target, TargetOption, Task, ValueRange
from autosched.spec.testing_workloads import workloads
from autosched.spec.workload import output_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from autosched.spec.workload import Workload

words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
names = (
    st.lists(words, min_size=1, max_size=2).map(".".join).filter(lambda name: name not in RESERVED and NAME.match(name))
)
texts = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=12)
dates = st.just("") | st.datetimes().map(lambda when: when.isoformat(timespec="microseconds") + "Z")
positive = st.integers(1, 2**31 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(min_value=0, max_value=1e9, exclude_min=True, exclude_max=True)


def tuples_of(item: st.SearchStrategy, max_size: int = 3, *, min_size: int = 0) -> st.SearchStrategy:
    return st.lists(item, min_size=min_size, max_size=max_size).map(tuple)


name_lists = st.lists(names, max_size=4, unique=True).map(tuple)

# --- records of schedules ---------------------------------------------------------------------------------------------


@st.composite
def splits(draw: st.DrawFn) -> Split:
    into = draw(st.lists(names, min_size=1, max_size=3, unique=True).map(tuple))
    factors = tuple(draw(positive) for _ in into)
    return Split(axis=draw(names), into=into, factors=factors, tail=draw(st.sampled_from(TAILS)))


fuses = st.builds(Fuse, fuse=name_lists, as_=names)
stagings = st.one_of(
    st.builds(Inline, stage=names),
    st.builds(Accumulate, stage=names, as_=names, fuses=tuples_of(fuses), splits=tuples_of(splits()), order=name_lists),
    st.builds(
        Reindex,
        stage=names,
        reads=names,
        as_=names,
        splits=tuples_of(splits()),
        order=name_lists,
        load=st.none() | st.builds(lambda name, axis: Load(name, (Axis(axis),)), names, names),
    ),
    st.builds(Pack, stage=names, reads=names, as_=names, dims=name_lists, splits=tuples_of(splits()), order=name_lists),
    st.builds(Partial, stage=names, as_=names, splits=tuples_of(splits()), keep=name_lists),
)
binds = st.one_of(
    st.builds(BindLoop, loop=names, to=st.sampled_from(BINDINGS)),
    st.builds(BindFused, fuse=name_lists, as_=names, to=st.sampled_from(BINDINGS)),
)
nests = st.builds(
    Nest,
    stage=names,
    splits=tuples_of(splits()),
    order=name_lists,
    bind=tuples_of(binds),
    start=st.none() | names,
    at=st.none() | st.builds(At, stage=names, loop=names),
    unroll_limit=st.none() | st.integers(0, 512),
    skip=st.none() | names,
    tensorize=st.none() | st.builds(Tensorize, loop=names, intrinsic=names),
    scope=st.sampled_from(SCOPES),
    align=st.none() | st.builds(Align, axis=names, factor=st.integers(8, 64), offset=st.integers(0, 7)),
    ahead=st.integers(0, 2),
)
algorithms = st.builds(
    Algorithm, name=texts, accuracy=st.sampled_from(ALGORITHM_ACCURACY), workload=st.deferred(workloads)
)
schedules = st.builds(Schedule, algorithm=st.none() | algorithms, stagings=tuples_of(stagings), nests=tuples_of(nests))

# --- records of tasks and claims --------------------------------------------------------------------------------------

arguments = st.one_of(st.integers(-(2**62), 2**62), texts, st.booleans(), finite, tuples_of(st.integers(-9, 9)))
calls = st.builds(
    lambda name, args: OperatorCall(name=name, args=tuple(Argument(name=n, value=v) for n, v in args.items())),
    names,
    st.dictionaries(texts, arguments, max_size=3),
)
targets = st.builds(
    lambda kind, options: Target(
        kind=kind, options=tuple(TargetOption(name=n, value=options[n]) for n in sorted(options))
    ),
    st.sampled_from(["llvm", "cuda"]),
    st.dictionaries(
        texts.filter(lambda n: n != "kind"), st.one_of(texts, st.integers(0, 99), st.booleans()), max_size=3
    ),
)


def any_tasks(workloads: st.SearchStrategy[Workload]) -> st.SearchStrategy[Task]:
    """Tasks whose every field varies; what they say of inputs need not be true."""
    return st.builds(
        Task,
        workload=workloads,
        target=targets,
        threads=st.integers(1, 64),
        constants=name_lists,
        ranges=tuples_of(st.builds(ValueRange, buffer=names, low=st.integers(-9, 9), high=st.integers(-9, 9))),
        op=st.none() | calls,
    )


sizes = st.integers(0, 2**40)
machines = st.builds(
    Machine, arch=texts, vendor=texts, family=sizes, model=sizes, isa=tuples_of(texts), cores=sizes,
    l1d_bytes=sizes, l2_bytes=sizes, l3_bytes=sizes,
)  # fmt: skip
protocols = st.builds(
    Protocol, version=sizes, warmup=sizes, number=sizes, repeats=sizes, min_sample_s=seconds, flush_cache=st.booleans(),
    pinned=st.booleans(), threads=sizes, statistic=texts,
)  # fmt: skip
failures = st.builds(Failure, kind=st.sampled_from(FAILURE_KINDS), detail=texts)
tools = st.builds(Tool, name=texts, version=texts)
digests = st.integers(0, 16**64 - 1).map(lambda number: f"{number:064x}")
efforts = st.builds(
    Effort, strategy=texts, trials=sizes, seconds=seconds | sizes, seed=sizes, exhausted=st.booleans(),
    started_from=tuples_of(digests, 2),
)  # fmt: skip
claims = st.builds(
    Claim, machine=machines, protocol=protocols, samples_s=tuples_of(seconds), baseline_s=tuples_of(seconds),
    verified=st.booleans(), accuracy=st.sampled_from(ACCURACY_CLASSES), tools=tuples_of(tools),
    effort=st.none() | efforts, date=dates,
)  # fmt: skip

# --- schedules whose names fit a workload -----------------------------------------------------------------------------

plain_words = st.text(string.ascii_letters + string.digits, min_size=1, max_size=2)
odd_words = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,3}", fullmatch=True)


@attrs.define
class _Fitting:
    """What a schedule being drawn may name: buffers, the axes of each stage, and whether it keeps to conventions.

    By convention what is made of ``j`` or ``C`` is named after it or by a word of its own, without loose underscores.
    """

    draw: st.DrawFn
    conventional: bool
    buffers: set[str]
    axes: dict[str, list[str]]
    reads: dict[str, list[str]]
    outputs: dict[str, tuple[str, ...]]

    def some(self, items: Sequence[str], min_size: int = 0) -> tuple[str, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(items), unique=True, min_size=min_size))) if items else ()

    def new(self, stems: Sequence[str], is_taken: Callable[[str], bool]) -> str:
        """A name for something made."""
        word = self.draw(plain_words if self.conventional else odd_words)
        name = self.draw(st.sampled_from([*stems, ""])) + word
        if not self.conventional:
            name += self.draw(st.sampled_from(["", "", "_", "__"]))
        if name[0].isdigit():
            name = "d" + name
        while is_taken(name) or name in RESERVED or not NAME.match(name):
            name += "z"
        return name

    def splits_of(self, axes: list[str]) -> tuple[Split, ...]:
        """Splits of some axes, which are replaced by their parts in `axes`."""
        cut = self.some(axes)
        axes[:] = [axis for axis in axes if axis not in cut]
        made = []
        for axis in cut:
            into = []
            for _ in range(self.draw(st.integers(1, 2))):
                into.append(self.new([axis], lambda name: name in axes))
                axes.append(into[-1])
            made.append(Split(axis=axis, into=tuple(into), factors=(2,) * len(into)))
        return tuple(made)

    def staging(self) -> Staging:
        stage = self.draw(st.sampled_from(sorted(self.reads)))
        kinds = [self.accumulate, self.partial, *([self.reindex, self.pack] if self.reads[stage] else [])]
        return self.draw(st.sampled_from(kinds))(stage)

    def accumulate(self, stage: str) -> Accumulate:
        reduce = self.some(self.axes[stage])
        spatial = [axis for axis in self.axes[stage] if axis not in reduce]
        self.axes[stage] = list(spatial)
        fused = self.some(spatial)[:2]
        joined: tuple[Fuse, ...] = ()
        if fused:
            spatial = [axis for axis in spatial if axis not in fused]
            spatial.append(self.new([], lambda name: name in spatial or name in reduce))
            joined = (Fuse(fuse=fused, as_=spatial[-1]),)
        axes = [*spatial, *reduce]
        made = self.splits_of(axes)
        parts = {name for split in made if split.axis in reduce for name in split.into}
        order = tuple(axis for axis in axes if axis not in reduce and axis not in parts)
        as_ = self.stage([stage], axes, len(self.outputs[stage]))
        self.reads[as_], self.reads[stage] = self.reads[stage], [*self.outputs[as_]]
        return Accumulate(stage=stage, as_=as_, fuses=joined, splits=made, order=order)

    def partial(self, stage: str) -> Partial:
        axes = list(self.axes[stage])
        made = self.splits_of(axes)
        keep = self.some(axes)
        cut = {split.axis for split in made}
        self.axes[stage] = [axis for axis in self.axes[stage] if axis not in cut and axis not in keep] + list(keep)
        as_ = self.stage([stage], axes, len(self.outputs[stage]))
        return Partial(stage=stage, as_=as_, splits=made, keep=keep)

    def reindex(self, stage: str) -> Reindex:
        reads = self.draw(st.sampled_from(self.reads[stage]))
        axes = list(self.axes[stage])
        load = Load(reads, tuple(Axis(name) for name in self.some(axes))) if self.draw(st.booleans()) else None
        made = self.splits_of(axes)
        order = self.some(axes)
        as_ = self.stage([stage, reads], list(order))
        return Reindex(stage=stage, reads=reads, as_=as_, splits=made, order=order, load=load)

    def pack(self, stage: str) -> Pack:
        reads = self.draw(st.sampled_from(self.reads[stage]))
        axes: list[str] = []
        for _ in range(2):
            axes.append(self.new([], lambda name: name in axes))
        dims = tuple(axes)
        made = self.splits_of(axes)
        order = tuple(self.draw(st.permutations(axes)))
        as_ = self.stage([stage, reads], list(order))
        return Pack(stage=stage, reads=reads, as_=as_, dims=dims, splits=made, order=order)

    def stage(self, stems: Sequence[str], axes: list[str], count: int = 1) -> str:
        name = self.new(
            [f"{stem}.d" for stem in stems], lambda name: bool({name, *output_names(name, count)} & self.buffers)
        )
        self.outputs[name] = output_names(name, count)
        self.buffers |= {name, *self.outputs[name]}
        self.axes[name] = axes
        self.reads[name] = []
        return name

    def nest(self, stage: str) -> Nest:
        axes = list(self.axes[stage])
        align = Align(axis=axes[0], factor=8) if axes and self.draw(st.booleans()) else None
        made = self.splits_of(axes)
        order = tuple(self.draw(st.permutations(axes)))
        binds: list[BindLoop | BindFused] = []
        fused = self.some(order)[:2]
        final = list(order)
        if len(fused) == 2:
            others = [name for name in order if name not in fused]
            as_ = self.new([], lambda name: name in others)
            binds.append(BindFused(fuse=fused, as_=as_, to="parallel"))
            final = [*others, as_]
        binds += [BindLoop(loop=name, to="unroll") for name in self.some([name for name in order if name not in fused])]
        self.axes[stage] = final
        start = self.draw(st.sampled_from([None, *final]))
        last = self.draw(st.sampled_from([None, *final]))
        done = None if last is None else Tensorize(loop=last, intrinsic="vnni.dot_16x4")
        made = {"splits": made, "order": order, "bind": tuple(binds), "start": start}
        return Nest(stage=stage, tensorize=done, align=align, **made)

    def placed(self, nest: Nest) -> Nest:
        stage = self.draw(st.sampled_from([None, *sorted(name for name in self.axes if self.axes[name])]))
        if stage is None:
            return nest
        return attrs.evolve(nest, at=At(stage=stage, loop=self.draw(st.sampled_from(self.axes[stage]))))


@st.composite
def fitting_schedules(draw: st.DrawFn, workload: Workload, *, conventional: bool) -> Schedule:
    """A schedule that names only what `workload` has, or what it made itself."""
    fitting = _Fitting(
        draw,
        conventional,
        {*workload.buffers, *(stage.name for stage in workload.stages)},
        {stage.name: list(stage.extents) for stage in workload.stages},
        {stage.name: list(stage.reads) for stage in workload.stages},
        {stage.name: tuple(output.name for output in stage.outputs) for stage in workload.stages},
    )
    made = tuple(fitting.staging() for _ in range(draw(st.integers(0, 3))))
    drawn = [fitting.nest(stage) for stage in fitting.some(sorted(fitting.axes))]
    return Schedule(stagings=made, nests=tuple(fitting.placed(nest) for nest in drawn))


@st.composite
def other_names(draw: st.DrawFn, workload: Workload) -> Workload:
    """A workload equal to `workload`, under other names."""
    form = canonical(workload)
    word = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,2}", fullmatch=True).filter(
        lambda name: name not in RESERVED and NAME.match(name)
    )

    def drawn(names: list[str]) -> dict[str, str]:
        new = draw(st.lists(word, min_size=len(names), max_size=len(names), unique=True))
        return dict(zip(names, new, strict=True))

    stages = [stage.name for stage in form.stages]
    both = drawn(sorted({*form.buffers, *stages}))
    return renamed(
        form,
        Names(
            buffers={name: both[name] for name in form.buffers},
            stages={name: both[name] for name in stages},
            axes={stage.name: drawn(list(stage.extents)) for stage in form.stages},
            outputs=canonical_names(form).outputs,
        ),
    )
