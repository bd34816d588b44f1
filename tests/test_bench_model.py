"""The suite that tells how well the analytic model orders candidates: what it says of two orders, and that it runs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.bench.commands import run_command
from autosched.bench.suites.model import FAR, OF_A_SKETCH, Ordering, chosen_of
from machines import AVX2
from pretended_bench import LARGE
from shared_spaces import shared_space


def test_orders_are_compared_by_hand() -> None:
    ordering = Ordering(name="w", predicted_s=(1.0, 2.0, 3.0, 4.0), measured_s=(4.0, 2.0, 6.0, 8.0))
    assert ordering.rank_correlation == pytest.approx(0.8)  # 1 - 6 * (1 + 1) / (4 * 15)
    assert (ordering.choice(1), ordering.choice(2)) == (2.0, 1.0)
    assert ordering.error == pytest.approx(2)
    assert ordering.scatter == pytest.approx(2 ** math.sqrt(0.5))  # logarithms to base 2: 2, 0, 1, 1


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=12, unique=True), st.floats(0.1, 10))
def test_a_model_that_errs_by_one_factor_orders_all(measured: list[float], factor: float) -> None:
    ordering = Ordering(name="w", predicted_s=tuple(factor * s for s in measured), measured_s=tuple(measured))
    assert ordering.choice(1) == 1
    assert ordering.scatter == pytest.approx(1)
    assert ordering.error == pytest.approx(1 / factor)


def test_candidates_are_of_many_sketches_and_not_far_behind() -> None:
    chosen = chosen_of(shared_space(LARGE, AVX2), 20)
    of_sketch = [candidate.point[0] for candidate in chosen]
    assert len(set(of_sketch)) > 2
    assert max(map(of_sketch.count, of_sketch)) <= OF_A_SKETCH
    assert len({candidate.schedule for candidate in chosen}) == len(chosen)
    times = [candidate.predicted_s for candidate in chosen]
    assert times == sorted(times)
    assert times[-1] <= FAR * times[0]


@pytest.mark.slow
def test_the_suite_runs_on_a_small_product() -> None:
    found = run_command(("bench", "model", "--quick", "--trials", "6", "--json")).json()
    rows = {row["name"]: row["figure"] for row in found["rows"]}
    assert -1 <= rows["small: rank correlation"] <= 1
    assert rows["small: first choice, times the best's time"] >= rows["small: best of the first 3, likewise"] >= 1
    assert rows["all: scatter, mean"] == pytest.approx(rows["small: scatter"])
