"""The parts of measuring on devices that need none: the tracker's protocol, what a device is, the command line."""

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

from autosched.cli import main
from autosched.search import devices, tracker
from autosched.search.device import Device, device_from_files
from autosched.search.fleet import Fleet
from autosched.search.pinning import cpus_for
from autosched.search.processes import descendants
from autosched.search.tracker import Offer, Remote, TrackerError, remote_from_text
from autosched.spec.errors import MeasureError, SpecError
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
    monkeypatch.setattr(devices, "_ASK_S", 0.5)
    monkeypatch.setattr(devices, "ASKED", 1)
    monkeypatch.setattr(Fleet, "check", lambda _: None)
    before = descendants(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        made = pretended([0, ["127.0.0.1", port, "board:0.5"]])
        with pytest.raises(MeasureError) as error:
            devices.find_devices(made.remote)
    assert str(error.value) == (
        f"no device of the key 'board' says what it is: 127.0.0.1:{port}: it did not say what it is in 0.5 s"
    )
    assert descendants(os.getpid()) == before
