"""What noise does to a search, and how sure its result is."""

from __future__ import annotations

import itertools
import random
import statistics
import tempfile
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.cli_progress import Notes, event_text
from autosched.search.budget import Budget
from autosched.search.confidence import Interval, median_interval
from autosched.search.noise import AGAIN, DRIFT, EVERY, NoiseWatch, has_drifted, is_scattered
from autosched.search.progress import Event, MachineDrifted
from autosched.search.speedup import speedup_interval, speedup_of
from autosched.search.tuner import Tuned, tune
from autosched.spec.claim import Failure
from autosched.spec.convert import unstructure
from autosched.spec.json_text import compact_json
from autosched.spec.rename import schedule_to_canonical
from autosched.store.store import Store
from pretended_bench import LARGE, PretendedBench, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE
from tuner_runs import default

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from autosched.spec.schedule import Schedule

SPACE = shared_space(LARGE, MACHINE)
TIMES = st.floats(1e-6, 10)


class ChangingMachine(PretendedBench):
    """`level(number)` says how many times as long the machine takes at a measurement; finals are undisturbed."""

    def __init__(self, level: Callable[[int], float]) -> None:
        super().__init__(lambda schedule: level(len(self.measured)) * pretended_s(schedule), pretended_s)


def search(store: Store, bench: PretendedBench, trials: int, seed: int = 0) -> tuple[Tuned, list[MachineDrifted]]:
    events: list[Event] = []
    tuned = tune(
        LARGE, store, Budget(trials=trials), method="random", seed=seed, machine=MACHINE, space=SPACE, bench=bench,
        watch=events.append,
    )  # fmt: skip
    return tuned, [event for event in events if isinstance(event, MachineDrifted)]


def fastest(schedules: Iterable[Schedule]) -> Schedule:
    """The best as a store ranks them: of those as fast to three digits, the one that is said in the fewest words."""

    def rank(schedule: Schedule) -> tuple[float, int]:
        canonical = schedule_to_canonical(schedule, LARGE.names)
        return float(f"{pretended_s(schedule):.3g}"), len(compact_json(unstructure(canonical)))

    return min(schedules, key=rank)


# --- the watch --------------------------------------------------------------------------------------------------------


def test_a_quiet_machine_is_looked_at_now_and_then(tmp_path: Path) -> None:
    bench = PretendedBench()
    _, drifts = search(Store(tmp_path), bench, 3 * EVERY)
    places = [number for number, schedule in enumerate(bench.measured) if schedule == default()]
    assert places[0] == 0
    assert places[-1] == len(bench.measured) - 1, "last, too"
    assert max(b - a for a, b in itertools.pairwise(places)) < EVERY + 9
    assert not drifts


@pytest.mark.system
@pytest.mark.parametrize("after", [1, 20], ids=["for a moment", "for longer"])
@pytest.mark.parametrize("slow", [1.4, 3.0])
def test_the_best_is_found_although_the_machine_was_slow_when_it_was_tried(
    tmp_path: Path, slow: float, after: int
) -> None:
    quiet = PretendedBench()
    search(Store(tmp_path / "quiet"), quiet, 3 * EVERY)
    best = fastest(quiet.measured)
    begin = quiet.measured.index(best)
    anchor = quiet.measured.index(default(), begin)
    bench = ChangingMachine(lambda n: slow if begin < n <= anchor + after else 1.0)
    tuned, drifts = search(Store(tmp_path / "slow"), bench, 3 * EVERY)
    assert 2 <= bench.measured.count(best) <= 1 + AGAIN
    assert tuned.record is not None
    assert tuned.record.schedule == best
    assert drifts[0].ratio == pytest.approx(slow)
    assert drifts[0].again >= 1


