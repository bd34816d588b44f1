"""What policies give for a task, whose answer it is, and what becomes of one whose tools have changed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs
import pytest

import autosched as at
from autosched.search import recheck as recheck_module
from autosched.search import tuner
from autosched.spec.claim import Claim, Failure, Tool
from autosched.store import tools as tools_module
from autosched.store.machine import this_machine
from autosched.store.records import MEASURED, Record
from pretended_bench import PretendedBench
from store_cases import timed

if TYPE_CHECKING:
    from pathlib import Path

TASK = at.get_task("gemv", N=32, K=32, threads=1)
LARGE = at.get_task("gemm", N=24, K=20, M=40, threads=1)
PLAIN = at.Schedule()
NEWER = (Tool(name="apache-tvm", version="9.9"),)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> PretendedBench:
    """What measures in place of this machine."""
    bench = PretendedBench()
    monkeypatch.setattr(tuner, "tune", functools.partial(tuner.tune, bench=bench))
    monkeypatch.setattr(recheck_module, "recheck", functools.partial(recheck_module.recheck, bench=bench))
    return bench


@pytest.fixture
def store(tmp_path: Path) -> at.Store:
    return at.Store(tmp_path / "store")


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on another TVM is installed."""
    monkeypatch.setattr(tools_module, "_programs", lambda: NEWER)


def elsewhere(machine: at.Machine, task: at.Task = TASK, schedule: at.Schedule = PLAIN, s: float = 0.001) -> Record:
    protocol = at.Protocol(threads=task.threads)
    measured = timed(s, tools=())
    return Record(task=task, schedule=schedule, machine=machine, protocol=protocol, measurements=(measured,))


OTHER = attrs.evolve(this_machine(), cores=999)


# --- policies ---------------------------------------------------------------------------------------------------------


def test_lookup_never_measures(store: at.Store, bench: PretendedBench) -> None:
    assert at.answer(TASK, "lookup", store, trials=8) is None
    assert bench.measured == []
    at.lookup_or_tune(TASK, store, trials=2)
    assert at.answer(TASK, "lookup", store) == at.lookup(TASK, store)


def test_a_default_that_nobody_has_timed(store: at.Store, bench: PretendedBench, tmp_path: Path) -> None:
    found = at.answer(TASK, "lookup-or-default", store)
    assert found is not None
    assert (found.source, found.schedule, found.origin) == ("default", at.default_schedule(TASK), "not measured")
    assert (found.latency_s, found.gflops, found.speedup, found.speedup_interval, found.samples) == (None,) * 4 + ((),)
    assert (found.drifted, bench.measured, store.path.exists()) == ((), [], False)
    at.save_spec(found, tmp_path / "default.json")
    assert at.load_spec(tmp_path / "default.json").claims == ()
    at.lookup_or_tune(TASK, store, trials=2)
    assert at.answer(TASK, "lookup-or-default", store) == at.lookup(TASK, store)


def test_tuning_by_policy_is_lookup_or_tune(store: at.Store, bench: PretendedBench) -> None:
    tuned = at.answer(LARGE, store=store, trials=4)
    assert isinstance(tuned, at.Result)
    assert len(bench.measured) == 4
    assert at.lookup_or_tune(LARGE, store, trials=4).schedule == tuned.schedule
    assert at.answer(LARGE, "lookup-or-tune", store, trials=4, threads=1) is not None
    assert len(bench.measured) == 4


def test_retune_measures_all_anew(store: at.Store, bench: PretendedBench) -> None:
    at.lookup_or_tune(LARGE, store, trials=6)
    first = list(bench.measured)
    bench.first = lambda _: 0.5
    bench.final = lambda _: 0.6
    again = at.answer(LARGE, "retune", store, trials=6)
    assert isinstance(again, at.Result)
    assert len(bench.measured) == 12
    assert set(first) & set(bench.measured[6:]), "the old times do not count"
    assert again.latency_s == 0.6, "nor do they win"
    assert min(len(record.measurements) for record in store.records(LARGE)) >= 2, "but nothing is lost"
    assert at.lookup_or_tune(LARGE, store, trials=6).source == "store"
    assert len(bench.measured) == 12


