"""Peers of the benchmarks that search: what becomes of those that find nothing or are wrong, and what is kept."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
import tvm.topi
from tvm import te

from autosched.bench import contenders, reaching
from autosched.bench.commands import run_command
from autosched.bench.contenders import ANSOR_VARIABLE, PEERS, Contender, ansor_python, available_peers
from autosched.bench.duel import first_as_fast
from autosched.bench.match import PEAK, TUNED, Match, _opened, make_order, play
from autosched.bench.peer_searches import PeerSearch, search_by
from autosched.bench.peers.te_operators import tensors
from autosched.bench.suite import Ground, Options, open_ground, run_suite
from autosched.bench.sweep import DEFAULT, Entry, all_peer_rows, peer_rows
from autosched.bench.tuned import Tuned, untuned
from autosched.bench.works import Work, work
from autosched.search.progress import SearchStarted, TrialEnded
from autosched.spec.claim import Failure
from autosched.spec.evaluate import evaluate
from autosched.spec.schedule import Schedule
from autosched.spec.spec_file import load_spec
from autosched.spec.tvm_te import workload_from_te

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCT = work("gemm_8", "gemm", N=8, K=8, M=8)

FAKE = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write("started\\n")
import numpy as np
for line in sys.stdin:
    message = json.loads(line)
    if message["do"] == "search":
        if {kind!r} == "dies":
            sys.exit(7)
        answer = dict(trials=message["trials"], wall_s=100.0, version="0", is_found={kind!r} != "nothing")
    elif message["do"] == "open":
        if {kind!r} == "does not load":
            sys.exit(8)
        order = message["order"]
        answer = dict(version="0", threads=dict(best=1))
    elif message["do"] == "time":
        answer = dict(seconds=1.0)
    else:
        a, b = (np.load(f["path"]).view("float32").reshape(f["shape"]) for f in order["inputs"])
        np.save(message["path"], a @ b + ({kind!r} == "wrong"))
        answer = dict()
    print(json.dumps(answer), flush=True)
"""
"""A peer that searches, in place of the interpreter that runs one: it speaks as `autosched.bench.child` does."""


def fake_peer(folder: Path, kind: str) -> Contender:
    """A peer that finds ``nothing``, ``dies``, or finds a kernel that ``does not load``, is ``wrong`` or ``right``."""
    script = folder / "fake"
    script.write_text(FAKE.format(python=sys.executable, log=str(folder / "log"), kind=kind), encoding="utf-8")
    script.chmod(0o755)
    return Contender(name="fake", module="fake", operators=("gemm",), python=str(script), searches=True)


