"""Schedules between a workload's names and canonical ones: nothing gets lost, and nothing depends on the names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.builder import build, compute, placeholder, reduce_axis
from autosched.spec.builder import sum as sum_over
from autosched.spec.canonical import Names, canonical, canonical_names, identity, renamed
from autosched.spec.check import check_schedule
from autosched.spec.convert import structure, unstructure
from autosched.spec.errors import SpecError
from autosched.spec.expr_text import RESERVED
from autosched.spec.rename import _renamed as renamed_by
from autosched.spec.rename import following, schedule_digest, schedule_from_canonical, schedule_to_canonical
from autosched.spec.rewrite import rewrite
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
)  # fmt: skip
from autosched.spec.spec_file import load_spec
from schedule_strategies import fitting_schedules, other_names
from strategies import workloads

if TYPE_CHECKING:
    from autosched.spec.workload import Workload

SPEC = load_spec(Path(__file__).parent / "data" / "specs" / "gemm_packed.json")


def gemm(A: str, B: str, C: str, *, i: str, j: str, k: str) -> Workload:
    form = canonical(SPEC.task.workload)
    axes = {"p2": {"a0": i, "a1": j, "a2": k}}
    names = Names(buffers={"p0": A, "p1": B, "p2": C}, stages={"p2": C}, axes=axes, outputs={"p2": ("p2",)})
    return renamed(form, names)


small = workloads(max_stages=2)


@given(workload=small, data=st.data())
def test_to_canonical_and_back_is_the_same_schedule(workload: Workload, data: st.DataObject) -> None:
    schedule = data.draw(fitting_schedules(workload, conventional=True))
    assert schedule_from_canonical(schedule_to_canonical(schedule, workload), workload) == schedule


@pytest.mark.parametrize("conventional", [True, False])
@given(workload=small, data=st.data())
def test_the_canonical_schedule_does_not_depend_on_names(
    conventional: bool, workload: Workload, data: st.DataObject
) -> None:
    schedule = schedule_to_canonical(data.draw(fitting_schedules(workload, conventional=conventional)), workload)
    other = data.draw(other_names(workload))
    assert schedule_to_canonical(schedule_from_canonical(schedule, other), other) == schedule
    assert schedule_to_canonical(schedule, canonical(workload)) == schedule


@given(workload=small, data=st.data())
def test_the_digest_does_not_depend_on_any_name(workload: Workload, data: st.DataObject) -> None:
    schedule = data.draw(fitting_schedules(workload, conventional=False))
    other = data.draw(other_names(workload))
    digest = schedule_digest(schedule, workload)
    elsewhere = schedule_from_canonical(schedule_to_canonical(schedule, workload), other)
    assert schedule_digest(elsewhere, other) == digest
    made_otherwise = renamed_by(schedule, _same_names(workload), data.draw(st.sampled_from([reversed_name, long_name])))
    assert schedule_digest(made_otherwise, workload) == digest


def _same_names(workload: Workload) -> Names:
    names = canonical_names(workload)
    return Names(
        buffers={name: name for name in names.buffers},
        stages={name: name for name in names.stages},
        axes={stage: {name: name for name in axes} for stage, axes in names.axes.items()},
        outputs=names.outputs,
    )


def reversed_name(old: str, _: object, taken: Any) -> str:
    new = "q" + old.replace(".", "")[::-1]
    while new in taken:
        new += "q"
    return new


def long_name(_: object, __: object, taken: Any) -> str:
    number = 0
    while f"very_long{number}" in taken:
        number += 1
    return f"very_long{number}"


@given(workload=small, data=st.data())
def test_renamed_records_are_valid_although_they_are_not_validated(workload: Workload, data: st.DataObject) -> None:
    schedule = data.draw(fitting_schedules(workload, conventional=False))
    for found in (
        schedule_to_canonical(schedule, workload),
        schedule_from_canonical(schedule_to_canonical(schedule, workload), data.draw(other_names(workload))),
    ):
        assert structure(unstructure(found), Schedule) == found  # runs every validator


@given(data=st.data())
def test_a_renamed_schedule_means_the_same(data: st.DataObject) -> None:
    workload = data.draw(other_names(SPEC.task.workload))
    schedule = schedule_from_canonical(schedule_to_canonical(SPEC.schedule, SPEC.task.workload), workload)
    check_schedule(schedule, workload)
    assert identity(rewrite(schedule, workload)) == identity(rewrite(SPEC.schedule, SPEC.task.workload))


def test_made_names_follow_what_they_are_made_of() -> None:
    schedule = Schedule(
        stagings=(
            Reindex(
                stage="C", reads="B", as_="B.pack", splits=(Split(axis="j", into=("jo", "ji"), factors=(32, 32)),),
                order=("jo", "k", "ji"),
            ),
            Accumulate(
                stage="C", as_="C.acc", fuses=(Fuse(fuse=("i", "j"), as_="ij"),),
                splits=(Split(axis="ij", into=("ijo", "lane"), factors=(65536, 16)),), order=("ijo", "lane"),
            ),
            Pack(
                stage="C.acc", reads="A", as_="C.acc.A", dims=("m", "k"),
                splits=(Split(axis="k", into=("ko", "ki"), factors=(32, 32)),), order=("m", "ko", "ki"),
            ),
            Partial(
                stage="C.acc", as_="part", splits=(Split(axis="k", into=("k_out", "k_in"), factors=(64, 16)),),
                keep=("k_in",),
            ),
        ),
        nests=(
            Nest(
                stage="part", order=("ijo", "k_out", "lane", "k_in"), start="k_out",
                bind=(BindFused(fuse=("ijo",), as_="p", to="parallel"), BindLoop(loop="lane", to="vectorize")),
            ),
            Nest(stage="C.acc", bind=(BindLoop(loop="k_in", to="unroll"),), at=At(stage="part", loop="p")),
            Nest(
                stage="C", splits=(Split(axis="j", into=("jo", "ji"), factors=(64, 16)),),
                bind=(BindFused(fuse=("i", "jo"), as_="i", to="parallel"),),
            ),
        ),
    )  # fmt: skip
    found = schedule_to_canonical(schedule, SPEC.task.workload)
    assert found == Schedule(
        stagings=(
            Reindex(
                stage="p2", reads="p1", as_="p1.pack",
                splits=(Split(axis="a1", into=("a1o", "a1i"), factors=(32, 32)),), order=("a1o", "a2", "a1i"),
            ),
            Accumulate(
                stage="p2", as_="p2.acc", fuses=(Fuse(fuse=("a0", "a1"), as_="ij"),),
                splits=(Split(axis="ij", into=("ijo", "lane"), factors=(65536, 16)),), order=("ijo", "lane"),
            ),
            Pack(
                stage="p2.acc", reads="p0", as_="p2.acc.A", dims=("m", "k"),
                splits=(Split(axis="k", into=("ko", "ki"), factors=(32, 32)),), order=("m", "ko", "ki"),
            ),
            Partial(
                stage="p2.acc", as_="part", splits=(Split(axis="a2", into=("a2_out", "a2_in"), factors=(64, 16)),),
                keep=("a2_in",),
            ),
        ),
        nests=(
            Nest(
                stage="part", order=("ijo", "a2_out", "lane", "a2_in"), start="a2_out",
                bind=(BindFused(fuse=("ijo",), as_="p", to="parallel"), BindLoop(loop="lane", to="vectorize")),
            ),
            Nest(stage="p2.acc", bind=(BindLoop(loop="a2_in", to="unroll"),), at=At(stage="part", loop="p")),
            Nest(
                stage="p2", splits=(Split(axis="a1", into=("a1o", "a1i"), factors=(64, 16)),),
                bind=(BindFused(fuse=("a0", "a1o"), as_="i", to="parallel"),),
            ),
        ),
    )  # fmt: skip
    assert schedule_from_canonical(found, SPEC.task.workload) == schedule


def test_a_taken_name_gets_an_underscore_and_loses_it_again() -> None:
    schedule = schedule_to_canonical(SPEC.schedule, SPEC.task.workload)
    other = gemm("a", "b", "c", i="jo", j="j", k="p")
    found = schedule_from_canonical(schedule, other)
    acc = found.nests[1]
    assert acc.splits[0].into == ("joo", "joi")
    assert isinstance(found.stagings[1], Accumulate)
    assert found.stagings[1].splits[0].into == ("jo_", "ji")
    assert acc.order == ("jo_", "joo", "p", "joi", "jv", "jl")
    assert isinstance(acc.bind[0], BindFused)
    assert acc.bind[0].as_ == "p_"
    check_schedule(found, other)
    assert schedule_to_canonical(found, other) == schedule


def test_a_name_never_becomes_a_word_of_the_language() -> None:
    split = Split(axis="j", into=("jn", "jf"), factors=(32, 32))
    schedule = schedule_to_canonical(Schedule(nests=(Nest(stage="C", splits=(split,)),)), SPEC.task.workload)
    other = gemm("A", "B", "C", i="x", j="i", k="k")
    found = schedule_from_canonical(schedule, other)
    assert found.nests[0].splits[0].into == ("in_", "if_")
    assert schedule_to_canonical(found, other) == schedule


def test_a_long_name_keeps_a_schedule_valid() -> None:
    schedule = schedule_to_canonical(SPEC.schedule, SPEC.task.workload)
    long = gemm("A" * 128, "B" * 128, "C" * 128, i="i" * 128, j="j" * 128, k="k" * 128)
    found = schedule_from_canonical(schedule, long)
    assert structure(unstructure(found), Schedule) == found
    check_schedule(found, long)


def test_a_canonical_workload_takes_the_stored_schedule_as_it_is() -> None:
    schedule = schedule_to_canonical(SPEC.schedule, SPEC.task.workload)
    assert schedule_from_canonical(schedule, canonical(SPEC.task.workload)) is schedule


def test_names_may_be_given_instead_of_the_workload() -> None:
    names = canonical_names(SPEC.task.workload)
    schedule = schedule_to_canonical(SPEC.schedule, names)
    assert schedule == schedule_to_canonical(SPEC.schedule, SPEC.task.workload)
    assert schedule_from_canonical(schedule, names) == SPEC.schedule
    assert schedule_digest(SPEC.schedule, names) == schedule_digest(SPEC.schedule, SPEC.task.workload)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(stagings=(Inline(stage="Z"),)),
        Schedule(nests=(Nest(stage="Z"),)),
        Schedule(nests=(Nest(stage="C", order=("i", "Z")),)),
        Schedule(nests=(Nest(stage="C", at=At(stage="Z", loop="i")),)),
        Schedule(nests=(Nest(stage="C", at=At(stage="C", loop="Z")),)),
        Schedule(stagings=(Reindex(stage="C", reads="Z", as_="R", order=("i",)),)),
    ],
)
def test_a_name_that_means_nothing_is_refused(schedule: Schedule) -> None:
    for convert in (schedule_to_canonical, schedule_digest):
        with pytest.raises(SpecError, match="names 'Z', which this workload does not have"):
            convert(schedule, SPEC.task.workload)


def test_an_inlined_stage_is_gone() -> None:
    X = placeholder((8,), name="X")
    P = compute((8,), lambda i: X[i] * 2.0, name="P")
    workload = build([X, compute((8,), lambda i: P[i] + 1.0, name="Y")])
    inlined = Schedule(stagings=(Inline(stage="P"),), nests=(Nest(stage="Y"),))
    assert schedule_from_canonical(schedule_to_canonical(inlined, workload), workload) == inlined
    with pytest.raises(SpecError, match="names 'P'"):
        schedule_to_canonical(attrs.evolve(inlined, nests=(Nest(stage="P"),)), workload)


def test_a_name_is_free_again_once_its_axis_is_gone() -> None:
    A, k = placeholder((8, 8), name="A"), reduce_axis(8, name="k")
    workload = build([A, compute((8,), lambda i: sum_over(A[i, k], axis=k), name="Y")])
    schedule = Schedule(
        stagings=(Accumulate(stage="Y", as_="Y.acc", order=("i",)),),
        nests=(
            # The copy has no reduce axis k, so a loop of it may be called so.
            Nest(
                stage="Y",
                splits=(Split(axis="i", into=("x", "y"), factors=(2, 4)),),
                bind=(BindFused(fuse=("x", "y"), as_="k", to="parallel"),),
            ),
        ),
    )
    check_schedule(schedule, workload)
    assert schedule_from_canonical(schedule_to_canonical(schedule, workload), workload) == schedule


def _changed(**changes: Any) -> Schedule:
    nests = list(SPEC.schedule.nests)
    nests[1] = attrs.evolve(nests[1], **changes)
    return attrs.evolve(SPEC.schedule, nests=tuple(nests))


@pytest.mark.parametrize(
    "other",
    [
        Schedule(),
        attrs.evolve(SPEC.schedule, nests=()),
        attrs.evolve(SPEC.schedule, nests=(), stagings=SPEC.schedule.stagings[:1]),
        attrs.evolve(SPEC.schedule, nests=SPEC.schedule.nests[:2]),
        _changed(order=("jo", "io", "k", "ii", "jl", "jv")),
        _changed(start="ii"),
        _changed(start=None),
        _changed(at=At(stage="C", loop="i")),
        _changed(unroll_limit=16),
        _changed(skip="k"),
        _changed(bind=SPEC.schedule.nests[1].bind[:1]),
        _changed(splits=(Split(axis="i", into=("io", "ii"), factors=(64, 16)), SPEC.schedule.nests[1].splits[1])),
        _changed(splits=SPEC.schedule.nests[1].splits[::-1]),
    ],
)
def test_the_digest_tells_schedules_apart(other: Schedule) -> None:
    assert schedule_digest(other, SPEC.task.workload) != schedule_digest(SPEC.schedule, SPEC.task.workload)


def test_the_digest_is_the_same_in_every_version() -> None:
    assert (
        schedule_digest(SPEC.schedule, SPEC.task.workload)
        == "0c812383de7317e4793e3b58752b937ddcdef951a4db39211669a14cdc41ff7a"
    )
    assert (
        schedule_digest(Schedule(), SPEC.task.workload)
        == "1bcbf6bcf5b7557399f69cfed0f4493b8ef62ea5aeb4ed79082d0f98b19ef2ae"
    )


@given(
    old=st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True),
    stem=st.sampled_from(["a1", "j", "x", "_", "__", "i"]),
    now=st.sampled_from(["a1", "j", "x", "_", "__", "i"]),
    taken=st.lists(st.sampled_from(["j", "jo", "a1", "a1o", "a1o_"])),
)
def test_a_followed_name_is_new(old: str, stem: str, now: str, taken: list[str]) -> None:
    found = following(old, ((stem, now),), taken)
    assert found not in taken
    assert found not in RESERVED
    assert old.startswith(stem) <= found.startswith(now)
