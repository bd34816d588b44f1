"""The parts of measuring on devices that need none: the tracker's protocol, who may be asked, who is to blame."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autosched.cli import main
from autosched.nn.registry import get_task
from autosched.search import devices, tracker
from autosched.search import fleet as fleets
from autosched.search.device import Device, device_from_files
from autosched.search.fleet import Fleet, NoDeviceError
from autosched.search.pinning import cpus_for
from autosched.search.processes import descendants
from autosched.search.reference import Reference
from autosched.search.remote_runner import RemoteRunner
from autosched.search.retries import LOSSES, REFUSALS, Ran, retried
from autosched.search.runner import Limits
from autosched.search.tracker import Offer, Remote, TrackerError, remote_from_text
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import MeasureError, SpecError
from autosched.spec.schedule import Schedule
from autosched.spec.task import Target, target_from_value
from autosched.store.machine import this_machine
from rpc_cluster import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# --- the tracker ------------------------------------------------------------------------------------------------------

MAGIC = struct.pack("<i", 0x2F271)


class PretendedTracker:
    """Answers a connection's one question as it is told to."""

    def __init__(self, answer: Callable[[Any], object], magic: bytes = MAGIC) -> None:
        self._answer, self._magic = answer, magic
        self.asked: list[Any] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.remote = Remote("127.0.0.1", self._socket.getsockname()[1], "board", patience_s=0.3)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._socket.accept()
            except OSError:
                return
            with conn:
                assert conn.recv(4) == MAGIC
                conn.sendall(self._magic)
                if self._magic != MAGIC:
                    continue
                (length,) = struct.unpack("<i", conn.recv(4))
                self.asked.append(json.loads(conn.recv(length)))
                found = self._answer(self.asked[-1])
                if isinstance(found, bytes):
                    conn.sendall(found)
                elif found is None:
                    time.sleep(1)
                else:
                    text = json.dumps(found).encode()
                    conn.sendall(struct.pack("<i", len(text)) + text)


@pytest.fixture
def pretended() -> Iterator[Callable[..., PretendedTracker]]:
    made: list[PretendedTracker] = []

    def make(answer: object, magic: bytes = MAGIC) -> PretendedTracker:
        made.append(PretendedTracker(lambda _: answer, magic))
        return made[-1]

    yield make
    for each in made:
        each.close()


SUMMARY = [0, {"queue_info": {}, "server_info": [
    {"key": "server:board", "addr": ["10.0.0.2", 9091]}, {"key": "server:board", "addr": ["10.0.0.1", 9090]},
    {"key": "server:other", "addr": ["10.0.0.3", 9090]},
]}]  # fmt: skip


def test_who_is_there(pretended: Callable[..., PretendedTracker]) -> None:
    made = pretended(SUMMARY)
    assert tracker.servers(made.remote) == {"board": ("10.0.0.1:9090", "10.0.0.2:9091"), "other": ("10.0.0.3:9090",)}
    assert made.asked == [[6]]


def test_an_offer(pretended: Callable[..., PretendedTracker]) -> None:
    made = pretended([0, ["10.0.0.1", 9090, "board:0.25"]])
    assert tracker.request(made.remote, 5) == Offer(host="10.0.0.1", port=9090, match_key="board:0.25")
    assert made.asked == [[4, "board", "", 1]]


def test_an_offer_is_not_waited_for_longer_than_asked(pretended: Callable[..., PretendedTracker]) -> None:
    made = pretended(None)
    begin = time.monotonic()
    assert tracker.request(made.remote, 0.2) is None
    assert tracker.request(made.remote, 60, lambda: False) is None
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([-1, "no"], "answers .* as no TVM tracker that is known"),
        ([0, {"queue_info": {}}], "speaks as no TVM tracker that is known"),
        (struct.pack("<i", 2**30), "announces a message of 1073741824 bytes"),
        (struct.pack("<i", 3) + b"{{{", "is no JSON"),
        (b"", "closed the connection"),
    ],
)
def test_what_is_no_answer(pretended: Callable[..., PretendedTracker], answer: object, words: str) -> None:
    with pytest.raises(TrackerError, match=words):
        tracker.servers(pretended(answer).remote)


def test_what_is_no_offer(pretended: Callable[..., PretendedTracker]) -> None:
    with pytest.raises(TrackerError, match="it offers"):
        tracker.request(pretended([0, ["10.0.0.1"]]).remote, 1)


def test_what_is_no_tracker(pretended: Callable[..., PretendedTracker]) -> None:
    with pytest.raises(TrackerError, match=r"what answers at 127.0.0.1:\d+ is no TVM tracker"):
        tracker.servers(pretended(None, magic=b"HTTP").remote)


