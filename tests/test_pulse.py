"""What a search does while the machine is disturbed: it waits a little, and doubts what it was told meanwhile."""

from __future__ import annotations

import math
from itertools import cycle, repeat
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search import pulse
from autosched.search.budget import Budget
from autosched.search.finals import DOUBTFUL, NEAR
from autosched.search.measure import Measurement
from autosched.search.pulse import DISTURBED, LATELY, PATIENCE, PATIENCE_S, Beats, Patience, Pulse, level_of
from autosched.search.reference import Reference
from autosched.search.runner import AGAIN, NEARLY, Limits, Runner, Timed
from autosched.search.tuner import tune
from autosched.spec.claim import Failure, Protocol
from autosched.store.store import Store
from pretended_bench import LARGE, PretendedBench, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE
from tuner_runs import default

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from autosched.spec.schedule import Schedule

TASK: Final = get_task("gemm", N=8, M=8, K=8, threads=1)
BEATS: Final = st.lists(st.floats(1e-4, 1), min_size=1, max_size=4)


# --- the pulse --------------------------------------------------------------------------------------------------------


@given(BEATS, st.floats(1e-4, 1), st.floats(0.5, 2))
def test_a_level_is_a_ratio_of_times_and_one_where_all_is_well(beats: list[float], quiet_s: float, unit: float) -> None:
    level = level_of(beats, quiet_s)
    if max(beats) <= DISTURBED * quiet_s:
        assert level == 1
    else:
        assert min(beats) / quiet_s <= level * (1 + 1e-9)
        assert level <= max(beats) / quiet_s * (1 + 1e-9)
    if all(abs(beat / quiet_s / DISTURBED - 1) > 1e-9 for beat in beats):
        assert level_of([beat * unit for beat in beats], quiet_s * unit) == pytest.approx(level)


def test_where_nothing_is_known_nothing_is_disturbed() -> None:
    assert level_of([], 1.0) == 1
    assert level_of([5.0], None) == 1


class Chain:
    """A kernel that takes what the clock of a pretended machine says, and moves it."""

    def __init__(self, slow: Callable[[float], float]) -> None:
        self.now = 0.0
        self.slow = slow

    def timed_call(self) -> float:
        taken = 0.004 * self.slow(self.now)
        self.now += taken
        return taken

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("until", "quiet"), [(0.0, True), (0.4, True), (1.5, False)])
def test_rest_ends_when_the_machine_is_quiet_or_patience_is_over(
    monkeypatch: pytest.MonkeyPatch, until: float, quiet: bool
) -> None:
    chain = Chain(lambda now: 2.0 if now < until else 1.0)
    monkeypatch.setattr(pulse.time, "sleep", chain.sleep)
    monkeypatch.setattr(pulse.time, "monotonic", lambda: chain.now)
    assert Pulse(1, lambda *_: chain).rest(0.004, 1.0) is quiet  # type: ignore[arg-type,return-value]
    assert chain.now == pytest.approx(min(until, 1.0), abs=0.05)


# --- one trial --------------------------------------------------------------------------------------------------------


class Machine:
    """Workers with a kernel of `kernel_s`, on a machine that is as slow as `levels` say, one trial after another."""

    def __init__(self, levels: Iterable[float], kernel_s: float = 1.0, quiet: Iterable[bool] = ()) -> None:
        self.levels = iter(levels)
        self.kernel_s = kernel_s
        self.quiet = iter(quiet)
        """Whether the machine became quiet each time that it was waited for."""
        self.asked: list[str] = []

    def answer(self, _handle: object, request: dict[str, Any], *_: object) -> dict[str, Any] | Failure:
        self.asked.append(request["op"])
        if request["op"] == "rest":
            assert 0 < request["patience_s"] <= PATIENCE_S
            return {"is_quiet": next(self.quiet)}
        level = next(self.levels)
        if level == FAILS:
            return Failure(kind="crash", detail="SIGSEGV")
        spread = [1, 1, 1, 1, 9, 9, 9] if level == SCATTERED else [level] * 7
        return {"samples_s": [self.kernel_s * each for each in spread], "beats_s": [QUIET_S * level] * 2}


