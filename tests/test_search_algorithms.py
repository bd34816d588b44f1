"""Searches over several ways to compute a task: all are ranked together, and none wins that is wrong or not allowed."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import attrs
import numpy as np
import pytest

from autosched.nn import algorithms as registry
from autosched.nn.algorithms import NamedAlgorithm, algorithms_of
from autosched.nn.registry import get_task
from autosched.question import Question
from autosched.search.budget import Budget
from autosched.search.default import default_candidate, opening_candidates
from autosched.search.evolution import first_of_each_sketch
from autosched.search.history import PastTask
from autosched.search.measure import Measurement, Measurer
from autosched.search.recording import Heading, read_recording, record_space
from autosched.search.reference import OutputReference
from autosched.search.replay import RecordedSpace, replay
from autosched.search.seeding import near_shapes
from autosched.search.space import Space
from autosched.search.tuner import Tuned, tune
from autosched.spec.check import check_schedule
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import SpecError
from autosched.spec.expr_text import expr_from_text
from autosched.spec.schedule import Schedule
from autosched.store.layers import Layers
from autosched.store.store import Store
from pretended_bench import PretendedBench, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.result import Result
    from autosched.search.devices import Devices
    from autosched.spec.algorithm import Algorithm
    from autosched.spec.task import Task

pytestmark = pytest.mark.usefixtures("few_draws")

USUAL = ("exact", "reassociated")
EVERY = (*USUAL, "winograd")
TASK = get_task("mttkrp", threads=2, N=8, K1=2, K2=8, M=16)
(FACTORED,) = algorithms_of(TASK, USUAL)
LOOSE = attrs.evolve(FACTORED, name="loose", accuracy="winograd")
USUAL_SPACE = shared_space(TASK, MACHINE, algorithms=(FACTORED,))
SPACE = shared_space(TASK, MACHINE, algorithms=(FACTORED, LOOSE))


def wrong(algorithm: Algorithm) -> Algorithm:
    """The algorithm with half of its last stage's values."""
    *stages, last = algorithm.workload.stages
    body = expr_from_text("T[i, k, j] * B[k, j] * float32(0.5)")
    return attrs.evolve(
        algorithm, workload=attrs.evolve(algorithm.workload, stages=(*stages, attrs.evolve(last, body=(body,))))
    )


def way_of(schedule: Schedule) -> str | None:
    return None if schedule.algorithm is None else schedule.algorithm.name


# --- the space --------------------------------------------------------------------------------------------------------


def test_a_space_has_the_sketches_of_every_way() -> None:
    own = Space(TASK, MACHINE)
    assert len(SPACE.ways[0]) == len(own.sketches)
    assert [number for way in SPACE.ways for number in way] == list(range(len(SPACE.sketches)))
    assert SPACE.name == f"{own.name}, also by factored, loose"
    for way, name in zip(SPACE.ways, (None, "factored", "loose"), strict=True):
        rng = random.Random(0)
        drawn = [SPACE.candidate(SPACE.sample(rng, way)) for _ in range(20)]
        found = [candidate for candidate in drawn if candidate is not None]
        assert found
        for candidate in found:
            assert way_of(candidate.schedule) == name
            assert check_schedule(candidate.schedule, TASK) == candidate.plan
            assert SPACE.unchecked(candidate.point) == candidate.schedule
    near = SPACE.near(SPACE.ways)
    drawn = {SPACE.sample(random.Random(seed))[0] for seed in range(60)}
    assert [any(number in way for number in drawn) for way in near] == [True] * len(near)


def test_an_algorithm_of_another_task_is_refused() -> None:
    with pytest.raises(SpecError, match=r"schedule\.algorithm\.workload\.params\[0\]: 'A' is an input"):
        Space(get_task("mttkrp", threads=2, N=9, K1=2, K2=8, M=16), MACHINE, algorithms=(FACTORED,))


def test_the_default_is_the_best_of_the_ways_that_need_no_leave() -> None:
    assert way_of(default_candidate(SPACE).schedule) in (None, "factored")
    assert [way_of(candidate.schedule) for candidate in opening_candidates(SPACE)] == ["loose"]
    assert opening_candidates(Space(TASK, MACHINE)) == ()


def test_an_algorithm_behind_many_sketches_is_tried_once_where_it_is_near() -> None:
    made = [SPACE.candidate((number, *(0 for _ in SPACE.sketches[number].knobs))) for number in SPACE.ways[1]]
    pool = [attrs.evolve(c, predicted_s=1.0, point=(n,)) for n in range(20) for c in made[:1] if c is not None]
    other = [attrs.evolve(pool[0], schedule=Schedule(), predicted_s=s, point=(99 + n,)) for n, s in enumerate((1.9, 2))]
    found = first_of_each_sketch([*pool, *other])
    assert [way_of(candidate.schedule) for candidate in found[-2:]] == ["factored", None]
    far = [attrs.evolve(candidate, predicted_s=2.1) for candidate in other]
    assert all(way_of(candidate.schedule) == "factored" for candidate in first_of_each_sketch([*pool, *far]))


# --- tuning -----------------------------------------------------------------------------------------------------------


def favouring(name: str | None) -> PretendedBench:
    """A bench on which schedules of one way are ten times as fast."""
    return PretendedBench(lambda schedule: pretended_s(schedule) / (10 if way_of(schedule) == name else 1))


