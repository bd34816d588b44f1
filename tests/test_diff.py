"""Comparing spec files: what means the same has no differences, and every difference is said once, in words."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from autosched.cli import main
from autosched.spec.canonical import canonical
from autosched.spec.check import check_schedule
from autosched.spec.diff import Comparison, _schedule, _tokens, compare_specs
from autosched.spec.errors import SpecError
from autosched.spec.rename import _renamed
from autosched.spec.schedule import (
    Accumulate,
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
)
from autosched.spec.show import text_from_plan
from autosched.spec.spec_file import SpecFile, load_spec, save_spec
from autosched.spec.task import Target, TargetOption, Task, ValueRange
from autosched.spec.testing import schedules, workloads
from sample_workloads import gemm, softmax

if TYPE_CHECKING:
    from autosched.spec.nest import Plan

GEMM = Path(__file__).parent / "data" / "specs" / "gemm_packed.json"
SPEC = load_spec(GEMM)


def spec(schedule: Schedule, workload: Any = None, **task: Any) -> SpecFile:
    return SpecFile(task=Task(workload=workload or gemm(16, 32, 24), **{"threads": 2, **task}), schedule=schedule)


def changes(before: Schedule, after: Schedule, workload: Any = None) -> list[tuple[str, str | None, str | None]]:
    """What differs between two schedules of one workload."""
    found = compare_specs(spec(before, workload), spec(after, workload))
    assert found.task == ()
    return [(change.place, change.before, change.after) for change in found.schedule]


fresh = (f"x{number}" for number in itertools.count())
"""Names like no other."""


# --- what means the same ----------------------------------------------------------------------------------------------


def test_a_file_is_the_same_as_itself() -> None:
    assert compare_specs(SPEC, SPEC) == Comparison(task=(), schedule=())
    assert compare_specs(SPEC, SPEC).is_same


@given(workload=workloads(), data=st.data())
def test_names_do_not_count(workload: Any, data: st.DataObject) -> None:
    schedule = data.draw(schedules(workload))
    task = Task(workload=workload, threads=2)
    canonical_task = attrs.evolve(task, workload=canonical(workload))
    renamed = _renamed(schedule, task.names, lambda *_: next(fresh))
    sides = SpecFile(task=task, schedule=schedule), SpecFile(task=canonical_task, schedule=renamed)
    assert compare_specs(*sides).is_same
    # The same without the digests, which would say so at once.
    left, right = (_schedule(side, _tokens(side)) for side in sides)
    assert {key: said.value for key, said in left.items()} == {key: said.value for key, said in right.items()}


def _shown(plan: Plan) -> list[str]:
    """The lines of a plan but for loops of one step: where those stand changes nothing."""
    return [line.strip() for line in text_from_plan(plan).splitlines() if not re.search(r" in 1:", line)]


@given(workload=workloads(), data=st.data())
def test_what_is_shown_differently_is_a_difference(workload: Any, data: st.DataObject) -> None:
    before = data.draw(schedules(workload))
    after = data.draw(shortened(before))
    try:
        plans = [check_schedule(schedule, workload) for schedule in (before, after)]
    except SpecError:
        return
    found = changes(before, after, workload)
    if _shown(plans[0]) != _shown(plans[1]):
        assert found
    assert sorted((place, a, b) for place, b, a in changes(after, before, workload)) == sorted(found)


@st.composite
def shortened(draw: st.DrawFn, schedule: Schedule) -> Schedule:
    """A schedule with one thing taken away."""
    if schedule.stagings and draw(st.booleans()):
        return attrs.evolve(schedule, stagings=schedule.stagings[:-1])
    if not schedule.nests:
        return schedule
    number = draw(st.integers(0, len(schedule.nests) - 1))
    nest = schedule.nests[number]
    word = draw(st.sampled_from(["bind", "start", "skip", "at", "unroll_limit", "order", "splits", "nest"]))
    empty: Any = () if word in ("bind", "order", "splits") else None
    left = () if word == "nest" else (attrs.evolve(nest, **{word: empty}),)
    return attrs.evolve(schedule, nests=(*schedule.nests[:number], *left, *schedule.nests[number + 1 :]))


def test_what_can_be_said_in_two_ways_is_the_same() -> None:
    assert changes(Schedule(), Schedule(nests=(Nest(stage="C"),))) == []
    assert changes(Schedule(), Schedule(nests=(Nest(stage="C", order=("i", "j", "k")),))) == []
    assert changes(Schedule(), Schedule(nests=(Nest(stage="C", bind=(BindLoop(loop="i", to="serial"),)),))) == []
    alone = Split(axis="i", into=("x",), factors=(16,))
    assert changes(Schedule(), Schedule(nests=(Nest(stage="C", splits=(alone,)),))) == []
    two = (Nest(stage="top", unroll_limit=4), Nest(stage="e", unroll_limit=8))
    assert changes(Schedule(nests=two), Schedule(nests=two[::-1]), softmax(4, 8)) == []


# --- what differs, in words -------------------------------------------------------------------------------------------

HALVES = Split(axis="j", into=("jo", "ji"), factors=(2, 16))
QUARTERS = Split(axis="j", into=("a", "b"), factors=(4, 8))
PADDED = Split(axis="j", into=("jo", "ji"), factors=(2, 24), tail="pad")
ACC = Accumulate(stage="C", as_="C.acc", splits=(HALVES,), order=("jo", "i", "ji"))
PACK = Pack(stage="C", reads="B", as_="B.pack", dims=("k", "j"), order=("j", "k"))
COLS = Reindex(stage="C", reads="A", as_="A.col", order=("k", "i"))
PART = Partial(
    stage="C", as_="C.part", splits=(Split(axis="k", into=("ko", "ki"), factors=(3, 8)),), keep=("ki",)
)  # fmt: skip


def nest(**words: Any) -> Schedule:
    return Schedule(nests=(Nest(stage="C", **words),))


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (Schedule(), Schedule(stagings=(ACC,)), [("accumulate C as C.acc", None, "yes")]),
        (Schedule(stagings=(PACK,)), Schedule(), [("pack B for C as B.pack", "yes", None)]),
        (
            Schedule(stagings=(ACC,)),
            Schedule(stagings=(attrs.evolve(ACC, as_="X", splits=(QUARTERS,), order=("a", "i", "b")),)),
            [("accumulate C as C.acc, split of j", "2 x 16", "4 x 8")],
        ),
        (
            Schedule(stagings=(ACC,)),
            Schedule(stagings=(attrs.evolve(ACC, splits=(PADDED,), order=("i", "jo", "ji")),)),
            [
                ("accumulate C as C.acc, split of j", "2 x 16", "2 x 24, padded"),
                ("accumulate C as C.acc, order", "jo, i, ji", "i, jo, ji"),
                ("nest of C.acc, order", "jo, i, ji, k", "i, jo, ji, k"),
            ],
        ),
        (
            Schedule(stagings=(attrs.evolve(ACC, splits=(), order=("i", "j")),)),
            Schedule(stagings=(attrs.evolve(ACC, fuses=(Fuse(fuse=("i", "j"), as_="p"),), splits=(), order=("p",)),)),
            [
                ("accumulate C as C.acc, order", "i, j", "p"),
                ("accumulate C as C.acc, i, j as one axis", None, "yes"),
            ],
        ),
        (
            Schedule(stagings=(COLS,)),
            Schedule(stagings=(attrs.evolve(COLS, order=("i", "k")),)),
            [
                ("reindex A for C as A.col, order", "k, i", "i, k"),
                ("nest of A.col, order", "k, i", "i, k"),
            ],
        ),
        (
            Schedule(stagings=(PACK, COLS)),
            Schedule(stagings=(COLS, PACK)),
            [
                (
                    "order of stagings",
                    "pack B for C as B.pack, then reindex A for C as A.col",
                    "reindex A for C as A.col, then pack B for C as B.pack",
                )
            ],
        ),
        (
            Schedule(stagings=(PART,)),
            Schedule(stagings=(attrs.evolve(PART, keep=("ko",)),)),
            [
                ("partial results of C as C.part, keep", "ki", "ko"),
                ("nest of C.part, order", "i, j, ki, ko", "i, j, ko, ki"),
            ],
        ),
        (nest(order=("i", "j", "k")), nest(order=("k", "i", "j")), [("nest of C, order", "i, j, k", "k, i, j")]),
        (
            nest(bind=(BindLoop(loop="i", to="parallel"),)),
            nest(bind=(BindLoop(loop="i", to="unroll"),)),
            [("nest of C, loop i", "parallel", "unroll")],
        ),
        (nest(bind=(BindLoop(loop="i", to="unroll"),)), nest(), [("nest of C, loop i", "unroll", "serial")]),
        (
            nest(),
            nest(bind=(BindFused(fuse=("i", "j"), as_="p", to="serial"),)),
            [("nest of C, loop p (i, j)", None, "serial")],
        ),
        (
            nest(splits=(Split(axis="i", into=("io", "ii"), factors=(3, 6), tail="predicate"),)),
            nest(splits=(Split(axis="i", into=("x", "y"), factors=(4, 4)),)),
            [("nest of C, split of i", "3 x 6, the rest skipped", "4 x 4")],
        ),
        (nest(start="k"), nest(start="j"), [("nest of C, start", "before k", "before j")]),
        (nest(unroll_limit=16), nest(), [("nest of C, unroll_limit", "16", None)]),
        (
            Schedule(stagings=(ACC,), nests=(Nest(stage="C", at=At(stage="C.acc", loop="i")),)),
            Schedule(stagings=(ACC,), nests=(Nest(stage="C", at=At(stage="C.acc", loop="jo")),)),
            [("nest of C, at", "loop i of C.acc", "loop jo of C.acc")],
        ),
    ],
)
def test_a_difference_in_words(before: Schedule, after: Schedule, wanted: list[Any]) -> None:
    assert changes(before, after) == wanted


def test_inlining_is_said_once() -> None:
    assert changes(Schedule(), Schedule(stagings=(Inline(stage="e"),)), softmax(4, 8)) == [("inline e", None, "yes")]


def test_two_stagings_of_one_kind_are_told_apart() -> None:
    again = attrs.evolve(ACC, as_="C.again", splits=(), order=("j", "i"))
    assert changes(Schedule(stagings=(ACC,)), Schedule(stagings=(ACC, again))) == [
        ("accumulate C as C.again", None, "yes")
    ]


# --- tasks ------------------------------------------------------------------------------------------------------------


def task_changes(before: Task, after: Task) -> list[tuple[str, str | None, str | None]]:
    sides = (SpecFile(task=task, schedule=Schedule()) for task in (before, after))
    return [(c.place, c.before, c.after) for c in compare_specs(*sides).task]


def test_what_is_asked_for() -> None:
    task = Task(workload=gemm(4, 8, 6), threads=2)
    other = Target(kind="llvm", options=(TargetOption(name="mcpu", value="znver5"),))
    assert task_changes(task, attrs.evolve(task, threads=4)) == [("threads", "2", "4")]
    assert task_changes(task, attrs.evolve(task, target=other)) == [("target mcpu", None, "znver5")]
    assert task_changes(task, attrs.evolve(task, constants=("B",))) == [("constant B", None, "yes")]
    known = ValueRange(buffer="A", low=0, high=7)
    whole = Task(workload=gemm(4, 8, 6, dtype="int32"), threads=2, ranges=(known,))
    more = attrs.evolve(whole, ranges=(attrs.evolve(known, high=8),))
    assert task_changes(whole, more) == [("values of A", "0..7", "0..8")]


def test_the_operator_and_claims_do_not_count() -> None:
    assert compare_specs(SPEC, SpecFile(task=attrs.evolve(SPEC.task, op=None), schedule=SPEC.schedule)).is_same


def test_what_is_computed() -> None:
    found = task_changes(Task(workload=gemm(4, 8, 6), threads=2), Task(workload=gemm(4, 8, 7), threads=2))
    assert found == [
        ("parameter A", "input float32[4, 6]", "input float32[4, 7]"),
        ("parameter B", "input float32[6, 8]", "input float32[7, 8]"),
        ("stage C, reduce", "k: 6", "k: 7"),
    ]
    found = task_changes(Task(workload=gemm(4, 8, 6), threads=2), Task(workload=softmax(4, 8), threads=2))
    assert ("parameter C", "output float32[4, 8]", None) in found
    assert any(place == "stage e" and before is None for place, before, _ in found)


@given(workloads(), workloads())
def test_other_computations_always_differ(one: Any, other: Any) -> None:
    tasks = Task(workload=one, threads=1), Task(workload=other, threads=1)
    assert bool(task_changes(*tasks)) == (tasks[0].identity != tasks[1].identity)


# --- the command ------------------------------------------------------------------------------------------------------


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["diff", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = GEMM.read_text(encoding="utf-8")
    Path("a.json").write_text(text, encoding="utf-8")
    Path("b.json").write_text(text.replace('"threads": 2', '"threads": 4').replace("[128, 8]", "[64, 16]"), "utf-8")
    form = attrs.evolve(SPEC.task, workload=canonical(SPEC.task.workload), constants=("p1",))
    renamed = _renamed(SPEC.schedule, SPEC.task.names, lambda *_: next(fresh))
    save_spec(SpecFile(task=form, schedule=renamed), "renamed.json")


def test_different_files(files: None) -> None:
    done = call("a.json", "b.json")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "task: 1 difference",
        "  threads: 2 -> 4",
        "schedule: 1 difference",
        "  nest of C.acc, split of i: 128 x 8 -> 64 x 16",
    ]
    said = json.loads(call("a.json", "b.json", "--json").stdout)
    assert said == {
        "same": False,
        "task": {"same": False, "changes": [{"place": "threads", "before": "2", "after": "4"}]},
        "schedule": {
            "same": False,
            "changes": [{"place": "nest of C.acc, split of i", "before": "128 x 8", "after": "64 x 16"}],
        },
    }


def test_the_same_file_under_other_names(files: None) -> None:
    done = call("a.json", "renamed.json")
    assert (done.exit_code, done.stdout) == (0, "task: the same\nschedule: the same\n")
    assert json.loads(call("a.json", "renamed.json", "--json").stdout)["same"]


def test_what_one_file_lacks(files: None) -> None:
    plain = SpecFile(task=SPEC.task, schedule=Schedule(nests=(Nest(stage="C", unroll_limit=16),)))
    save_spec(plain, "plain.json")
    lines = call("a.json", "plain.json").stdout.splitlines()
    assert "  accumulate C as C.acc: only in a.json" in lines
    assert "  nest of C, unroll_limit: only in plain.json: 16" in lines


def test_a_bad_file_is_status_2(files: None) -> None:
    Path("bad.json").write_text("{", "utf-8")
    assert call("a.json", "bad.json").exit_code == 2
    assert call("missing.json", "a.json").exit_code == 2
    assert call("a.json").exit_code == 2


def test_comparing_needs_neither_numpy_nor_tvm() -> None:
    code = f"""
import sys
from autosched.cli import main
try:
    main(["diff", {str(GEMM)!r}, {str(GEMM)!r}])
except SystemExit as end:
    assert end.code == 0
assert not {{"numpy", "tvm"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
