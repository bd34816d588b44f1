"""Records: what follows from a history, and that histories unite in any order."""

from __future__ import annotations

from functools import reduce

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.claim import Claim
from autosched.spec.convert import structure, unstructure
from autosched.spec.errors import SpecError
from autosched.store.claims import claims_from_record, record_from_claim
from autosched.store.records import (
    CLAIMED,
    MEASURED,
    VERIFIED,
    Comparison,
    History,
    Measurement,
    SearchState,
    Slowdown,
    SpaceState,
    check_record,
    further,
    sorted_measurements,
    united,
    utc_now,
)
from store_cases import EFFORT, MACHINE, PROTOCOL, failed, gemm, record, tiled, timed

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")

measurements = st.builds(
    Measurement,
    samples_s=st.lists(st.sampled_from([0.001, 0.002, 0.004]), min_size=1, max_size=3).map(tuple),
    verified=st.booleans(),
    accuracy=st.sampled_from(["exact", "reassociated", "winograd"]),
    origin=st.sampled_from([MEASURED, CLAIMED]),
    date=st.sampled_from(DAYS),
)
failures = st.builds(failed, kind=st.sampled_from(["crash", "wrong_answer"]), date=st.sampled_from(DAYS))
histories = st.builds(
    History,
    measurements=st.lists(measurements, max_size=4).map(tuple).map(sorted_measurements),
    failed=st.none() | failures,
    compared=st.none() | st.builds(Comparison, date=st.sampled_from(DAYS)),
    slowed=st.none()
    | st.builds(
        Slowdown, reason=st.just("slower"), needs=st.sampled_from([None, 0.5, 2.0]), date=st.sampled_from(DAYS)
    ),
)


@given(histories, histories, histories)
def test_histories_unite_in_any_order(a: History, b: History, c: History) -> None:
    assert united(a, b) == united(b, a)
    assert united(united(a, b), c) == united(a, united(b, c))
    assert united(a, a) == a


@given(histories)
def test_what_follows_from_a_history(history: History) -> None:
    if history.failure is not None or history.quarantine is not None:
        assert (history.samples, history.latency_s, history.verified, history.last) == ((), None, False, None)
        assert history.failed is None or history.origin == MEASURED, "failures are seen here"
    elif history.counted:
        counted = history.counted
        assert len({m.origin for m in counted}) == 1
        assert history.latency_s is not None
        assert min(history.samples) <= history.latency_s <= max(history.samples)
        assert history.last == max(counted, key=lambda m: m.date) or history.last in counted
    else:
        assert history.samples == ()


@given(histories, measurements)
def test_a_claim_lifts_no_failure_and_moves_no_time_measured_here(history: History, claim: Measurement) -> None:
    more = united(history, History(measurements=(attrs.evolve(claim, origin=CLAIMED, date="2026-12-31"),)))
    assert more.failure == history.failure
    if any(m.origin == MEASURED for m in history.measurements):
        assert (more.samples, more.accuracy, more.verified) == (history.samples, history.accuracy, history.verified)


@given(histories)
def test_histories_survive_json(history: History) -> None:
    assert structure(unstructure(history), History) == history


def test_samples_of_all_sessions_count() -> None:
    history = History(
        measurements=(timed(0.001, 0.002, baseline_s=(0.004,)), timed(0.009, date="2027-01-01", effort=EFFORT))
    )
    assert history.samples == (0.001, 0.002, 0.009)
    assert history.baseline == (0.004,)
    assert history.latency_s == 0.002
    assert history.origin == MEASURED
    assert history.last is not None
    assert history.last.effort == EFFORT


def test_origins() -> None:
    claim, here = timed(0.001, origin=CLAIMED), timed(0.003)
    assert History(measurements=(claim,)).origin == CLAIMED
    assert History(measurements=(here,)).origin == MEASURED
    looked_at = History(measurements=(claim,), compared=Comparison(date=DAYS[0]))
    assert (looked_at.origin, looked_at.samples, looked_at.verified) == (VERIFIED, (0.001,), True)
    both = History(measurements=(claim, here), compared=Comparison(date=DAYS[0]))
    assert (both.origin, both.samples) == (MEASURED, (0.003,)), "a claim that was timed here counts as timed here"