@settings(max_examples=15)
@given(
    change=st.integers(1, 3 * EVERY), length=st.integers(1, 3 * EVERY), level=st.floats(0.2, 5), seed=st.integers(0, 99)
)
def test_a_search_ends_whatever_the_machine_does(change: int, length: int, level: float, seed: int) -> None:
    luck = random.Random(seed)
    bench = ChangingMachine(lambda n: level * luck.uniform(0.8, 1.2) if change <= n < change + length else 1.0)
    with tempfile.TemporaryDirectory() as folder:
        tuned, drifts = search(Store(folder), bench, 3 * EVERY)
    assert tuned.state.finished == 3 * EVERY
    assert tuned.record is not None
    assert pretended_s(tuned.record.schedule) <= pretended_s(default())
    counts = Counter(bench.measured)
    del counts[default()]
    assert max(counts.values()) <= 1 + AGAIN
    assert all(drift.again <= 3 * EVERY for drift in drifts)


def test_a_machine_that_is_slower_than_last_time(tmp_path: Path) -> None:
    """What was tried in another session is compared by what the default took there."""
    first = PretendedBench()
    search(Store(tmp_path), first, EVERY)
    second = ChangingMachine(lambda _: 2.0)
    tuned, drifts = search(Store(tmp_path), second, 2 * EVERY)
    assert [drift.ratio for drift in drifts] == [pytest.approx(2.0)]
    assert tuned.record is not None
    assert tuned.record.schedule == fastest([*first.measured, *second.measured])


def test_people_and_programs_are_told(tmp_path: Path) -> None:
    notes = Notes()
    seen: list[Event] = []
    watch = notes.beside(seen.append)
    search(Store(tmp_path), PretendedBench(), EVERY)
    tune(
        LARGE, Store(tmp_path), Budget(trials=EVERY + 1), machine=MACHINE, space=SPACE,
        bench=ChangingMachine(lambda _: 2.0), watch=watch,
    )  # fmt: skip
    (told,) = [event_text(event) for event in seen if isinstance(event, MachineDrifted)]
    assert told == ("the machine has changed: the default takes 2.00 times as long as before; 0 trials measured again")
    assert notes.drift == [pytest.approx(2)]


def test_a_default_that_fails_is_not_watched(tmp_path: Path) -> None:
    broken = Failure(kind="crash", detail="on purpose")
    bench = PretendedBench(lambda schedule: broken if schedule == default() else pretended_s(schedule))
    search(Store(tmp_path), bench, 2 * EVERY)
    assert bench.measured.count(default()) == 1


def test_noise_says_nothing_of_a_schedule(tmp_path: Path) -> None:
    """It is tried again by the next search, and the failure is lifted."""
    noise = Failure(kind="noise", detail="on purpose")
    first = PretendedBench(lambda schedule: pretended_s(schedule) if schedule == default() else noise)
    search(Store(tmp_path), first, 5)
    second = PretendedBench()
    tuned, _ = search(Store(tmp_path), second, 5)
    assert set(second.measured) == set(first.measured)
    assert not tuned.failures
    assert tuned.record is not None
    assert tuned.record.schedule == fastest(first.measured)


@given(TIMES, TIMES)
def test_drift_is_the_same_seen_from_both_ends(one: float, other: float) -> None:
    assert has_drifted(one, other) == has_drifted(1 / one, 1 / other)
    assert not has_drifted(one, one)
    assert has_drifted(one, one * DRIFT * 1.01)


def test_settling_takes_the_machine_as_it_is() -> None:
    watch = NoiseWatch(0.01)
    assert watch.has_moved(0.02)
    watch.settle(0.02)
    assert watch.level == 2
    assert not watch.has_moved(0.021)
    assert watch.has_moved(0.01)


@given(st.lists(st.floats(1, 2.9), min_size=1, max_size=20), st.floats(1e-6, 1e3))
def test_samples_that_agree_are_not_scattered(samples: list[float], unit: float) -> None:
    assert not is_scattered([unit * sample for sample in samples])