def run(store: Store, bench: PretendedBench, trials: int, *, loose: bool = False) -> Tuned:
    space, allow = (SPACE, EVERY) if loose else (USUAL_SPACE, USUAL)
    return tune(TASK, store, Budget(trials=trials), machine=MACHINE, space=space, allow=allow, bench=bench)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.system
@pytest.mark.parametrize("name", [None, "factored"])
def test_the_fastest_way_wins_and_is_found_again(store: Store, name: str | None) -> None:
    tuned = run(store, favouring(name), 16)
    assert tuned.record is not None
    assert way_of(tuned.record.schedule) == name
    again = run(store, bench := favouring(name), 16)
    assert again.record is not None
    assert again.record.schedule == tuned.record.schedule
    assert bench.measured == [tuned.default], "what was measured by an algorithm is known again from the store"


@pytest.mark.system
def test_what_rounds_more_is_for_who_allows_it(store: Store) -> None:
    run(store, favouring("loose"), 8)
    bench = favouring("loose")
    allowed = run(store, bench, 8, loose=True)
    assert "loose" in {way_of(schedule) for schedule in bench.measured}, "tried though no trials were left"
    assert allowed.record is not None
    assert (way_of(allowed.record.schedule), allowed.record.accuracy) == ("loose", "winograd")
    strict = run(store, bench := favouring("loose"), 10)
    assert strict.record is not None
    assert way_of(strict.record.schedule) != "loose"
    assert all(way_of(schedule) != "loose" for schedules in bench.retimed for schedule in schedules)


def known(store: Store, allow: tuple[str, ...]) -> Result | None:
    """What the store knows for who asks for 8 trials on the machine."""
    here = cast("Devices", SimpleNamespace(machine=MACHINE))
    layers = Layers(store=store, project="", server="")
    return Question(TASK, layers, Budget(trials=8), allow=allow, devices=here).known()


@pytest.mark.system
def test_a_finished_search_without_an_algorithm_is_not_finished_for_who_allows_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = registry.algorithms_of_operator("mttkrp")[0].define
    both = {
        "factored": NamedAlgorithm(name="factored", accuracy="reassociated", define=define),
        "loose": NamedAlgorithm(name="loose", accuracy="winograd", define=define),
    }
    monkeypatch.setattr(registry, "_REGISTERED", {"mttkrp": both})
    run(store, favouring("loose"), 8)
    assert known(store, USUAL) is not None
    assert known(store, EVERY) is None
    run(store, favouring("loose"), 9, loose=True)
    found = known(store, EVERY)
    assert found is not None
    assert way_of(found.schedule) == "loose"
    other = known(store, USUAL)
    assert other is not None
    assert way_of(other.schedule) != "loose"


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_a_recording_keeps_its_algorithms(tmp_path: Path) -> None:
    heading = Heading(task=TASK, machine=MACHINE, protocol=Protocol(threads=2), algorithms=(FACTORED, LOOSE))
    path = tmp_path / "a.space"
    record_space(SPACE, heading, path, 16, bench=PretendedBench())
    recording = read_recording(path)
    assert recording.heading == heading
    space = RecordedSpace(recording)
    assert [sketch.text for sketch in space.sketches] == [sketch.text for sketch in SPACE.sketches]
    assert replay(recording, trials=8, method="evolutionary", space=space).best_s is not None


@pytest.mark.system
def test_a_new_shape_begins_with_what_an_algorithm_gave_another() -> None:
    other = get_task("mttkrp", threads=2, N=16, K1=2, K2=16, M=16)
    (algorithm,) = algorithms_of(other, USUAL)
    best = opening_candidates(Space(other, MACHINE, algorithms=(attrs.evolve(algorithm, accuracy="winograd"),)))[0]
    schedule = attrs.evolve(best.schedule, algorithm=algorithm)
    seeds = near_shapes(SPACE, (PastTask(task=other, trials=((schedule, 0.001),)),))
    assert [way_of(seed.schedule) for seed in seeds] == ["factored"]


# --- right answers ----------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_a_wrong_algorithm_is_a_wrong_answer() -> None:
    task: Task = attrs.evolve(TASK, threads=1)
    asked = [Schedule(algorithm=FACTORED), Schedule(algorithm=wrong(FACTORED)), Schedule(algorithm=wrong(LOOSE))]
    with Measurer(task, Protocol(threads=1, repeats=3, min_sample_s=0.001)) as measurer:
        right, half, loose = [result for _, result in measurer.measure(asked)]
    assert isinstance(right, Measurement)
    assert isinstance(half, Failure)
    assert isinstance(loose, Failure)
    assert half.kind == loose.kind == "wrong_answer"


def test_an_output_may_be_as_far_off_as_its_class_says() -> None:
    expected = np.ones(4, dtype=np.float32)
    points = np.arange(4, dtype=np.int64)[:, None]
    off = (expected * 1.01).astype(np.float32)
    whole = OutputReference(name="D", rtol=0.001, atol=0.0, expected=expected, points=None, agreed=None)
    sampled = attrs.evolve(whole, points=points, agreed=expected)
    for reference in (whole, sampled):
        assert reference.mismatch(off)[0] is not None
        assert reference.mismatch(off, 16.0) == (None, False)