def starts(folder: Path) -> int:
    """How many processes of the fake peer there were."""
    return len((folder / "log").read_text(encoding="utf-8").splitlines())


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A place for quick matches of one thread, with a folder for what is kept."""
    options = Options(threads=1, against=(), quick=True, keep=str(tmp_path / "kept"))
    with open_ground(options, lambda _: None) as found:
        yield found


# --- searches ---------------------------------------------------------------------------------------------------------


def test_a_peer_that_finds_nothing_has_no_kernel(ground: Ground, tmp_path: Path) -> None:
    found = search_by(ground, fake_peer(tmp_path, "nothing"), PRODUCT, 4)
    assert found.peer is None
    assert (found.trials, found.wall_s, found.why) == (4, 100.0, "it found nothing in 4 trials")


def test_a_peer_that_dies_is_reported(ground: Ground, tmp_path: Path) -> None:
    found = search_by(ground, fake_peer(tmp_path, "dies"), PRODUCT, 4)
    assert found.peer is None
    assert found.why.startswith("contender 'fake' ended with status 7")
    assert found.trials == 0
    search_by(ground, fake_peer(tmp_path, "dies"), PRODUCT, 4)
    assert starts(tmp_path) == 2, "what did not end is not kept"


def test_what_was_found_is_kept_for_the_same_question(ground: Ground, tmp_path: Path) -> None:
    peer = fake_peer(tmp_path, "right")
    first = search_by(ground, peer, PRODUCT, 4)
    second = search_by(ground, peer, PRODUCT, 4)
    assert starts(tmp_path) == 1
    assert first.kept_of is None
    assert second == attrs.evolve(first, kept_of=second.kept_of)
    assert second.detail.startswith("4 trials, TVM 0, kept of 20")
    assert any("gemm_8: what fake found was kept in" in note for note in ground.notes)
    search_by(ground, peer, PRODUCT, 5)
    search_by(ground, peer, work("gemm_8", "gemm", N=8, K=8, M=9), 4)
    assert starts(tmp_path) == 3


@pytest.mark.parametrize("damage", ["{", '{"found": 1}', None])
def test_what_is_damaged_or_from_another_machine_is_searched_again(
    ground: Ground, tmp_path: Path, damage: str | None
) -> None:
    peer = fake_peer(tmp_path, "right")
    search_by(ground, peer, PRODUCT, 4)
    (path,) = (tmp_path / "kept").rglob("search.json")
    if damage is None:
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept["circumstances"]["machine"]["model"] += 1
        damage = json.dumps(kept)
    path.write_text(damage, encoding="utf-8")
    assert search_by(ground, peer, PRODUCT, 4).kept_of is None
    assert starts(tmp_path) == 2


# --- matches and rows -------------------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("wrong", r"fake gives wrong numbers"),
        pytest.param("does not load", "contender 'fake' ended with status 8", marks=pytest.mark.slow),
        pytest.param("right", "", marks=pytest.mark.slow),
    ],
)
def test_a_kernel_that_a_peer_found_ends_no_match(ground: Ground, tmp_path: Path, kind: str, why: str) -> None:
    found = search_by(ground, fake_peer(tmp_path, kind), PRODUCT, 4)
    assert found.peer is not None
    match = play(ground, PRODUCT, {TUNED: untuned(ground, PRODUCT).spec}, (found.peer,))
    assert match.has(TUNED)
    assert match.has("fake") is not bool(why)
    assert match.left_out.get("fake", "").startswith(why)


class Watched:
    """A contender that computes what is expected, and keeps a log of what was asked."""

    name, searches = "watched", False

    def __init__(self, reference: Path) -> None:
        self.reference = reference
        self.log: list[str] = []

    def open(self, order: Any, burst_s: float) -> dict[str, Any]:
        self.log.append("open")
        return {"version": "0", "threads": {"a": 1, "b": 1}}

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.log.append(f"{message['do']} {message['kernel']}")
        np.save(message["path"], np.load(self.reference / "expected0.npy"))
        return {}

    def settle(self) -> bool:
        self.log.append("idle")
        return True


def test_who_was_checked_is_idle_before_others_are_timed(ground: Ground) -> None:
    order, reference = make_order(ground, PRODUCT, {})
    child = Watched(reference)
    seats = _opened(ground, PRODUCT, child, order, reference)  # type: ignore[arg-type]
    assert [seat.label for seat in seats] == ["watched", "watched b"]
    assert child.log == ["open", "save a", "save b", "idle"]


def entry(tmp_path: Path, name: str, *searches: PeerSearch, left_out: str = "", **seconds: float) -> Entry:
    """A work whose peers' kernels took so long, the tuned kernel one second and its search 10 s."""
    each = Work(name=name, op=PRODUCT.op, args=PRODUCT.args)
    samples = {label: (s, s) for label, s in {TUNED: 1.0, DEFAULT: 1.25, PEAK: 0.5, **seconds}.items()}
    tuned = Tuned(work=each, spec=tmp_path, source="search", trials=8, wall_s=10.0)
    match = Match(
        work=each, samples=samples, threads={}, peak_gflop=1.0, left_out={"ansor": left_out} if left_out else {}
    )
    return Entry(tuned=tuned, match=match, searches=searches)


def test_rows_of_peers_that_search(tmp_path: Path) -> None:
    ansor = PeerSearch(name="ansor", peer=PEERS["ansor"], trials=64, wall_s=100.0, version="0.19.0")
    first = entry(tmp_path, "a", ansor, ansor=2.0)
    assert [(row.name, row.figure, row.met) for row in peer_rows(first)] == [
        ("a: ansor, search", 100.0, None), ("a: times ansor", 2.0, True), ("a: our search, of ansor's", 0.1, True),
    ]  # fmt: skip
    nothing = entry(tmp_path, "b", attrs.evolve(ansor, peer=None, trials=0, why="it ended"))
    assert [(row.name, row.figure, row.detail) for row in peer_rows(nothing)] == [("b: times ansor", None, "it ended")]
    wrong = entry(tmp_path, "c", ansor, left_out="wrong numbers")
    assert [(row.name, row.figure, row.detail) for row in peer_rows(wrong)][1:] == [
        ("c: times ansor", None, "wrong numbers")
    ]
    mean, least = all_peer_rows([first, nothing, wrong])
    assert (mean.name, mean.figure, mean.met, mean.detail) == ("all: times ansor, mean", 2.0, True, "of 1 works")
    assert (least.figure, least.detail) == (2.0, "a")


def test_the_moment_is_of_the_first_schedule_that_is_as_fast() -> None:
    samples = {"metaschedule": (1.0, 3.0, 1.0), "1": (2.0, 6.0, 0.9), "2": (1.0, 3.0, 4.0), "3": (0.5, 1.0, 0.5)}
    match = Match(work=PRODUCT, samples=samples, threads={}, peak_gflop=1.0)
    assert first_as_fast(match, {"1": 1.5, "2": 2.5, "3": 3.5}, "metaschedule") == 2.5
    assert first_as_fast(match, {"1": 1.5}, "metaschedule") is None


