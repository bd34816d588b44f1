"""The parts of measuring that need no candidate: messages, the lock, pinning, processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.search import wire
from autosched.search.pinning import check_pinned, cpus_for, pin_threads
from autosched.search.processes import children, descendants, kill_all, marked_processes, signal_name
from autosched.search.timing_lock import TimingLock
from autosched.search.wire import Channel, WireError, channel_pair
from autosched.spec.errors import MeasureError

if TYPE_CHECKING:
    from pathlib import Path

# --- messages ---------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(), json_values), min_size=1, max_size=4))
def test_messages_arrive_as_sent(messages: list[dict[str, object]]) -> None:
    ours, theirs = channel_pair()
    try:
        for message in messages:
            ours.send(message)
        assert [theirs.receive() for _ in messages] == messages
    finally:
        ours.close()
        theirs.close()


@given(st.binary(max_size=200))
def test_nonsense_is_an_error_and_never_more(nonsense: bytes) -> None:
    raw, theirs = socket.socketpair()
    theirs.settimeout(1)
    channel = Channel(theirs)
    with raw:
        raw.sendall(nonsense)
    with contextlib.suppress(WireError):  # any other error fails the test
        while True:
            assert isinstance(channel.receive(), dict)
    channel.close()


def test_a_message_is_bounded() -> None:
    raw, theirs = socket.socketpair()
    raw.sendall(struct.pack(">I", wire.MAX_BYTES + 1))
    with pytest.raises(WireError, match="allowed: "):
        Channel(theirs).receive()
    raw.close()
    theirs.close()


def test_a_stalled_message_is_an_error() -> None:
    raw, theirs = socket.socketpair()
    raw.sendall(struct.pack(">I", 100) + b"{")
    channel = wire.channel_from_fd(theirs.detach(), stall_s=0.05)
    with pytest.raises(WireError, match="timed out"):
        channel.receive()
    raw.close()
    channel.close()


def test_open_files_travel_with_a_message(tmp_path: Path) -> None:
    ours, theirs = channel_pair()
    path = tmp_path / "x"
    path.write_text("hello")
    with path.open() as file:
        ours.send({"a": 1}, [file.fileno()])
    message, (fd,) = theirs.receive_fds(1)
    assert message == {"a": 1}
    assert os.read(fd, 10) == b"hello"
    os.close(fd)
    ours.close()
    with pytest.raises(WireError, match="closed the connection"):
        theirs.receive()
    theirs.close()


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_timing_waits_for_those_who_build(tmp_path: Path) -> None:
    one, other = TimingLock(tmp_path / "lock"), TimingLock(tmp_path / "lock", patience_s=0.05)
    with one.building():
        with other.building():
            pass
        with pytest.raises(MeasureError, match="has held the timing lock for 0 s"), other.timing():
            pass
    with one.timing():
        for hold in (other.building, other.timing):
            with pytest.raises(MeasureError, match="another tuner"), hold():
                pass
    with other.timing():
        pass
    one.close()
    other.close()


def test_waiting_is_counted_and_ends(tmp_path: Path) -> None:
    one, other = TimingLock(tmp_path / "lock"), TimingLock(tmp_path / "lock")
    times = {}

    def wait() -> None:
        with other.timing():
            times["got"] = time.monotonic()

    with one.timing():
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.1)
        times["released"] = time.monotonic()
    waiter.join()
    assert times["got"] >= times["released"]
    assert other.waited_s > 0.05
    assert one.waited_s < 0.05
    one.close()
    other.close()


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autosched.search.timing_lock import TimingLock\n"
        "with TimingLock(Path(sys.argv[1])).timing(): print('held', flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    lock = TimingLock(tmp_path / "lock", patience_s=0.0)
    with pytest.raises(MeasureError), lock.timing():
        pass
    holder.kill()
    holder.communicate()
    with lock.timing():
        pass
    lock.close()


def test_every_user_may_take_the_lock(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        TimingLock(tmp_path / "lock").close()
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o666


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MeasureError, match="cannot be opened"):
        TimingLock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


# --- pinning ----------------------------------------------------------------------------------------------------------


def test_each_thread_gets_a_cpu_of_its_own() -> None:
    allowed = os.sched_getaffinity(0)
    cpus = cpus_for(len(allowed))
    assert set(cpus) == allowed
    assert cpus_for(1) == cpus[:1]


@pytest.mark.parametrize("threads", [0, 4096])
def test_more_threads_than_cpus_are_refused(threads: int) -> None:
    with pytest.raises(MeasureError, match="choose threads from 1 to"):
        cpus_for(threads)


PINNED = """
import os, sys, threading
from autosched.search.pinning import *
from autosched.spec.errors import MeasureError
stop = threading.Event()
others = [threading.Thread(target=stop.wait) for _ in range(int(sys.argv[1]))]
for other in others: other.start()
cpus = tuple(int(cpu) for cpu in sys.argv[2].split(","))
try:
    pin_threads(cpus)
    check_pinned(cpus)
    if sys.argv[3:]: os.sched_setaffinity(others[0].native_id, {cpus[0]})
    check_pinned(cpus)
    print("pinned")
except MeasureError as error:
    print(error)
stop.set()
"""


def pinned(threads: int, cpus: tuple[int, ...], *more: str) -> str:
    command = [sys.executable, "-c", PINNED, str(threads - 1), ",".join(map(str, cpus)), *more]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_two_threads_on_one_cpu_are_noticed() -> None:
    cpus = cpus_for(2)
    assert pinned(2, cpus) == "pinned\n"
    assert "threads may run on CPUs" in pinned(2, cpus, "move one")
    assert "has 1 threads, 2 were asked for" in pinned(1, cpus)


def test_pinning_too_few_threads_changes_nothing() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(MeasureError, match="were asked for"):
        pin_threads(range(4096))
    assert os.sched_getaffinity(0) == before
    with pytest.raises(MeasureError):
        check_pinned(range(4096))


# --- processes --------------------------------------------------------------------------------------------------------


def test_a_family_is_found_and_ends() -> None:
    mark = str(time.time_ns())
    parent = subprocess.Popen(["sh", "-c", "sleep 100 & sleep 100 & wait"], env={**os.environ, "AUTOSCHED_MARK": mark})
    try:
        while len(descendants(parent.pid)) < 2:
            time.sleep(0.01)
        assert parent.pid in children(os.getpid())
        family = {parent.pid, *descendants(parent.pid)}
        end = time.monotonic() + 10
        while set(marked_processes("AUTOSCHED_MARK", mark)) != family:
            assert time.monotonic() < end
            time.sleep(0.01)  # a process that is just becoming another program has no environment
    finally:
        kill_all((*descendants(parent.pid), parent.pid))
        parent.wait()
    end = time.monotonic() + 10
    while marked_processes("AUTOSCHED_MARK", mark) and time.monotonic() < end:
        time.sleep(0.01)  # a process that was killed may take a moment to be gone
    assert marked_processes("AUTOSCHED_MARK", mark) == ()
    assert descendants(parent.pid) == ()


def test_signals_have_names() -> None:
    assert signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert signal_name(99) == "signal 99"
