"""Measuring on devices of a real tracker with real servers, some of which are killed, hang, crash or lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from click.testing import CliRunner

import autosched as at
import faulty_device
from autosched.cli import main
from autosched.nn.registry import get_task
from autosched.search import tracker
from autosched.search.devices import find_devices
from autosched.search.fleet import NoDeviceError
from autosched.search.measure import Measurement
from autosched.search.processes import descendants
from autosched.search.progress import DeviceFailed, TrialEnded
from autosched.search.remote import LIMITS, RemoteMeasurer
from autosched.search.space import Space
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import MeasureError
from autosched.store.machine import this_machine
from rpc_cluster import KEY, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autosched.search.devices import Devices
    from autosched.search.progress import Event
    from autosched.spec.schedule import Schedule

pytestmark = pytest.mark.slow

TASK = get_task("gemm", N=32, M=32, K=32, threads=2)
SMALL = Protocol(threads=2, repeats=3, min_sample_s=0.0005)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A tracker with two servers that nobody harms."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.start_server()
        made.start_server()
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A tracker of the test's own."""
    with Cluster(tmp_path) as made:
        yield made


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says which devices go wrong."""
    file = tmp_path / "faults"
    file.write_text("")
    monkeypatch.setenv(faulty_device.FAULTS, str(file))
    return file


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(descendants(os.getpid()))
    yield
    left = set(descendants(os.getpid())) - before
    assert not left, "processes outlive the measuring"


def some_schedules(count: int) -> list[Schedule]:
    space = Space(TASK, this_machine())
    made = (space.candidate(point) for point in space.points())
    return [candidate.schedule for candidate, _ in zip(filter(None, made), range(count), strict=False)]


def faulty_bench(devices: Devices, events: list[Event] | None = None, **limits: float) -> RemoteMeasurer:
    return RemoteMeasurer(
        TASK, SMALL, fleet=devices.fleet, device=devices.device, builder=faulty_device.BUILDER,
        limits=attrs.evolve(LIMITS, **limits), watch=(events if events is not None else []).append,
    )  # fmt: skip


def device_faults(events: list[Event]) -> list[str]:
    return [event.address for event in events if isinstance(event, DeviceFailed)]


# --- what goes well ---------------------------------------------------------------------------------------------------


def test_a_plain_server_tells_its_machine(cluster: Cluster) -> None:
    """It has none of our code, and yet the fingerprint is the one that we would find there."""
    devices = find_devices(cluster.remote)
    assert devices.machine == this_machine()
    assert devices.cores == len(os.sched_getaffinity(0))


def test_what_is_measured_on_a_device_is_found_on_the_device(cluster: Cluster, tmp_path: Path) -> None:
    store = at.Store(tmp_path)
    result = at.lookup_or_tune(TASK, store, trials=3, rpc=cluster.remote)
    assert result.source in ("search", "default")
    found = at.lookup(TASK, store)
    assert found is not None
    assert found.schedule == result.schedule
    assert found.machine == this_machine()
    assert found.origin == "measured here"
    assert found.protocol == Protocol(threads=2)
    assert at.lookup_or_tune(TASK, store, trials=3, rpc=cluster.remote).source == "store"


def test_times_are_those_of_the_device(cluster: Cluster) -> None:
    """Not those of the way there: a call over the socket takes a hundred microseconds."""
    with find_devices(cluster.remote).bench(TASK, Protocol(threads=2)) as bench:
        ((_, found),) = bench.measure(some_schedules(1))
    assert isinstance(found, Measurement), found
    assert len(found.samples_s) == 7
    assert max(found.samples_s) < 1e-3


def test_finalists_are_timed_in_turn(cluster: Cluster) -> None:
    schedules = some_schedules(3)
    with find_devices(cluster.remote).bench(TASK, SMALL) as bench:
        found = bench.retime(schedules, 4)
    assert [len(samples) for samples in found if not isinstance(samples, Failure)] == [4, 4, 4]


def test_more_threads_than_the_device_has_are_refused(cluster: Cluster) -> None:
    with pytest.raises(at.SpecError, match=r"threads: found 4096; the servers of 'test-board' may use \d+ CPUs"):
        at.lookup_or_tune(TASK, threads=4096, rpc=cluster.remote)


def test_code_for_another_kind_of_cpu_is_refused(cluster: Cluster) -> None:
    target = at.Target(options=(at.spec.task.TargetOption(name="mtriple", value="riscv64-linux-gnu"),))
    with pytest.raises(at.SpecError, match="found code for riscv64; the devices are"):
        find_devices(cluster.remote).check(attrs.evolve(TASK, target=target))


def test_leaving_early_leaves_nothing_behind(cluster: Cluster) -> None:
    with find_devices(cluster.remote).bench(TASK, SMALL) as bench:
        stream = bench.measure(some_schedules(4))
        next(stream)
        begin = time.monotonic()
        stream.close()
        assert time.monotonic() - begin < 5
        assert isinstance(next(bench.measure(some_schedules(1)))[1], Measurement)


def test_sampled_points_and_an_output_that_agreed(cluster: Cluster) -> None:
    """As for large tasks: the evaluator looks at points only, and outputs are compared with one another."""
    devices = find_devices(cluster.remote)
    with RemoteMeasurer(TASK, SMALL, fleet=devices.fleet, device=devices.device, whole_points=0) as bench:
        found = [result for _, result in bench.measure(some_schedules(2))]
    assert all(isinstance(result, Measurement) for result in found), found


def test_what_is_computed_once_is_computed_on_the_device(cluster: Cluster) -> None:
    task = attrs.evolve(TASK, constants=("B",))
    space = Space(task, this_machine())
    made = (space.candidate(point) for point in space.points())
    schedule = next(candidate.schedule for candidate in made if candidate is not None and candidate.schedule.once)
    with find_devices(cluster.remote).bench(task, SMALL) as bench:
        ((_, found),) = bench.measure([schedule])
    assert isinstance(found, Measurement), found


def test_devices_on_several_hosts_work_at_the_same_time(own: Cluster) -> None:
    names = [own.start_server(), own.start_server("127.0.0.2")]
    devices = find_devices(own.remote)
    assert devices.fleet.hosts() == 2
    schedules = some_schedules(8)
    with devices.bench(TASK, SMALL) as bench:
        results = list(bench.measure(schedules))
    assert [schedule for schedule, _ in results] == schedules
    assert all(isinstance(result, Measurement) for _, result in results), results
    assert all(own.sessions(name) >= 3 for name in names)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_who_ends_a_tuner_leaves_nothing_and_frees_the_device(
    own: Cluster, tmp_path: Path, kill: signal.Signals
) -> None:
    name = own.start_server()
    words = ["tune", "gemm", "N=64", "M=64", "K=64", "--trials", "500", "--store", str(tmp_path / "store")]
    options = ["--rpc", own.remote.address, "--rpc-key", KEY]
    with subprocess.Popen([sys.executable, "-m", "autosched.cli", *words, *options], stderr=subprocess.PIPE) as tuner:
        assert tuner.stderr is not None
        while b"trial 3/" not in tuner.stderr.readline():
            pass
        family = descendants(tuner.pid)
        begin = time.monotonic()
        tuner.send_signal(kill)
        try:
            tuner.communicate(timeout=30)
        finally:
            tuner.kill()
    assert tuner.returncode == (130 if kill is signal.SIGINT else -kill)
    while any(Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() - begin < 30
        time.sleep(0.1)
    offer = tracker.request(own.remote, 30)
    assert offer is not None
    assert offer.address == name


# --- what goes wrong on a device --------------------------------------------------------------------------------------


def test_a_killed_server_costs_no_trial(own: Cluster, faults: Path) -> None:
    """Killed in the middle of a trial: that trial is made on the other one, the run goes on to its end."""
    names = [own.start_server(), own.start_server()]
    devices = find_devices(own.remote)
    events: list[Event] = []
    schedules = some_schedules(5)
    with faulty_bench(devices, events) as bench:
        results = []
        for schedule, result in bench.measure(schedules):
            results.append((schedule, result))
            if len(results) == 1:  # whichever is next
                faults.write_text("".join(f"kill_once {name} {own.group(name)}\n" for name in names))
    assert [schedule for schedule, _ in results] == schedules
    assert all(isinstance(result, Measurement) for _, result in results), results
    assert len(own.servers()) == 1
    assert set(device_faults(events)) == set(names) - set(own.servers())


def test_a_search_goes_on_when_a_server_is_killed(own: Cluster, tmp_path: Path) -> None:
    first = own.start_server()
    own.start_server()
    ended: list[TrialEnded] = []

    def watch(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ended.append(event)
            if len(ended) == 3:
                own.kill(first)

    store = at.Store(tmp_path / "store")
    result = at.lookup_or_tune(TASK, store, trials=8, rpc=own.remote, watch=watch)
    assert len(ended) >= 8
    records = list(store.records(TASK))
    assert [record.failure for record in records if record.failure is not None] == []
    assert all(record.machine == this_machine() for record in records)
    assert result.schedule in [record.schedule for record in records]
    assert store.search_state(TASK).finished == 8


def test_a_liar_is_found_out(own: Cluster, faults: Path) -> None:
    liar, honest = own.start_server(), own.start_server()
    devices = find_devices(own.remote)
    events: list[Event] = []
    faults.write_text(f"lie {liar} 0\n")
    with faulty_bench(devices, events) as bench:
        results = [result for _, result in bench.measure(some_schedules(3))]
    assert all(isinstance(result, Measurement) for result in results), results
    assert honest not in device_faults(events)


def test_what_all_devices_say_is_wrong_is_wrong(own: Cluster, faults: Path) -> None:
    own.start_server()
    own.start_server()
    faults.write_text("lie * 0\n")
    with faulty_bench(find_devices(own.remote)) as bench:
        ((_, result),) = bench.measure(some_schedules(1))
    assert isinstance(result, Failure)
    assert result.kind == "wrong_answer"


def test_a_candidate_that_hangs_everywhere_is_a_timeout(own: Cluster, faults: Path) -> None:
    own.start_server()
    own.start_server()
    faults.write_text("hang * 0\n")
    with faulty_bench(find_devices(own.remote), first_run_s=1.0) as bench:
        begin = time.monotonic()
        ((_, result),) = bench.measure(some_schedules(1))
    assert isinstance(result, Failure)
    assert result.kind == "run_timeout"
    assert result.detail.startswith("2 sessions broke")
    assert time.monotonic() - begin < 90


def test_a_candidate_that_crashes_the_only_server_is_a_failure_then_the_run_ends(own: Cluster, faults: Path) -> None:
    """A plain server serves nobody after that, but the tracker still knows it: so it is the candidate's doing."""
    own.start_server()
    devices = find_devices(attrs.evolve(own.remote, patience_s=4.0))
    faults.write_text("crash_once * 0\n")
    with faulty_bench(devices) as bench:
        results = bench.measure(some_schedules(2))
        _, first = next(results)
        assert isinstance(first, Failure)
        assert first.kind == "crash"
        assert "no device was free afterwards" in first.detail
        with pytest.raises(NoDeviceError, match="tune again to go on"):
            next(results)