QUIET_S: Final = 0.004
FAILS, SCATTERED = 0.0, 99.0
"""Levels at which a trial is a failure, and at which its samples say nothing."""


class Forbearing(Patience):
    """As if `passed_s` had passed already."""

    def __init__(self, passed_s: float) -> None:
        super().__init__()
        self._begin -= passed_s


def runner_on(machine: Any, folder: Path, **fields: Any) -> Runner:
    reference = Reference(TASK, folder, whole_points=0)
    given = {"best_s": 1.0, "patience": Forbearing(100), **fields}
    made = Runner(
        workers=machine, reference=reference, protocol=Protocol(threads=1), limits=Limits(), cpus=(0,), **given
    )
    made.beats.level([QUIET_S])
    return made


def samples(machine: Machine, folder: Path, **fields: Any) -> Timed | Failure:
    return runner_on(machine, folder, **fields).samples(None, 0, 1.0)  # type: ignore[arg-type]


def test_on_a_quiet_machine_samples_are_taken_once(tmp_path: Path) -> None:
    machine = Machine([1.1])
    assert samples(machine, tmp_path) == Timed(samples_s=(1.1,) * 7)
    assert machine.asked == ["time"]


def test_a_disturbed_trial_is_made_again_when_the_machine_is_quiet(tmp_path: Path) -> None:
    machine = Machine([2.0, 1.5, 1.0], quiet=[True, True])
    assert samples(machine, tmp_path) == Timed(samples_s=(1.0,) * 7)
    assert machine.asked == ["time", "rest", "time", "rest", "time"]


def test_the_quietest_moment_counts_where_none_is_quiet(tmp_path: Path) -> None:
    timed = samples(Machine([2.0, 1.5, 3.0], quiet=[True, True, False]), tmp_path)
    assert isinstance(timed, Timed)
    assert timed.level == pytest.approx(1.5)
    assert timed.quiet_s == pytest.approx(1.0)


def test_who_cannot_be_the_best_is_not_waited_for(tmp_path: Path) -> None:
    machine = Machine([2.0], kernel_s=1.01 * NEARLY)
    timed = samples(machine, tmp_path)
    assert isinstance(timed, Timed)
    assert timed.level == pytest.approx(2.0)
    assert machine.asked == ["time"]


def test_who_has_no_patience_does_not_wait(tmp_path: Path) -> None:
    machine = Machine([2.0])
    assert isinstance(samples(machine, tmp_path, patience=Forbearing(-1)), Timed)
    assert machine.asked == ["time"]


def test_the_first_trial_tells_what_quiet_is() -> None:
    beats = Beats()
    assert beats.quiet_s is None
    assert beats.level([2 * QUIET_S]) == 1
    assert beats.quiet_s == 2 * QUIET_S


def test_a_machine_that_stays_slow_is_as_it_is() -> None:
    beats = Beats()
    beats.level([QUIET_S])
    assert [beats.level([2 * QUIET_S]) for _ in range(LATELY + 1)] == [pytest.approx(2)] * (LATELY - 1) + [1, 1]


def test_what_no_beat_can_be_is_not_believed() -> None:
    beats = Beats()
    assert beats.level([0.0, -1.0, math.inf, math.nan]) == 1
    assert beats.quiet_s is None
    assert beats.level([QUIET_S, 0.0]) == 1
    assert beats.quiet_s == QUIET_S


