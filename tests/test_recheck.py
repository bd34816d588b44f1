"""Rechecks and verified claims, with a bench that is told how long everything takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

import autosched as at
from autosched.search import recheck as rechecking
from autosched.search import verify_claims as verifying
from autosched.search.default import default_schedule
from autosched.search.recheck import FAILED, HOLDS, LIFTED, QUARANTINED, SLOWER, TIMED, recheck
from autosched.search.verify_claims import verify_claims
from autosched.spec.claim import Failure, Protocol
from autosched.spec.schedule import Nest, Schedule
from autosched.store.exporting import export_store
from autosched.store.importing import import_files, rebuild_store
from autosched.store.machine import this_machine
from autosched.store.records import CLAIMED, MEASURED, VERIFIED, Record
from autosched.store.store import Store
from cli_calls import call
from pretended_bench import SMALL, PretendedBench
from store_cases import EFFORT, timed

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.spec.claim import Machine

HERE = this_machine()
THERE = attrs.evolve(HERE, model=HERE.model + 1)
DEFAULT = default_schedule(SMALL)
OUTPUT = SMALL.workload.outputs[0]


def schedule(number: int) -> Schedule:
    return Schedule(nests=(Nest(stage=OUTPUT, unroll_limit=number),))


FAST, SECOND = schedule(2), schedule(3)


def known(
    made: Schedule, seconds: float, default_s: float = 0.004, machine: Machine = HERE, **changes: object
) -> Record:
    """A record of a session of before, in which the default took `default_s`."""
    measurement = timed(*[seconds] * 7, baseline_s=(default_s,) * 7, effort=EFFORT, **changes)
    return Record(task=SMALL, schedule=made, machine=machine, protocol=Protocol(threads=1), measurements=(measurement,))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for record in (known(DEFAULT, 0.004), known(FAST, 0.001), known(SECOND, 0.002)):
        store.put(record)
    return store


def taking(times: dict[Schedule, float | Failure]) -> PretendedBench:
    return PretendedBench(lambda made: times[made])


def served(store: Store, machine: Machine = HERE) -> Record:
    found = store.best(SMALL, machine)
    assert found is not None
    return found


def test_what_is_as_fast_as_it_was_holds(store: Store) -> None:
    bench = taking({DEFAULT: 0.008, FAST: 0.002})  # the machine is slower, not the schedule
    (found,) = recheck(SMALL, store, bench=bench)
    assert (found.schedule, found.verdict, found.speedup, found.before_speedup, found.drift) == (FAST, HOLDS, 4, 4, 1)
    assert bench.retimed == [[DEFAULT, FAST]]
    assert served(store).schedule == FAST
    assert len(served(store).measurements) == 2
    assert served(store).last is not None
    assert served(store).last.effort == EFFORT, "how it was found is still known"


def test_what_got_slower_than_another_is_set_aside_until_it_is_fast_again(store: Store) -> None:
    slow = taking({DEFAULT: 0.004, FAST: 0.003, SECOND: 0.002})
    (found,) = recheck(SMALL, store, bench=slow)
    assert (found.schedule, found.verdict) == (FAST, QUARANTINED)
    assert found.reason == "was 4.00 times as fast as the default, is 1.33 times"
    assert slow.retimed == [[DEFAULT, FAST], [DEFAULT, FAST, SECOND]]
    kept = store.get(SMALL, FAST)
    assert kept is not None
    assert (kept.quarantine, kept.latency_s, len(kept.measurements)) == (found.reason, None, 3)
    assert kept.slowed is not None
    assert kept.slowed.date > "2026"
    assert served(store).schedule == SECOND

    found, hidden = recheck(SMALL, store, bench=taking({DEFAULT: 0.001, FAST: 0.003, SECOND: 0.0005}))
    assert (found.verdict, hidden.verdict, hidden.schedule) == (HOLDS, QUARANTINED, FAST)
    again = recheck(SMALL, store, bench=taking({DEFAULT: 0.004, FAST: 0.0001, SECOND: 0.002}))
    assert [each.verdict for each in again] == [HOLDS, LIFTED]
    assert served(store).schedule == FAST
    assert served(store).latency_s == 0.0001, "what it took before is worth nothing any more"


def test_what_got_slower_and_is_still_the_fastest_is_served_with_its_new_time(store: Store) -> None:
    (found,) = recheck(SMALL, store, bench=taking({DEFAULT: 0.004, FAST: 0.0015, SECOND: 0.002}))
    assert (found.verdict, found.latency_s, found.before_s) == (SLOWER, 0.0015, 0.001)
    assert found.drift == pytest.approx(1.5)
    assert served(store).schedule == FAST
    assert served(store).samples == (0.0015,) * 11, "only the times of the last session count"


def test_the_default_may_be_the_fastest_now(store: Store) -> None:
    (found,) = recheck(SMALL, store, bench=taking({DEFAULT: 0.001, FAST: 0.003, SECOND: 0.002}))
    assert found.verdict == QUARANTINED
    assert served(store).schedule == DEFAULT
    assert [each.verdict for each in recheck(SMALL, store, bench=taking({DEFAULT: 0.001, FAST: 0.003}))] == [
        HOLDS, QUARANTINED,
    ]  # fmt: skip


def test_who_takes_its_place_is_looked_at_too(store: Store) -> None:
    for number in range(4, 12):
        store.put(known(schedule(number), 0.0011 + number * 1e-5))
    times = {schedule(number): 0.01 for number in range(2, 9)} | {schedule(number): 0.002 for number in range(9, 12)}
    found = recheck(SMALL, store, bench=taking({DEFAULT: 0.004, **times}))
    assert all(each.verdict in (QUARANTINED, SLOWER) for each in found)
    assert served(store).latency_s == 0.002


def test_what_fails_now_is_not_served(store: Store) -> None:
    wrong = Failure(kind="wrong_answer", detail="C[0] is 1, expected 2")
    (found, other) = recheck(SMALL, store, bench=taking({DEFAULT: 0.004, FAST: wrong, SECOND: 0.002}))
    assert (found.verdict, found.reason, other.verdict) == (FAILED, "wrong_answer: C[0] is 1, expected 2", HOLDS)
    assert served(store).schedule == SECOND


def test_where_the_default_fails_too_nobody_is_to_blame(store: Store) -> None:
    broken = Failure(kind="build_error", detail="no compiler")
    assert [each.verdict for each in recheck(SMALL, store, bench=PretendedBench(lambda _: broken))] == [FAILED]
    assert served(store).schedule == FAST


@pytest.mark.system
def test_the_default_is_that_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = at.get_task("conv_transpose1d", N=1, C=16, L=32, K=16, R=5, stride=3, threads=1)
    default = at.default_schedule(task)
    assert default.algorithm is not None, "another way is the better one here"
    with Store(tmp_path) as store:
        session = timed(*[0.001] * 7, baseline_s=(0.001,) * 7, effort=EFFORT)
        store.put(attrs.evolve(known(default, 0.001), task=task, measurements=(session,)))
        bench = PretendedBench(lambda _: 0.001)
        monkeypatch.setitem(recheck.__kwdefaults__, "bench", bench)
        (found,) = at.recheck(store)
    assert (found.verdict, bench.retimed) == (HOLDS, [[default]])


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1])
def test_the_tolerance_is_a_part(store: Store, tolerance: float) -> None:
    with pytest.raises(at.SpecError, match=r"tolerance: found .*; allowed: a part between 0 and 1"):
        at.recheck(store, tolerance=tolerance)


def test_of_an_empty_store_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert at.recheck(tmp_path / "none") == ()
    assert at.verify(tmp_path / "none") == ()
    assert recheck(SMALL, Store(tmp_path / "none"), bench=taking({})) == ()


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", [HERE, THERE], ids=["same machine", "another"])
def test_from_claimed_to_verified_to_measured_here(tmp_path: Path, machine: Machine) -> None:
    theirs, ours = Store(tmp_path / "theirs"), Store(tmp_path / "ours")
    theirs.put(known(FAST, 0.001, machine=machine))
    export_store(theirs, tmp_path / "specs")
    assert import_files(ours, [tmp_path / "specs"]).records == 1
    found = at.lookup(SMALL, ours, machine=machine)
    assert found is not None
    assert (found.origin, found.latency_s) == (CLAIMED, 0.001)

    (compared,) = verify_claims(SMALL, ours, bench=PretendedBench(lambda _: 0.1))
    assert compared.failure is None
    found = at.lookup(SMALL, ours, machine=machine)
    assert found is not None
    assert (found.origin, found.latency_s) == (VERIFIED, 0.001)
    assert verify_claims(SMALL, ours, bench=PretendedBench(lambda _: 0.1)) == (), "once is enough"
    export_store(ours, tmp_path / "all.jsonl", everything=True)
    with Store(tmp_path / "again") as again:
        rebuild_store(again, [tmp_path / "all.jsonl"])
        assert served(again, machine) == served(ours, machine)

    (rechecked,) = recheck(SMALL, ours, bench=taking({DEFAULT: 0.004, FAST: 0.003}))
    assert (rechecked.verdict, rechecked.before_s, rechecked.latency_s) == (TIMED, 0.001, 0.003)
    found = at.lookup(SMALL, ours)
    assert found is not None
    assert (found.origin, found.latency_s, found.schedule) == (MEASURED, 0.003, FAST)


def test_a_claim_of_wrong_numbers_is_never_served(tmp_path: Path) -> None:
    ours = Store(tmp_path / "ours")
    ours.put(known(FAST, 1e-9, origin=CLAIMED))
    ours.put(known(SECOND, 0.002, origin=CLAIMED, verified=False))
    wrong = Failure(kind="wrong_answer", detail="C[0] is 1, expected 2")
    compared = verify_claims(SMALL, ours, bench=taking({FAST: wrong, SECOND: 0.1}))
    assert {each.record.schedule: each.failure for each in compared} == {FAST: wrong, SECOND: None}
    assert served(ours).schedule == SECOND
    ours.put(known(FAST, 1e-9, origin=CLAIMED, date="2027-01-01"))
    assert served(ours).schedule == SECOND, "saying it again does not help"


def test_what_does_not_run_here_may_run_there(tmp_path: Path) -> None:
    ours = Store(tmp_path / "ours")
    ours.put(known(FAST, 0.001, machine=THERE, origin=CLAIMED))
    crash = Failure(kind="crash", detail="SIGILL")
    (compared,) = verify_claims(SMALL, ours, bench=taking({FAST: crash}))
    assert compared.failure == crash
    assert served(ours, THERE).origin == CLAIMED


def test_a_verified_claim_goes_before_a_faster_one_that_nobody_looked_at(tmp_path: Path) -> None:
    ours = Store(tmp_path / "ours")
    ours.put(known(SECOND, 0.002, origin=CLAIMED))
    verify_claims(SMALL, ours, bench=PretendedBench(lambda _: 0.1))
    ours.put(known(FAST, 0.001, origin=CLAIMED))
    assert served(ours).schedule == SECOND


# --- the command line -------------------------------------------------------------------------------------------------


def test_recheck_prints_what_it_found(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = taking({DEFAULT: 0.004, FAST: 0.003, SECOND: 0.002})
    monkeypatch.setattr(rechecking.recheck, "__kwdefaults__", {**rechecking.recheck.__kwdefaults__, "bench": bench})
    done = call("recheck", "--store", store.path)
    assert done.exit_code == 0
    assert SMALL.op is not None
    assert done.stdout == (
        f"{SMALL.op.text}: quarantined; 3 ms, was 1 ms; 1.33 times the default, was 4.00; "
        "was 4.00 times as fast as the default, is 1.33 times\n"
    )
    done = call("recheck", "gemv", "--store", store.path, "--json")
    printed = json.loads(done.stdout)
    assert printed["quarantined"] == 1
    assert [each["verdict"] for each in printed["rechecked"]] == ["holds", "quarantined"]
    assert call("recheck", "conv2d", "--store", store.path).stderr.startswith("nothing to recheck in ")


def test_verify_prints_what_it_found(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(known(schedule(9), 0.001, origin=CLAIMED))
    bench = PretendedBench(lambda _: Failure(kind="wrong_answer", detail="C[0] is 1, expected 2"))
    monkeypatch.setattr(verifying.verify_claims, "__kwdefaults__", {"machine": None, "bench": bench})
    done = call("verify", "--store", store.path)
    assert done.exit_code == 1
    assert SMALL.op is not None
    assert done.stdout == f"{SMALL.op.text}: wrong_answer: C[0] is 1, expected 2\n"
    done = call("verify", "--store", store.path, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"compared": []}), "it is known to be wrong"
