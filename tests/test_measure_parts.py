"""The parts of measuring that need no candidate: messages, the lock, pinning, processes, how many samples are taken."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import statistics
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
from autosched.search.sampling import PAUSE_S, SLOW_FACTOR, calls_per_sample, samples_in_turn, samples_of, standings_of
from autosched.search.timing_lock import TimingLock
from autosched.search.wire import Channel, WireError, channel_pair
from autosched.spec.claim import Protocol
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
        assert set(marked_processes("AUTOSCHED_MARK", mark)) == family
    finally:
        kill_all((*descendants(parent.pid), parent.pid))
        parent.wait()
    assert marked_processes("AUTOSCHED_MARK", mark) == ()
    assert descendants(parent.pid) == ()


def test_signals_have_names() -> None:
    assert signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert signal_name(99) == "signal 99"


# --- how many samples -------------------------------------------------------------------------------------------------


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
        (None, 0.001, 7), (0.001, 0.001, 7), (0.00098, 0.001, 7), (0.00095, 0.001, 4), (0.0008, 0.001, 2),
        (0.0006, 0.001, 1), (0.0001, 0.06, 1), (0.001, 0.06, 1),
    ],
)  # fmt: skip
def test_slow_kernels_are_looked_at_only_shortly(best_s: float | None, first_s: float, count: int) -> None:
    protocol = Protocol(threads=1, repeats=7, min_sample_s=0.005)
    assert len(samples_of(FakeKernel(0.001), protocol, first_s, best_s)) == count


@given(st.floats(1e-7, 1), st.floats(0.1, 10), st.integers(1, 9))
def test_what_may_be_the_best_gets_every_sample(call_s: float, ratio: float, repeats: int) -> None:
    protocol = Protocol(threads=1, repeats=repeats)
    samples = samples_of(FakeKernel(call_s), protocol, call_s, call_s * ratio)
    assert 1 <= len(samples) <= repeats
    if ratio >= 1 / 1.02:
        assert len(samples) == repeats


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
    assert len(samples) == Protocol(threads=1).repeats
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