def test_a_run_whose_last_server_is_killed_ends_and_blames_no_candidate(own: Cluster, faults: Path) -> None:
    name = own.start_server()
    devices = find_devices(attrs.evolve(own.remote, patience_s=4.0))
    faults.write_text(f"kill_once * {own.group(name)}\n")
    begin = time.monotonic()
    with faulty_bench(devices) as bench, pytest.raises(NoDeviceError, match="the tracker knows none any more"):
        list(bench.measure(some_schedules(2)))
    assert time.monotonic() - begin < 30


def test_devices_of_another_kind_are_not_measured_on(cluster: Cluster) -> None:
    devices = find_devices(attrs.evolve(cluster.remote, patience_s=4.0))
    other = attrs.evolve(devices.device, machine=attrs.evolve(devices.machine, cores=640))
    said = pytest.raises(NoDeviceError, match=r"it is another machine: cores is \d+, not 640")
    with RemoteMeasurer(TASK, SMALL, fleet=devices.fleet, device=other) as bench, said:
        list(bench.measure(some_schedules(1)))


def test_a_run_whose_tracker_is_killed_ends(own: Cluster) -> None:
    own.start_server()
    devices = find_devices(attrs.evolve(own.remote, patience_s=4.0))
    with devices.bench(TASK, SMALL) as bench:
        results = bench.measure(some_schedules(6))
        next(results)
        own.kill("tracker")
        with pytest.raises(MeasureError, match=r"no tracker answers at .*start the tracker and tune again"):
            list(results)


# --- the command line -------------------------------------------------------------------------------------------------


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_tuning_from_the_command_line(cluster: Cluster, tmp_path: Path) -> None:
    words = ("gemm", "N=32", "M=32", "K=32", "--store", tmp_path)
    status, out, err = call("tune", *words, "--trials", 2, "--rpc", cluster.remote.address, "--rpc-key", KEY, "--json")
    assert status == 0, err
    assert '"source": "' in out
    assert call("lookup", *words)[0] == 0, "this machine is the device"


def test_a_key_that_nobody_serves(cluster: Cluster, tmp_path: Path) -> None:
    begin = time.monotonic()
    status, _, err = call("tune", "gemm", "N=8", "M=8", "K=8", "--store", tmp_path, "--rpc", cluster.remote.address,
                          "--rpc-key", "nobody")  # fmt: skip
    assert status == 2
    assert time.monotonic() - begin < 20
    assert err == (
        f"autosched: rpc.key: the tracker at {cluster.remote.address} knows no device of the key 'nobody'; its keys: "
        f"{KEY}; start one with: python -m tvm.exec.rpc_server --tracker {cluster.remote.address} --key nobody\n"
    )