def test_retune_begins_with_the_old_winner(store: at.Store, bench: PretendedBench) -> None:
    old = at.lookup_or_tune(LARGE, store, trials=6).schedule
    begin = len(bench.measured)
    at.answer(LARGE, "retune", store, trials=2, method="random", seed=99)
    assert old in bench.measured[begin : begin + 2]


def test_forget_removes_the_task_alone(store: at.Store, bench: PretendedBench) -> None:
    at.lookup_or_tune(TASK, store, trials=2)
    at.lookup_or_tune(LARGE, store, trials=2)
    store.put(elsewhere(OTHER))
    assert at.answer(TASK, "forget", store) is None
    assert list(store.records(TASK)) == []
    assert at.lookup(LARGE, store) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "tune"}, "policy: unknown policy 'tune'; allowed: lookup, lookup-or-default, lookup-or-tune, "),
        ({"policy": "lookup", "match": "near"}, "match: unknown match 'near'; allowed: exact, model, caches, isa, "),
        ({"drift": "ignore"}, "drift: unknown policy for drift 'ignore'; allowed: trust, recheck, reject"),
        ({"policy": "lookup", "drift": "ignore"}, "drift: unknown policy for drift 'ignore'"),
    ],
)
def test_unknown_words_are_refused(store: at.Store, options: dict[str, str], message: str) -> None:
    with pytest.raises(at.SpecError, match=message):
        at.answer(TASK, store=store, **options)  # type: ignore[arg-type]


def test_unknown_options_are_refused(store: at.Store) -> None:
    with pytest.raises(TypeError, match="unknown option 'trial'; allowed: trials, seconds, "):
        at.answer(TASK, "lookup", store, trial=3)  # type: ignore[call-arg]


# --- other machines and layers ----------------------------------------------------------------------------------------


def test_other_machines_answer_under_their_label(store: at.Store) -> None:
    store.put(elsewhere(OTHER))
    assert at.lookup(TASK, store) is None
    found = at.lookup(TASK, store, match="portable")
    assert found is not None
    assert found.match != "exact"
    assert (found.origin, found.machine, found.layer) == ("claimed", OTHER, "user")
    own = at.lookup(TASK, store, machine=OTHER)
    assert own is not None
    assert (own.match, own.origin) == ("exact", MEASURED)


def test_what_is_best_elsewhere_is_tried_right_after_the_default(store: at.Store, bench: PretendedBench) -> None:
    store.put(elsewhere(OTHER))
    at.lookup_or_tune(TASK, store, trials=4)
    assert bench.measured[:2] == [at.default_schedule(TASK), PLAIN]


def test_a_projects_file_is_timed_once_and_never_believed(
    store: at.Store, bench: PretendedBench, tmp_path: Path
) -> None:
    project = tmp_path / "specs"
    project.mkdir()
    bench.first = lambda s: 0.5 if s == PLAIN else 0.1
    tuned = at.lookup_or_tune(LARGE, store, trials=3, project=project)
    claim = Claim(machine=this_machine(), protocol=at.Protocol(threads=1), samples_s=(1e-6,), verified=True)
    at.save_spec(at.SpecFile(task=LARGE, schedule=PLAIN, claims=(claim,)), project / "ours.json")
    found = at.lookup(LARGE, store, project=project)
    assert found is not None
    assert (found.layer, found.schedule) == ("user", tuned.schedule), "it was timed here"
    empty = at.lookup(LARGE, tmp_path / "other", project=project)
    assert empty is not None
    assert (empty.layer, empty.origin, empty.latency_s) == ("project", "claimed", 1e-6)
    begin = len(bench.measured)
    at.lookup_or_tune(LARGE, store, trials=3, project=project)
    assert PLAIN in bench.measured[begin:]
    begin = len(bench.measured)
    assert at.lookup_or_tune(LARGE, store, trials=3, project=project).source == "store"
    assert len(bench.measured) == begin