def test_samples_that_were_taken_are_not_lost(tmp_path: Path) -> None:
    """Where the second try says nothing, or nothing comes back from the wait."""
    timed = samples(Machine([2.0, SCATTERED, SCATTERED], quiet=[True]), tmp_path)
    assert isinstance(timed, Timed)
    assert timed.level == pytest.approx(2.0)

    class Deaf(Machine):
        def answer(self, handle: object, request: dict[str, Any], *more: object) -> dict[str, Any] | Failure:
            if request["op"] == "rest":
                return Failure(kind="run_timeout", detail="within the limit")
            return super().answer(handle, request, *more)

    assert isinstance(samples(Deaf([2.0]), tmp_path), Timed)


def test_one_trial_is_made_again_twice_at_most(tmp_path: Path) -> None:
    machine = Machine(repeat(2.0), quiet=repeat(True))
    samples(machine, tmp_path)
    assert machine.asked.count("time") == 1 + AGAIN


def test_a_kernel_that_fails_while_it_is_timed_again_has_failed(tmp_path: Path) -> None:
    assert isinstance(samples(Machine([2.0, FAILS], quiet=[True]), tmp_path), Failure)


def test_waiting_takes_a_bounded_part_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is often disturbed, where each trial would wait for ever."""
    chain = Chain(lambda _now: 2.0)
    monkeypatch.setattr(pulse.time, "monotonic", lambda: chain.now)

    class Slow(Machine):
        def answer(self, handle: object, request: dict[str, Any], *more: object) -> dict[str, Any] | Failure:
            chain.sleep(request["patience_s"] if request["op"] == "rest" else 0.01)
            return super().answer(handle, request, *more)

    held = runner_on(Slow(cycle([1.0, 2.0, 2.0]), quiet=repeat(False)), tmp_path, patience=Patience())
    for _ in range(50):
        chain.sleep(0.5)
        held.samples(None, 0, 1.0)  # type: ignore[arg-type]
    assert 0.5 * PATIENCE * chain.now < held.patience.waited_s <= PATIENCE * chain.now + 0.1


# --- the finals -------------------------------------------------------------------------------------------------------


class Disturbed(PretendedBench):
    """The machine is disturbed while some schedules are tried; in finals all are timed in turn."""

    def __init__(self, level: float, victims: Collection[Schedule]) -> None:
        super().__init__(lambda schedule: pretended_s(schedule) * self.level_of(schedule), pretended_s)
        self.level = level
        self.victims = victims

    def level_of(self, schedule: Schedule) -> float:
        return self.level if schedule in self.victims else 1.0

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = lambda _: False
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        for schedule, found in super().measure(schedules, is_known=is_known):
            assert isinstance(found, Measurement)
            yield schedule, attrs.evolve(found, level=self.level_of(schedule))


SEARCH: Final[dict[str, Any]] = {"method": "random", "machine": MACHINE, "space": shared_space(LARGE, MACHINE)}


def search(bench: PretendedBench, folder: Path) -> Schedule:
    tuned = tune(LARGE, Store(folder), Budget(trials=24), bench=bench, **SEARCH)
    assert tuned.record is not None
    return tuned.record.schedule


@pytest.mark.system
@pytest.mark.parametrize("level", [1.2 * NEAR, 3.0])
def test_the_best_wins_though_the_machine_was_disturbed_when_it_was_tried(tmp_path: Path, level: float) -> None:
    quiet = PretendedBench()
    best = search(quiet, tmp_path / "quiet")
    assert best == min(quiet.measured, key=pretended_s)
    assert best != default(), "the case shows nothing"
    disturbed = Disturbed(level, [best])
    assert search(disturbed, tmp_path / "disturbed") == best
    assert disturbed.measured.count(best) == 1, "the finals decide"


@pytest.mark.system
def test_seats_for_the_doubtful_are_few(tmp_path: Path) -> None:
    quiet = PretendedBench()
    search(quiet, tmp_path / "quiet")
    victims = set(sorted(set(quiet.measured), key=pretended_s)[:10]) - {default()}
    disturbed = Disturbed(3.0, victims)
    search(disturbed, tmp_path / "slow")
    assert len(victims & set(disturbed.retimed[0])) == DOUBTFUL