def test_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        assert tracker.is_up(address)
    assert not tracker.is_up(address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1:9190", ("10.0.0.1", 9190)), ("a-board:1", ("a-board", 1)), ("[::1]:9190", ("::1", 9190))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    remote = remote_from_text(text, "k")
    assert (remote.host, remote.port) == expected


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("board", "k", "rpc: found 'board'; allowed: HOST:PORT of a TVM RPC tracker"),
        (":9190", "k", "rpc: found ':9190'"),
        ("board:x", "k", "rpc: found 'board:x'"),
        ("board:70000", "k", "rpc: found port 70000; allowed: 1 to 65535"),
        ("board:9190", "two words", "rpc.key: found 'two words'; allowed: a word without spaces"),
        ("board:9190", "", "rpc.key: found ''"),
    ],
)
def test_what_is_no_address(text: str, key: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        remote_from_text(text, key)
    assert str(error.value).startswith(words)


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
        workers=workers, reference=Reference(task, tmp_path, whole_points=0), protocol=Protocol(threads=1), cpus=(0,),
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


# --- what a device is -------------------------------------------------------------------------------------------------


def read_here(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()[: 2**16]
    except OSError:
        return None


def test_a_device_is_read_from_its_files() -> None:
    found = device_from_files(read_here, "znver4", f"{this_machine().arch}-conda-linux-gnu")
    assert found.machine == this_machine()
    assert found.cpus == cpus_for(len(found.cpus))


def test_a_device_without_linux_is_refused() -> None:
    with pytest.raises(MeasureError, match="only devices with Linux can be measured on"):
        device_from_files(lambda _: None, "cpu", "x86_64-windows-msvc")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("llvm", {"mcpu": "cortex-a72", "mtriple": "aarch64-linux-gnu"}),
        ({"kind": "llvm", "num-cores": 2}, {"mcpu": "cortex-a72", "mtriple": "aarch64-linux-gnu", "num-cores": 2}),
        ({"kind": "llvm", "mcpu": "cortex-a53"}, {"mcpu": "cortex-a53", "mtriple": "aarch64-linux-gnu"}),
        ({"kind": "llvm", "mtriple": "aarch64-none-elf"}, {"mtriple": "aarch64-none-elf"}),
    ],
)
def test_code_is_made_for_the_device(asked: object, expected: dict[str, object]) -> None:
    device = Device(machine=this_machine(), cpu="cortex-a72", triple="aarch64-linux-gnu", cpus=(0,))
    target = device.target(target_from_value(asked))
    assert {option.name: option.value for option in target.options} == expected
    assert target == Target(kind="llvm", options=tuple(sorted(target.options, key=lambda option: option.name)))


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rpc", "127.0.0.1:9190"], "found --rpc alone; give both --rpc HOST:PORT and --rpc-key KEY"),
        (["--rpc-key", "board"], "found --rpc-key alone; give both --rpc HOST:PORT and --rpc-key KEY"),
        (["--rpc", "here", "--rpc-key", "k"], "rpc: found 'here'; allowed: HOST:PORT of a TVM RPC tracker"),
    ],
)
def test_half_a_place_is_refused(options: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["tune", "gemm", "N=8", "M=8", "K=8", *options])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"autosched: {words}")
    assert done.stderr.count("\n") == 1


def test_a_tracker_that_is_not_there() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = CliRunner().invoke(main, ["tune", "gemm", "N=8", "M=8", "K=8", "--rpc", address, "--rpc-key", "k"])
    assert done.exit_code == 2
    port = address.partition(":")[2]
    assert done.stderr == (
        f"autosched: rpc: no tracker answers at {address}: Connection refused; start one there with: "
        f"python -m tvm.exec.rpc_tracker --port {port}\n"
    )


def test_a_server_that_says_nothing_is_given_up(
    pretended: Callable[..., PretendedTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and stays silent; the process that asks is killed."""
    monkeypatch.setattr(devices, "_ASK_S", 2.0)
    monkeypatch.setattr(devices, "ASKED", 1)
    monkeypatch.setattr(Fleet, "check", lambda _: None)
    before = descendants(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        made = pretended([0, ["127.0.0.1", port, "board:0.5"]])
        with pytest.raises(MeasureError) as error:
            devices.find_devices(made.remote)
    assert str(error.value) == (
        f"no device of the key 'board' says what it is: 127.0.0.1:{port}: it did not say what it is in 2 s"
    )
    assert descendants(os.getpid()) == before
