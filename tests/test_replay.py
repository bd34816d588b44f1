"""Recordings and replay: nothing is lost or measured twice, and a search of a recording is a search."""

from __future__ import annotations

import gzip
import json
import math
import random
import statistics
from typing import TYPE_CHECKING

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.cli import main
from autosched.search.budget import Budget
from autosched.search.default import default_schedule
from autosched.search.methods import METHODS
from autosched.search.recording import FailedTrial, Heading, Recording, TimedTrial, read_recording, record_space
from autosched.search.replay import RecordedSpace, Replay, replay
from autosched.search.space import Space
from autosched.search.tuner import tune
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import SpecError
from autosched.spec.schedule import Schedule
from autosched.store.store import Store
from pretended_bench import LARGE, SMALL, PretendedBench, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from pathlib import Path

SPACE = shared_space(LARGE, MACHINE)
HEADING = Heading(task=LARGE, machine=MACHINE, protocol=Protocol(threads=1))
CRASH = Failure(kind="crash", detail="on purpose")


def record(path: Path, count: int, bench: PretendedBench | None = None, **options: int) -> Recording:
    return record_space(SPACE, HEADING, path, count, bench=bench or PretendedBench(), **options)


COUNT = 40


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """40 candidates, one in seven of which crashes."""
    seen: dict[Schedule, float | Failure] = {}

    def first(schedule: Schedule) -> float | Failure:
        return seen.setdefault(schedule, CRASH if len(seen) % 7 == 6 else pretended_s(schedule))

    return record(tmp_path_factory.mktemp("recording") / "a.space", COUNT, PretendedBench(first))


@pytest.fixture(scope="module")
def recorded(recording: Recording) -> RecordedSpace:
    """The space of the recording, which replays share: its candidates are made once."""
    return RecordedSpace(recording)


# --- recording --------------------------------------------------------------------------------------------------------


def test_the_default_comes_first_and_each_schedule_once(recording: Recording) -> None:
    schedules = [trial.schedule for trial in recording.trials]
    assert schedules[0] == default_schedule(LARGE, MACHINE)
    assert len(set(schedules)) == len(schedules) == COUNT
    assert sum(isinstance(trial, FailedTrial) for trial in recording.trials) == COUNT // 7


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = record(tmp_path / "a.space", 12)
    assert read_recording(tmp_path / "a.space") == made


@given(cut=st.integers(1, 4000), seed=st.integers(0, 3))
@settings(max_examples=10)
def test_a_recorder_killed_anywhere_goes_on_and_measures_nothing_twice(
    cut: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    whole = record(folder / "whole.space", 10, seed=seed)
    text = (folder / "whole.space").read_bytes()
    part = text[: len(text.split(b"\n", 1)[0]) + 1 + cut]
    (folder / "part.space").write_bytes(part)
    bench = PretendedBench()
    again = record(folder / "part.space", 10, bench, seed=seed)
    assert set(again.trials) == set(whole.trials)
    assert len(bench.measured) == 10 - (part.count(b"\n") - 1)
    assert read_recording(folder / "part.space") == again


def test_half_is_drawn_and_half_is_looked_for(tmp_path: Path) -> None:
    """What the model expects to be fastest is there, and not in as many draws."""
    made = record(tmp_path / "a.space", 64)
    candidates = [SPACE.candidate(trial.point) for trial in made.trials]
    predicted = sorted(candidate.predicted_s for candidate in candidates if candidate is not None)
    rng = random.Random(1)
    drawn = [SPACE.candidate(SPACE.sample(rng)) for _ in range(64)]
    by_luck = sorted(candidate.predicted_s for candidate in drawn if candidate is not None)
    assert predicted[2] < by_luck[0]


def test_a_packed_file_is_read_and_not_added_to(tmp_path: Path) -> None:
    made = record(tmp_path / "a.space", 9)
    packed = tmp_path / "a.space.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.space").read_bytes()))
    assert read_recording(packed) == made
    before = packed.read_bytes()
    with pytest.raises(SpecError, match="is packed and nothing can be added to it; unpack it first: gunzip"):
        record(packed, 12)
    assert packed.read_bytes() == before


