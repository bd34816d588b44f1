"""Which devices may be asked, and who is to blame where a trial on one fails: no device is needed for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.nn.registry import get_task
from autosched.search import fleet as fleets
from autosched.search import tracker
from autosched.search.fleet import Fleet, NoDeviceError
from autosched.search.reference import Reference
from autosched.search.remote_runner import RemoteRunner
from autosched.search.retries import LOSSES, REFUSALS, Ran, retried
from autosched.search.runner import Limits
from autosched.search.tracker import Offer, Remote
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import MeasureError, SpecError
from autosched.spec.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

# --- which devices may be asked ---------------------------------------------------------------------------------------

A, B = (Offer(host=f"10.0.0.{n}", port=9090, match_key="m") for n in (1, 2))
A2 = Offer(host="10.0.0.1", port=9091, match_key="m")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> list[Offer]:
    """What the tracker offers, in turn; then nothing."""
    listed: list[Offer] = []
    monkeypatch.setattr(tracker, "request", lambda *_: listed.pop(0) if listed else None)
    monkeypatch.setattr(tracker, "servers", lambda _: {"board": (A.address, B.address), "x": ("h:1",)})
    monkeypatch.setattr(fleets, "_PAUSE_S", 0.001)
    return listed


def new_fleet(key: str = "board", **options: Any) -> Fleet:
    return Fleet(Remote("t", 9190, key, patience_s=10.0), clock=Clock(), **options)


def test_a_device_that_fails_again_and_again_rests(offers: list[Offer]) -> None:
    clock = Clock()
    fleet = Fleet(Remote("t", 9190, "board", patience_s=100.0), rest_s=30.0, clock=clock)
    for _ in range(2):
        offers[:] = [A]
        assert fleet.acquire() == A
        fleet.release(A)
        fleet.blame(A.address, "it broke")
    offers[:] = [A, A, B]
    assert fleet.acquire() == B
    fleet.release(B)
    clock.now += 30
    offers[:] = [A]
    assert fleet.acquire() == A


def test_a_good_trial_makes_good_for_an_earlier_fault(offers: list[Offer]) -> None:
    fleet = new_fleet()
    for _ in range(2):
        fleet.blame(A.address, "it broke")
        fleet.trust(A.address)
    fleet.blame(A.address, "it broke")
    offers[:] = [A]
    assert fleet.acquire() == A


def test_those_to_avoid_are_left_alone(offers: list[Offer]) -> None:
    offers[:] = [A, A, B]
    assert new_fleet().acquire({A.address}) == B


def test_one_of_another_kind_is_never_asked_again(offers: list[Offer]) -> None:
    fleet = new_fleet(rest_s=0.0)
    fleet.exclude(A.address)
    fleet.blame(A.address, "again")
    fleet.blame(A.address, "and again")
    offers[:] = [A, A]
    with pytest.raises(NoDeviceError):
        fleet.acquire()


def test_two_servers_of_one_host_take_turns(offers: list[Offer]) -> None:
    fleet = new_fleet()
    offers[:] = [A]
    assert fleet.acquire() == A
    offers[:] = [A2]
    with pytest.raises(NoDeviceError):
        fleet.acquire(patience_s=0.5)
    fleet.release(A)
    offers[:] = [A2]
    assert fleet.acquire() == A2


def test_where_no_device_comes(offers: list[Offer]) -> None:
    fleet = new_fleet()
    fleet.blame(A.address, "it broke")
    with pytest.raises(NoDeviceError) as error:
        fleet.acquire()
    assert str(error.value) == (
        "no device of the key 'board' came from t:9190 in 10 s: the tracker knows 10.0.0.1:9090, 10.0.0.2:9090; the "
        "last fault was 10.0.0.1:9090: it broke; what was measured is stored: tune again to go on"
    )


def test_hosts_are_counted(offers: list[Offer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "servers", lambda _: {"board": (A.address, A2.address, B.address)})
    assert new_fleet().hosts() == 2


def test_a_key_of_nobody(offers: list[Offer]) -> None:
    with pytest.raises(SpecError) as error:
        new_fleet("nobody").check()
    assert str(error.value) == (
        "rpc.key: the tracker at t:9190 knows no device of the key 'nobody'; its keys: board, x; start one with: "
        "python -m tvm.exec.rpc_server --tracker t:9190 --key nobody"
    )


# --- who is to blame --------------------------------------------------------------------------------------------------

GOOD = (0.5, 0.5)
CRASH, HANG, WRONG, BUILD = (
    Failure(kind=kind, detail=kind) for kind in ("crash", "run_timeout", "wrong_answer", "build_error")
)


class Story:
    """What happens on which device, attempt after attempt; then no device is there."""

    def __init__(
        self, *ran: tuple[str | None, object], known: tuple[str, ...] = ("a:1", "b:1"), up: bool = True
    ) -> None:
        self._ran = list(ran)
        self._known, self._up = known, up
        self.avoided: list[frozenset[str]] = []
        self.blamed: list[str] = []

    def result(self) -> object:
        return retried([0], self._attempt, lambda: self._known, lambda a, _: self.blamed.append(a), lambda _: self._up)[
            0
        ]

    def _attempt(self, avoid: frozenset[str]) -> Ran:
        self.avoided.append(avoid)
        if not self._ran:
            raise NoDeviceError("nobody")
        address, found = self._ran.pop(0)
        if isinstance(found, str):
            return Ran(results={}, address=address, refused=found, is_other=found == "another machine")
        return Ran(results={0: found}, address=address)  # type: ignore[dict-item]


def test_what_went_well_counts() -> None:
    story = Story(("a:1", GOOD))
    assert story.result() == GOOD
    assert story.avoided == [frozenset()]


def test_what_does_not_build_needs_no_device() -> None:
    assert Story((None, BUILD)).result() == BUILD
    assert Story((None, CRASH)).result() == CRASH, "the compiler crashed, which no device can mend"


@pytest.mark.parametrize("fault", [CRASH, HANG])
def test_a_broken_session_is_made_again_elsewhere(fault: Failure) -> None:
    story = Story(("a:1", fault), ("b:1", GOOD))
    assert story.result() == GOOD
    assert story.avoided == [frozenset(), {"a:1"}]
    assert story.blamed == []


def test_who_breaks_several_sessions_is_a_failure() -> None:
    result = Story(("a:1", CRASH), ("b:1", HANG)).result()
    assert result == Failure(kind="run_timeout", detail="2 sessions broke: a:1: crash; b:1: run_timeout")


def test_who_takes_several_servers_along_is_a_failure() -> None:
    lost = [(f"{n}:1", CRASH) for n in "abc"]
    assert Story(*lost[: LOSSES - 1], ("d:1", GOOD), up=False).result() == GOOD
    result = Story(*lost, up=False).result()
    assert result == Failure(kind="crash", detail="3 sessions broke: a:1: crash; b:1: crash; c:1: crash")


def test_who_breaks_the_last_server_is_a_failure_if_that_listens_on() -> None:
    result = Story(("a:1", CRASH)).result()
    assert result == Failure(kind="crash", detail="1 session broke: a:1: crash; no device was free afterwards")
    with pytest.raises(NoDeviceError):
        Story(("a:1", CRASH), up=False).result()


def test_a_wrong_answer_is_asked_for_twice() -> None:
    story = Story(("a:1", WRONG), ("b:1", WRONG))
    assert story.result() == WRONG
    assert story.avoided == [frozenset(), {"a:1"}]
    assert story.blamed == []


def test_a_device_that_alone_is_wrong_is_blamed() -> None:
    story = Story(("a:1", WRONG), ("b:1", GOOD))
    assert story.result() == GOOD
    assert story.blamed == ["a:1"]


def test_a_wrong_answer_of_the_only_device_counts() -> None:
    assert Story(("a:1", WRONG), known=("a:1",)).result() == WRONG
    assert Story(("a:1", WRONG)).result() == WRONG, "the other one did not come"


def test_a_device_that_gives_no_session_says_nothing_of_the_candidate() -> None:
    assert Story(*[("a:1", "refused")] * (REFUSALS - 1), ("b:1", GOOD)).result() == GOOD
    with pytest.raises(MeasureError, match=f"no device could be used, tried {REFUSALS} times: a:1: refused"):
        Story(*[("a:1", "refused")] * REFUSALS).result()


def test_devices_of_another_kind_are_no_refusals() -> None:
    others = [(f"{n}:1", "another machine") for n in range(2 * REFUSALS)]
    assert Story(*others, ("b:1", GOOD)).result() == GOOD


class MeddledWorkers:
    """Says of each output that it is right; during the first comparison another candidate's output is kept."""

    def __init__(self) -> None:
        self.runner: RemoteRunner | None = None
        self.asked: list[tuple[str, int]] = []

    def answer(self, handle: object, request: dict[str, Any], *_: object) -> dict[str, Any]:
        assert self.runner is not None
        self.asked.append((request["op"], request["agreed"]))
        if len(self.asked) == 1:
            self.runner.agreed = 1
            self.runner.agreeing.append(Schedule())
        return {"first_s": 0.5, "disputed": None}


def test_who_was_compared_with_nothing_is_compared_again(tmp_path: Path) -> None:
    task = get_task("gemm", N=8, M=8, K=8, threads=1)
    workers = MeddledWorkers()
    workers.runner = runner = RemoteRunner(
        workers=workers, reference=Reference(task, tmp_path, whole_points=0).write(), protocol=Protocol(threads=1),
        cpus=(0,),
        limits=Limits(),
    )  # type: ignore[arg-type] # fmt: skip
    assert runner.verify(None, 0, Schedule()) == 0.5  # type: ignore[arg-type]
    assert workers.asked == [("verify", 0), ("verify", 1)]


@given(st.lists(st.tuples(st.sampled_from(["a:1", "b:1"]), st.sampled_from([GOOD, CRASH, HANG, WRONG, "no"]))))
def test_every_story_ends(events: list[tuple[str, object]]) -> None:
    story = Story(*events)
    try:
        result = story.result()
    except MeasureError:
        result = None
    assert len(story.avoided) <= LOSSES + REFUSALS + 2
    if isinstance(result, tuple):
        assert GOOD in [found for _, found in events]