def test_a_projects_file_that_fails_is_not_tried_again(store: at.Store, bench: PretendedBench, tmp_path: Path) -> None:
    at.save_spec(at.SpecFile(task=LARGE, schedule=PLAIN), tmp_path / "ours.json")
    bench.first = lambda s: Failure(kind="crash", detail="") if s == PLAIN else 0.1
    at.lookup_or_tune(LARGE, store, trials=3, project=tmp_path)
    begin = len(bench.measured)
    assert at.lookup_or_tune(LARGE, store, trials=3, project=tmp_path).source == "store"
    assert len(bench.measured) == begin


# --- drift ------------------------------------------------------------------------------------------------------------


def test_a_result_says_what_has_changed(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = at.lookup_or_tune(LARGE, store, trials=3)
    assert tuned.drifted == ()
    then = {tool.name: tool.version for tool in tuned.record.measurements[-1].tools}
    assert then.keys() >= {"spec", "autosched"}
    upgrade(monkeypatch)
    found = at.lookup(LARGE, store)
    assert found is not None
    assert [(drift.field, drift.then, drift.now) for drift in found.drifted] == [
        ("apache-tvm", then["apache-tvm"], "9.9")
    ]
    assert found.origin == MEASURED


def test_a_lookup_takes_drift_as_it_is_told(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.lookup_or_tune(LARGE, store, trials=3)
    upgrade(monkeypatch)
    origins = {}
    for drift in ("trust", "recheck", "reject"):
        found = at.lookup(LARGE, store, drift=drift)
        origins[drift] = found and found.origin
    assert origins == {"trust": MEASURED, "recheck": "claimed", "reject": None}
    assert len(bench.measured) == 3


def test_rejecting_drift_leaves_what_was_measured_today(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = at.lookup_or_tune(LARGE, store, trials=3)
    upgrade(monkeypatch)
    slower = timed(0.9, baseline_s=(1.0,), tools=NEWER)
    record = attrs.evolve(tuned.record, schedule=PLAIN, measurements=(slower,))
    store.put(record)
    found = at.lookup(LARGE, store, drift="reject")
    assert found is not None
    assert (found.schedule, found.latency_s) == (PLAIN, 0.9)
    trusted = at.lookup(LARGE, store)
    assert trusted is not None
    assert trusted.schedule == tuned.schedule


def test_recheck_times_the_winner_beside_the_default_before_it_is_served(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = at.lookup_or_tune(LARGE, store, trials=6)
    default = at.default_schedule(LARGE)
    assert at.lookup_or_tune(LARGE, store, trials=6, drift="recheck").source == "store"
    assert len(bench.measured) == 6, "nothing has changed"
    upgrade(monkeypatch)
    bench.first = bench.final = lambda s: 0.5 if s == default else 0.7
    again = at.lookup_or_tune(LARGE, store, trials=6, drift="recheck")
    assert len(bench.measured) == 6, "nothing is searched for"
    assert {default, tuned.schedule} <= {schedule for retimed in bench.retimed[-3:] for schedule in retimed}
    assert (again.schedule, again.latency_s, again.drifted) == (default, 0.5, ()), "it has become slower"
    assert at.lookup(LARGE, store) == attrs.evolve(again, drift="trust"), "and stays aside"


def test_recheck_keeps_a_winner_that_still_wins(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = at.lookup_or_tune(LARGE, store, trials=6)
    upgrade(monkeypatch)
    again = at.lookup_or_tune(LARGE, store, trials=6, drift="recheck")
    assert again.schedule == tuned.schedule
    begin = len(bench.retimed)
    assert at.lookup_or_tune(LARGE, store, trials=6, drift="recheck").source == "store"
    assert len(bench.retimed) == begin, "once"


def test_rejecting_drift_searches_anew_once(
    store: at.Store, bench: PretendedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.lookup_or_tune(LARGE, store, trials=4)
    upgrade(monkeypatch)
    at.lookup_or_tune(LARGE, store, trials=4, drift="reject")
    assert len(bench.measured) >= 8
    begin = len(bench.measured)
    found = at.lookup_or_tune(LARGE, store, trials=4, drift="reject")
    assert (found.source, found.drifted) == ("store", ())
    assert len(bench.measured) == begin