def test_a_claim_of_wrong_numbers_is_verified_by_a_comparison_here() -> None:
    claim = timed(0.001, origin=CLAIMED, verified=False)
    assert not History(measurements=(claim,)).verified
    assert History(measurements=(claim,), compared=Comparison(date=DAYS[0])).verified


def test_a_quarantine_hides_a_record_and_is_lifted_by_a_later_session() -> None:
    before = timed(0.001, baseline_s=(0.003,), date=DAYS[0])
    slowed = Slowdown(reason="slower", needs=1.5, date=DAYS[1])
    hidden = History(measurements=(before,), slowed=slowed)
    assert (hidden.quarantine, hidden.counted, hidden.latency_s, hidden.verified) == ("slower", (), None, False)
    for later in (
        timed(0.002, baseline_s=(0.0029,), date=DAYS[2]),
        timed(0.002, date=DAYS[2]),
        timed(0.002, baseline_s=(0.003,), date=DAYS[1]),
        timed(0.002, baseline_s=(0.003,), date=DAYS[2], origin=CLAIMED),
    ):
        assert History(measurements=(before, later), slowed=slowed).quarantine == "slower", later
    again = History(measurements=(before, timed(0.002, baseline_s=(0.003,), date=DAYS[2])), slowed=slowed)
    assert (again.quarantine, again.latency_s) == (None, 0.002), "what was timed before is worth nothing any more"


def test_what_got_slower_and_is_still_the_best_has_only_later_times() -> None:
    sessions = (timed(0.001, date=DAYS[0]), timed(0.002, date=DAYS[1]))
    slowed = Slowdown(reason="slower", date=DAYS[1])
    assert History(measurements=sessions, slowed=slowed).samples == (0.002,)


def test_a_failure_holds_until_the_schedule_is_verified_here_again() -> None:
    broken = failed("wrong_answer", date="2026-05-01")
    for measurement in (
        timed(0.1, date="2026-04-30"),
        timed(0.1, date="2026-05-01"),
        timed(0.1, date="2026-05-02", origin=CLAIMED),
        timed(0.1, date="2026-05-02", verified=False),
    ):
        assert History(measurements=(measurement,), failed=broken).failure == broken.failure, measurement
    again = History(measurements=(timed(0.1, date="2026-05-02"),), failed=broken)
    assert (again.failure, again.latency_s) == (None, 0.1)


def test_the_loosest_accuracy_counts() -> None:
    history = History(measurements=(timed(0.1, accuracy="reduced"), timed(0.2, accuracy="exact")))
    assert history.accuracy == "reduced"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples_s": ()}, "samples_s: no samples; a trial without a time is a failure"),
        ({"samples_s": (0.0,)}, "samples_s: a sample is not a time in seconds; allowed: greater than 0"),
        ({"samples_s": (float("nan"),)}, "samples_s: a sample is not a time"),
        ({"samples_s": (1.0, float("nan"))}, "samples_s: a sample is not a time"),
        ({"baseline_s": (1.0, float("nan"), 2.0)}, "baseline_s: a sample is not a time"),
        ({"baseline_s": (float("inf"),)}, "baseline_s: a sample is not a time"),
        ({"accuracy": "sloppy"}, "accuracy: unknown accuracy 'sloppy'; allowed: exact, reassociated"),
        ({"origin": "verified"}, "origin: unknown origin 'verified'; allowed: measured here, claimed"),
    ],
)
def test_measurements_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        timed(0.1, **changes)


def test_records_are_checked() -> None:
    with pytest.raises(SpecError, match="measurements: neither a time nor a failure; give one"):
        check_record(record())
    with pytest.raises(SpecError, match=r"protocol.threads: measured with 2 threads, the task has 1; measure with"):
        check_record(record(timed(0.1), task=gemm(threads=1)))