def test_samples_that_disagree_are_scattered() -> None:
    assert is_scattered([1, 4, 1, 4, 1, 4, 1])
    assert is_scattered([4, 1, 4, 1, 4, 1, 4])
    assert not is_scattered([1, 2, 1, 2, 1, 2, 1]), "a core that is shared half of the time"
    assert not is_scattered([1, 1, 1, 1, 1, 1, 9]), "one that was disturbed is what a median is for"
    assert not is_scattered([1, 9]), "too few to say"


# --- confidence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "low", "confidence"),
    # Tables of the sign test: 2 * P(heads < k) of 5, 7, 11 and 20 throws.
    [(5, 1, 0.9375), (7, 1, 0.984375), (11, 2, 0.98828125), (20, 6, 0.95861)],
)
def test_intervals_are_those_of_the_sign_test(count: int, low: int, confidence: float) -> None:
    found = median_interval(range(1, count + 1))
    assert (found.low, found.high) == (low, count + 1 - low)
    assert found.confidence == pytest.approx(confidence, abs=1e-5)


@given(st.lists(TIMES, min_size=1, max_size=60), st.floats(0.5, 0.999))
def test_an_interval_holds_the_median_and_is_as_sure_as_can_be(samples: list[float], level: float) -> None:
    found = median_interval(samples, level)
    assert found.low <= statistics.median(samples) <= found.high
    assert found.confidence >= level or (found.low, found.high) == (min(samples), max(samples))
    assert found == median_interval(list(reversed(samples)), level)


def test_intervals_hold_the_true_median_as_often_as_they_say() -> None:
    luck = random.Random(1)
    found = [median_interval([luck.lognormvariate(0, 1) for _ in range(11)]) for _ in range(2000)]
    held = sum(interval.low <= 1 <= interval.high for interval in found) / len(found)
    assert held == pytest.approx(found[0].confidence, abs=0.01)


def test_one_sample_is_no_evidence() -> None:
    assert median_interval([3.0]) == Interval(low=3.0, high=3.0, confidence=0.0)
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=30))
def test_a_speedup_lies_in_its_interval_however_the_machine_drifts(pairs: list[tuple[float, float]]) -> None:
    samples_s, baseline_s = zip(*pairs, strict=True)
    speedup, interval = speedup_of(samples_s, baseline_s), speedup_interval(samples_s, baseline_s)
    assert speedup is not None
    assert interval is not None
    assert interval.low <= speedup <= interval.high
    slowed = [(drift * sample, drift * base) for drift, (sample, base) in enumerate(pairs, start=1)]
    assert speedup_of(*zip(*slowed, strict=True)) == pytest.approx(speedup)


@given(st.lists(TIMES, max_size=8), st.lists(TIMES, max_size=8))
def test_samples_that_were_not_taken_in_turn_have_no_interval(samples_s: list[float], baseline_s: list[float]) -> None:
    speedup = speedup_of(samples_s, baseline_s)
    assert (speedup is None) == (not samples_s or not baseline_s)
    if len(samples_s) != len(baseline_s):
        assert speedup_interval(samples_s, baseline_s) is None
        if speedup is not None:
            assert speedup == statistics.median(baseline_s) / statistics.median(samples_s)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), trials=st.integers(1, 7), noise=st.floats(0, 10))
def test_tuned_never_loses_to_the_default(seed: int, trials: int, noise: float) -> None:
    """However far off the first times are: what a lookup finds then was no slower in turn with the default."""
    luck = random.Random(seed)

    def first(schedule: Schedule) -> float:
        return pretended_s(schedule) * (1 + noise * luck.random())

    with tempfile.TemporaryDirectory() as folder:
        tuned, _ = search(Store(folder), PretendedBench(first, pretended_s), trials, seed)
    assert tuned.record is not None
    last = tuned.record.last
    assert last is not None
    assert statistics.median(last.samples_s) <= statistics.median(last.baseline_s)