def test_what_was_best_so_far_is_written_with_its_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = PRODUCT.task(1)
    outcomes: list[float | Failure] = [3.0, Failure(kind="crash", detail=""), 4.0, 2.0]

    def pretended(*_args: Any, watch: Any, **_options: Any) -> None:
        watch(SearchStarted(known=0, total=4))
        for number, outcome in enumerate(outcomes):
            watch(TrialEnded(number=number, total=4, schedule=Schedule(), outcome=outcome, best_s=None))

    monkeypatch.setattr(reaching, "lookup_or_tune", pretended)
    moments = reaching.improvements(task, tmp_path, 4, 1.0)
    assert list(moments) == ["best-00.json", "best-01.json"]
    assert 0 <= moments["best-00.json"] <= moments["best-01.json"] < 10
    assert load_spec(tmp_path / "best-01.json").task.identity == task.identity


# --- who they are -----------------------------------------------------------------------------------------------------


def test_ansor_has_a_python_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ANSOR_VARIABLE, str(tmp_path / "python"))
    assert ansor_python() == str(tmp_path / "python")
    monkeypatch.delenv(ANSOR_VARIABLE)
    monkeypatch.chdir(tmp_path)
    assert ansor_python() == str(tmp_path / ".ansor" / "bin" / "python")
    monkeypatch.setitem(contenders.PEERS, "ansor", attrs.evolve(PEERS["ansor"], python=ansor_python()))
    assert available_peers(["ansor"]) == (
        (),
        ("ansor is not installed, its rows are left out: make ansor, or name its Python in AUTOSCHED_ANSOR",),
    )


@pytest.mark.parametrize(
    "each",
    [
        work("product", "gemm", N=6, K=5, M=7),
        work("layer", "conv2d", N=1, C=3, H=9, W=9, K=4, R=3, S=3, stride=2, padding=1),
    ],
    ids=lambda each: each.name,
)
def test_peers_are_given_the_same_operator(each: Work) -> None:
    task = each.task(1)
    shapes = [list(buffer.shape) for buffer in task.workload.inputs]
    order: Any = {"op": each.op, "args": each.all_args(), "inputs": [{"shape": shape} for shape in shapes]}
    other = workload_from_te(tensors(order, te, tvm.topi))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, dtype="float32") for shape in shapes]
    results = []
    for workload in (task.workload, other):
        names = [buffer.name for buffer in workload.inputs]
        found = evaluate(workload, dict(zip(names, arrays, strict=True)))
        results.append(found[workload.outputs[0]])
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_what_peers_have_no_words_for_is_refused() -> None:
    args = work("layer", "conv2d", N=1, C=4, H=9, W=9, K=4, R=3, S=3, groups=2).all_args()
    order: Any = {"op": "conv2d", "args": args, "inputs": [{"shape": [1, 4, 9, 9]}, {"shape": [4, 2, 3, 3]}]}
    with pytest.raises(ValueError, match="is not written in TE here; allowed: gemm, and conv2d without groups"):
        tensors(order, te, tvm.topi)


# --- whole suites -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_suite_goes_on_without_a_peer_that_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contenders.PEERS, "fake", fake_peer(tmp_path, "nothing"))
    report = run_suite("gemm", Options(threads=1, trials=3, against=("numpy", "fake"), quick=True), lambda _: None)
    rows = {row.name: row for row in report.rows}
    assert rows["gemm_32: times fake"].figure is None
    assert rows["gemm_32: times fake"].detail == "it found nothing in 4 trials"
    assert rows["gemm_32: numpy"].figure is not None
    assert rows["all: search"].figure is not None


@pytest.mark.slow
def test_metaschedule_searches_and_is_timed() -> None:
    pytest.importorskip("xgboost")
    ran = run_command(("bench", "gemm", "--quick", "--trials", "3", "--against", "metaschedule", "--json"))
    rows = {row["name"]: row for row in ran.json()["rows"]}
    assert rows["gemm_32: metaschedule, search"]["detail"].startswith("4 trials, TVM 0.")
    assert rows["gemm_32: times metaschedule"]["figure"] > 0
    assert "gemm_32: as fast as metaschedule's 8 trials" in rows


@pytest.mark.slow
@pytest.mark.skipif(not os.access(ansor_python(), os.X_OK), reason="needs Ansor: make ansor")
def test_ansor_searches_and_is_timed() -> None:
    ran = run_command(("bench", "yolo", "--quick", "--trials", "3", "--against", "ansor", "--json"))
    rows = {row["name"]: row for row in ran.json()["rows"]}
    assert rows["c1: ansor, search"]["detail"].startswith("4 trials, TVM 0.19")
    assert rows["c1: times ansor"]["figure"] > 0
    assert rows["all: times ansor, mean"]["figure"] > 0