def test_dates_sort_as_text() -> None:
    first, second = utc_now(), utc_now()
    assert first <= second
    assert len(first) == len(second) == len("2026-11-23T07:00:00.000000Z")


# --- search states ----------------------------------------------------------------------------------------------------

SPACES = ("", "cpu-1", "cpu-1 and one's own")
single_states = st.builds(
    SearchState,
    strategy=st.sampled_from(["random", "evolve"]),
    trials=st.integers(0, 9),
    finished=st.integers(0, 9),
    settled=st.integers(0, 9),
    exhausted=st.booleans(),
    seconds=st.sampled_from([0.0, 1.5, 60.0]),
    space=st.sampled_from(SPACES),
    date=st.sampled_from(DAYS),
)
states = st.lists(single_states, min_size=1, max_size=3).map(lambda parts: reduce(further, parts))


@given(states, states, states)
def test_states_unite_in_any_order(a: SearchState, b: SearchState, c: SearchState) -> None:
    assert further(a, b) == further(b, a)
    assert further(further(a, b), c) == further(a, further(b, c))
    assert further(a, a) == a


@given(states, states, st.integers(0, 20), st.sampled_from(SPACES))
def test_what_was_reached_stays_reached(a: SearchState, b: SearchState, trials: int, space: str) -> None:
    for early in (False, True):
        reached = [state.covers(trials, space, early_stopping=early) for state in (a, b)]
        assert further(a, b).covers(trials, space, early_stopping=early) == any(reached)


def test_another_space_is_not_exhausted() -> None:
    small = SearchState(strategy="random", trials=8, finished=8, exhausted=True, seconds=1.0, space="1", date=DAYS[0])
    large = SearchState(strategy="random", trials=9, finished=9, settled=9, seconds=1.0, space="2", date=DAYS[1])
    assert small.covers(1000)
    assert small.covers(1000, "1")
    assert not small.covers(1000, "2")
    assert not large.covers(1000, "1", early_stopping=True)
    assert large.covers(1000, "2", early_stopping=True)
    assert not further(small, large).covers(1000)
    assert further(small, large).covers(9)
    assert further(small, large).covers(1000, "1"), "what was tried of it was tried, whatever came later"
    assert further(small, attrs.evolve(large, settled=0)).others == (SpaceState(space="1", exhausted=True),)
    assert further(attrs.evolve(small, exhausted=False), large).others == (), "an older autosched reads it"


# --- claims -----------------------------------------------------------------------------------------------------------


def test_each_session_becomes_a_claim() -> None:
    first, second = claims_from_record(record(timed(0.1, baseline_s=(0.4,)), timed(0.3, date=DAYS[1], effort=EFFORT)))
    assert first == Claim(
        machine=MACHINE, protocol=PROTOCOL, samples_s=(0.1,), baseline_s=(0.4,), verified=True,
        tools=timed(0.1).tools, date=timed(0.1).date,
    )  # fmt: skip
    assert (second.samples_s, second.baseline_s, second.effort, second.date) == ((0.3,), (), EFFORT, DAYS[1])


def test_claims_come_back_as_the_same_sessions() -> None:
    original = record(timed(0.1, baseline_s=(0.4,)), timed(0.3, date="2027-01-01", effort=EFFORT, accuracy="exact"))
    back = [record_from_claim(gemm(), tiled(), claim, origin=MEASURED) for claim in claims_from_record(original)]
    assert united(back[0], back[1]) == original


def test_a_claim_from_a_file_is_only_claimed() -> None:
    (claim,) = claims_from_record(record(timed(0.1)))
    assert record_from_claim(gemm(), tiled(), claim).origin == CLAIMED


def test_a_claim_for_other_threads_is_refused() -> None:
    (claim,) = claims_from_record(record(timed(0.1)))
    with pytest.raises(SpecError, match="measured with 2 threads, the task has 4"):
        record_from_claim(gemm(threads=4), tiled(), claim)


def test_a_failure_is_no_claim() -> None:
    broken = record(timed(0.1), failed=failed("wrong_answer", date="2027-01-01"))
    assert claims_from_record(broken) == ()
