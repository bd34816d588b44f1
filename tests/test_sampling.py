"""How many samples are taken: enough calls in each, few of slow kernels, kernels in turn."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.search.sampling import (
    ENOUGH_S,
    LEAST_SAMPLES,
    PAUSE_S,
    SLOW_FACTOR,
    calls_per_sample,
    samples_in_turn,
    samples_of,
    standings_of,
)
from autosched.spec.claim import Protocol


class FakeKernel:
    """Each call takes `call_s` of a clock that nothing else moves; notes how many calls each sample had."""

    def __init__(self, call_s: float) -> None:
        self.call_s = call_s
        self.calls = 0
        self.asked: list[tuple[int, int, bool]] = []

    def prepare(self) -> None:
        pass

    def call(self) -> None:
        self.calls += 1

    def timed_call(self) -> float:
        self.call()
        return self.call_s

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        self.asked.append((number, repeats, flush_cache))
        return (self.call_s,) * repeats


@given(st.floats(1e-7, 10), st.floats(1, 1000), st.integers(1, 9), st.integers(1, 4))
def test_a_sample_is_long_enough(call_s: float, coldness: float, repeats: int, number: int) -> None:
    """However slow the first call was, and however short the others are."""
    protocol = Protocol(threads=1, repeats=repeats, number=number, min_sample_s=0.005)
    kernel = FakeKernel(call_s)
    samples = samples_of(kernel, protocol, call_s * coldness, None)
    assert samples == pytest.approx((call_s,) * repeats)
    used = [n for n, _, _ in kernel.asked[-1:]] or [1]
    assert all(n >= number and n * call_s >= 0.005 * (1 - 1e-9) for n in used)
    assert all((n - 1) * call_s <= 0.005 * (1 + 1e-6) or n == number for n in used), "nor longer than needed"


@pytest.mark.parametrize(
    ("best_s", "first_s", "count"),
    [
        (None, 0.001, 7), (0.001, 0.001, 7), (0.00098, 0.001, 7), (0.00097, 0.001, 4), (0.00095, 0.001, 3),
        (0.0008, 0.001, 2), (0.0006, 0.001, 1), (0.0001, 0.06, 1), (0.001, 0.06, 1),
    ],
)  # fmt: skip
def test_slow_kernels_are_looked_at_only_shortly(best_s: float | None, first_s: float, count: int) -> None:
    protocol = Protocol(threads=1, repeats=7, min_sample_s=0.005)
    assert len(samples_of(FakeKernel(0.001), protocol, first_s, best_s)) == count


@given(st.floats(1e-7, 1), st.floats(0.1, 10), st.integers(1, 9))
def test_what_may_be_the_best_gets_every_sample(call_s: float, ratio: float, repeats: int) -> None:
    """Or as many as last long enough, three at least."""
    protocol = Protocol(threads=1, repeats=repeats)
    samples = samples_of(FakeKernel(call_s), protocol, call_s, call_s * ratio)
    assert 1 <= len(samples) <= repeats
    if ratio >= 1 / 1.02:
        assert len(samples) == repeats or (len(samples) >= LEAST_SAMPLES and sum(samples) >= ENOUGH_S)


@pytest.mark.parametrize(("call_s", "count"), [(0.02, 7), (0.06, 4), (0.08, 3), (2.0, 3)])
def test_slow_kernels_get_few_samples(call_s: float, count: int) -> None:
    kernel = FakeKernel(call_s)
    assert len(samples_of(kernel, Protocol(threads=1), call_s, call_s)) == count
    assert kernel.calls == Protocol(threads=1).warmup - 1 + count, "the look at how long a call is, is the first sample"


class InterruptedKernel(FakeKernel):
    """One look, the first or a later one, takes `pause_s` longer than its calls."""

    def __init__(self, call_s: float, pause_s: float, interrupted: int) -> None:
        super().__init__(call_s)
        self.pause_s = pause_s
        self.looks_left = interrupted

    def timed_call(self) -> float:
        return super().timed_call() + self._pause()

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        samples = super().time_s(number, repeats, flush_cache)
        return tuple(seconds + self._pause() / number for seconds in samples)

    def _pause(self) -> float:
        self.looks_left -= 1
        return self.pause_s if self.looks_left == -1 else 0.0


@given(st.floats(1e-7, 4e-3), st.floats(0, 0.1), st.integers(0, 3))
def test_one_interruption_makes_no_kernel_slow(call_s: float, pause_s: float, interrupted: int) -> None:
    """Wherever it falls while the number of calls is found out."""
    protocol = Protocol(threads=1, repeats=7, min_sample_s=0.005)
    number, seen_s = calls_per_sample(InterruptedKernel(call_s, pause_s, interrupted), protocol, call_s)
    assert seen_s <= 2 * SLOW_FACTOR * call_s
    assert number * call_s * 2 * SLOW_FACTOR >= 0.005


@given(st.floats(1e-7, 0.1), st.floats(0, PAUSE_S * 0.99), st.integers(-1, 3))
def test_one_interruption_loses_no_candidate(call_s: float, pause_s: float, interrupted: int) -> None:
    """Not even if it falls into the call that was verified (-1)."""
    first_s = call_s + (pause_s if interrupted == -1 else 0)
    samples = samples_of(InterruptedKernel(call_s, pause_s, interrupted), Protocol(threads=1), first_s, call_s)
    assert len(samples) == Protocol(threads=1).repeats or sum(samples) >= ENOUGH_S
    assert statistics.median(samples) == pytest.approx(call_s)


def test_cold_caches_are_asked_for() -> None:
    kernel = FakeKernel(1e-5)
    samples_of(kernel, Protocol(threads=1, repeats=5, flush_cache=True), 0.001, None)
    assert kernel.asked == [(1, 5, True)]


def test_warm_up_calls_are_made() -> None:
    kernel = FakeKernel(1e-5)
    samples_of(kernel, Protocol(threads=1, warmup=4), 0.001, None)
    assert kernel.calls == 3 + 1, "the fourth was the call that was verified; one more tells how long a call is"


def test_kernels_take_turns() -> None:
    order: list[str] = []

    class Noted(FakeKernel):
        def __init__(self, name: str) -> None:
            super().__init__(0.0)
            self.name = name

        def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
            order.append(self.name)
            return (1e-3,) * repeats

    kernels = [Noted(name) for name in "abc"]
    samples = samples_in_turn(kernels, Protocol(threads=1), 4)
    assert [len(found) for found in samples] == [4, 4, 4]
    assert "".join(order[-12:]) == "abc" * 4


@pytest.mark.parametrize(
    ("samples", "standings"),
    [
        ([[1, 1, 1, 1, 1]], "even"),
        ([[1, 1, 1, 1, 1], [2, 2, 2, 2, 2]], "even beaten"),
        ([[1, 1, 1, 1, 3], [2, 2, 2, 2, 2]], "even rival"),
        ([[1, 1, 1, 1, 1, 1, 3], [2, 2, 2, 2, 2, 2, 2]], "even beaten"),
        ([[1, 2, 1, 2, 1], [1.005, 1.004, 1.006, 1.003, 1.005]], "even even"),
        ([[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [0.9, 1.3, 0.9, 1.3, 1.3]], "even beaten rival"),
    ],
    ids=["alone", "always", "once in five", "once in seven", "a draw", "one is open"],
)
def test_how_kernels_stand(samples: list[list[float]], standings: str) -> None:
    assert standings_of(samples) == standings.split()


def test_who_is_beaten_drops_out_but_for_the_first() -> None:
    class Changing(FakeKernel):
        def __init__(self, *samples: float) -> None:
            super().__init__(0.001)
            self.samples = itertools.cycle(samples)

        def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
            return tuple(next(self.samples) for _ in range(repeats))

    kernels = [Changing(0.003), Changing(0.0009, 0.0013), Changing(0.001), Changing(0.002)]
    samples = samples_in_turn(kernels, Protocol(threads=1, number=6), 10, 4)
    assert [len(found) for found in samples] == [10, 10, 10, 4], "the default is there to the end"


@given(st.lists(st.floats(1e-3, 2e-3), min_size=1, max_size=5), st.integers(1, 9), st.integers(1, 9))
def test_rounds_end_when_it_is_decided_and_all_have_taken_part(calls: list[float], rounds: int, least: int) -> None:
    class Steady(FakeKernel):
        def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
            return (self.call_s,) * repeats

    samples = samples_in_turn([Steady(call_s) for call_s in calls], Protocol(threads=1, number=2), rounds, least)
    assert {len(found) for found in samples} == {min(rounds, least)}