def test_a_packed_file_that_is_damaged_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.space.gz"
    packed.write_bytes(gzip.compress(b"x" * 1000)[:-6])
    with pytest.raises(SpecError, match=r"is damaged: .*; copy it again"):
        read_recording(packed)
    monkeypatch.setattr("autosched.search.recording.MOST_BYTES", 999)
    packed.write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(SpecError, match="unpacks to more than 999 bytes"):
        read_recording(packed)


def test_a_small_space_is_recorded_whole(tmp_path: Path) -> None:
    space = Space(SMALL, MACHINE)
    heading = attrs.evolve(HEADING, task=SMALL)
    made = record_space(space, heading, tmp_path / "a.space", 10**6, bench=PretendedBench())
    candidates = [space.candidate(point) for point in space.points()]
    assert {trial.schedule for trial in made.trials} == {c.schedule for c in candidates if c is not None}


def test_a_file_of_another_task_is_not_gone_on_with(tmp_path: Path) -> None:
    record(tmp_path / "a.space", 2)
    before = (tmp_path / "a.space").read_bytes()
    for field, value in (
        ("task", attrs.evolve(LARGE, constants=("B",))),
        ("machine", attrs.evolve(MACHINE, cores=MACHINE.cores + 1)),
        ("protocol", Protocol(threads=1, repeats=3)),
    ):
        with pytest.raises(SpecError, match=f"{field}: .* was recorded for another {field}; name another file"):
            record_space(
                SPACE, attrs.evolve(HEADING, **{field: value}), tmp_path / "a.space", 3, bench=PretendedBench()
            )
    assert (tmp_path / "a.space").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (0, "{", "line 1: not JSON"),
        (0, '{"format": "autosched/spec"}', "line 1.format: a recording begins with"),
        (0, '{"format": "autosched/space", "version": 9}', "line 1.version: found 9; this autosched reads 1"),
        (2, "{}", "line 3: key 'point' is missing"),
        (2, '{"point": [], "schedule": {}, "samples_s": [], "build_s": 1, "run_s": 1}', "line 3.samples_s: no sample"),
        (2, '{"point": [], "schedule": {"nest": []}, "samples_s": [1], "build_s": 1, "run_s": 1}', "did you mean"),
    ],
)
def test_a_broken_line_is_named(line: int, text: str, message: str, tmp_path: Path) -> None:
    record(tmp_path / "a.space", 3)
    lines = (tmp_path / "a.space").read_text().splitlines()
    lines[line] = text
    (tmp_path / "a.space").write_text("\n".join(lines) + "\n")
    with pytest.raises(SpecError) as caught:
        read_recording(tmp_path / "a.space")
    assert message in str(caught.value)


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_recording(tmp_path / "none.space")
    (tmp_path / "a.space").write_text("")
    with pytest.raises(SpecError, match="no first line; a recording begins with"):
        read_recording(tmp_path / "a.space")


# --- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize("method", METHODS)
def test_a_replay_is_the_same_for_the_same_seed_and_finds_more_with_more_trials(
    method: str, recording: Recording, recorded: RecordedSpace
) -> None:
    first = replay(recording, trials=30, method=method, seed=3, space=recorded)
    assert first == replay(recording, trials=30, method=method, seed=3, space=recorded)
    assert first.best_after_s[:15] == replay(recording, trials=15, method=method, seed=3, space=recorded).best_after_s
    best = [seconds for seconds in first.best_after_s if seconds is not None]
    assert best == sorted(best, reverse=True)


@pytest.mark.system
@pytest.mark.parametrize("method", METHODS)
def test_a_replay_of_all_has_no_regret(method: str, recording: Recording, recorded: RecordedSpace) -> None:
    found = replay(recording, trials=10**6, method=method, space=recorded)
    assert len(found.best_after_s) == len(recording.trials)
    assert found.regret == 0.0
    assert found.best_s == min(
        statistics.median(trial.samples_s) for trial in recording.trials if isinstance(trial, TimedTrial)
    )


def test_the_seconds_that_measuring_took_are_counted() -> None:
    def timed(schedule: Schedule, seconds: float) -> TimedTrial:
        return TimedTrial(point=(), schedule=schedule, samples_s=(0.1,), build_s=seconds, run_s=2.0)

    bench = Replay(Recording(heading=HEADING, trials=(timed(Schedule(), 1.0),)))
    list(bench.measure([Schedule()]))
    assert bench.busy_s == 3.0
    assert bench.retime([Schedule()], 3) == [(0.1, 0.1, 0.1)]


def test_the_tuner_searches_a_recording(recording: Recording, recorded: RecordedSpace, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    tuned = tune(
        LARGE, store, Budget(trials=COUNT), method="random", machine=MACHINE, space=recorded, bench=Replay(recording)
    )
    assert tuned.record is not None
    least_s = replay(recording, trials=COUNT, method="random").least_s
    assert tuned.record.latency_s == pytest.approx(least_s, rel=0.01), "what is as fast in three digits may win"
    assert dict(tuned.failures) == {"crash": COUNT // 7}


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_any_point_stands_for_the_nearest_recorded_one(seed: int, recorded: RecordedSpace) -> None:
    rng = random.Random(seed)
    space = recorded
    points = set(space.points())
    point = SPACE.sample(rng)
    candidate = space.candidate(point)
    same = [other for other in points if other[0] == point[0]]
    if not same:
        assert candidate is None
        return
    assert candidate is not None

    def distance(other: tuple[int, ...]) -> int:
        return sum(abs(a - b) for a, b in zip(point, other, strict=True))

    assert distance(candidate.point) == min(map(distance, same))
    assert space.candidate(candidate.point) is candidate


def test_points_of_other_rules_are_refused(recording: Recording) -> None:
    odd = attrs.evolve(recording.trials[0], point=(10**6,))
    with pytest.raises(SpecError, match="it was recorded with other rules: record again"):
        RecordedSpace(attrs.evolve(recording, trials=(odd,)))


def test_a_recording_in_which_nothing_ran() -> None:
    failed = FailedTrial(point=(), schedule=Schedule(), failure=CRASH)
    with pytest.raises(SpecError, match="nothing in the recording ran"):
        replay(Recording(heading=HEADING, trials=(failed,)), trials=3)
    with pytest.raises(SpecError, match="a schedule that was not recorded"):
        list(Replay(Recording(heading=HEADING, trials=())).measure([Schedule()]))


def test_regret_of_nothing_found_is_infinite(recording: Recording) -> None:
    assert math.isinf(attrs.evolve(replay(recording, trials=1), best_after_s=(None,)).regret)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_the_command_records_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "gemv.space"
    words = ["record-space", "gemv", "N=32", "K=32", "--threads", "1", "-o", str(path)]
    for points in (2, 3):
        done = CliRunner().invoke(main, [*words, "--points", str(points)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(f"{path}: {points} schedules of gemv N=32 K=32")
        assert len(read_recording(path).trials) == points
    assert all(json.loads(line) for line in path.read_text().splitlines())
    found = replay(read_recording(path), trials=3)
    assert found.spent_s > 0


def test_the_command_says_when_nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(PretendedBench):
        def __init__(self, *_: object) -> None:
            super().__init__(lambda _: CRASH)

    monkeypatch.setattr("autosched.search.measure.Measurer", Failing)
    path = tmp_path / "a.space"
    words = ["record-space", "gemv", "N=32", "K=32", "--threads", "1", "--points", "2", "-q", "-o", str(path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert done.stderr == f"autosched: nothing could be measured: all 2 trials failed; {path} says why\n"
