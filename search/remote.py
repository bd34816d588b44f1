"""Measuring on devices of a TVM RPC tracker: built and compared here, run and timed there, retried where one fails.

A trial has a worker and a session of its own, so that it begins in a process that nothing ran in before, on both sides.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias

from ..spec.claim import Failure, Protocol
from ..spec.convert import unstructure
from ..store.keys import differences
from . import tracker
from .fleet import RETURN_S, NoDeviceError
from .measure import Measurement, unknown
from .measuring import Measuring
from .progress import DeviceFailed, unwatched
from .reference import WHOLE_POINTS
from .remote_runner import RemoteRunner
from .retries import Ran, Results, Samples, retried
from .runner import Limits
from .wire import BrokenSessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .device import Device
    from .fleet import Fleet
    from .progress import Watch
    from .reference import Reference
    from .tracker import Offer
    from .workers import Handle, Workers

BUILDER: Final = "autosched.search.remote_worker:build_for_device"
WORKER: Final = "autosched.search.remote_worker:RemoteWorker"
MOST_LANES: Final = 16
_STOPPING_S: Final = 0.02
LIMITS: Final = Limits(least_run_s=5.0)
"""Longer than on this machine: a network may stall for a second."""
Job: TypeAlias = "Callable[[Handle, dict[int, int]], Results]"
"""Runs the kernels of a worker, schedule number → kernel, on the device that it has."""


class RemoteMeasurer(Measuring[RemoteRunner]):
    """Measures schedules of one task under one protocol on the devices of a fleet; busy while a trial is waited for."""

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        *,
        fleet: Fleet,
        device: Device,
        limits: Limits = LIMITS,
        seed: int = 0,
        whole_points: int = WHOLE_POINTS,
        builder: str = BUILDER,
        watch: Watch = unwatched,
    ) -> None:
        self._fleet = fleet
        self._device = device
        self._watch = watch
        self._known: set[str] = set()
        self._target = unstructure(device.target(task.target))
        self._stopped = False

        def runner(workers: Workers, reference: Reference) -> RemoteRunner:
            cpus = device.cpus[: protocol.threads]
            return RemoteRunner(workers=workers, reference=reference, protocol=protocol, limits=limits, cpus=cpus)

        super().__init__(task, limits, runner, builder=builder, worker=WORKER, seed=seed, whole_points=whole_points)

    # --- what the tuner asks for --------------------------------------------------------------------------------------

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = unknown
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        """Each schedule with its measurement or failure, in order; those that are known by then are left out.

        As many at a time as the devices have hosts. `is_known` is asked when a trial begins.
        """
        self._share_task()
        lanes = max(1, min(self._fleet.hosts(), MOST_LANES))
        source = iter(schedules)
        running: deque[tuple[Schedule, Future[Measurement | Failure | None]]] = deque()
        pool = ThreadPoolExecutor(lanes, thread_name_prefix="autosched-device")
        self._stopped = False
        try:
            while True:
                while len(running) < 2 * lanes and (schedule := next(source, None)) is not None:
                    running.append((schedule, pool.submit(self._trial, schedule, is_known)))
                if not running:
                    return
                schedule, trial = running[0]  # still among those that are waited for, should this be interrupted
                with self._busy():
                    result = trial.result()
                running.popleft()
                if result is not None:
                    yield schedule, result
        finally:
            self._stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(trial.done() for _, trial in running):
                self._workers.give_up()
                time.sleep(_STOPPING_S)
            pool.shutdown()

    def retime(
        self, schedules: Sequence[Schedule], rounds: int, *, least: int | None = None
    ) -> list[Samples | Failure]:
        """`rounds` samples of each schedule, in turn, in one session on one device."""
        self._share_task()
        self._stopped = False
        results: Results = {}
        while len(results) < len(schedules):
            asked = {number: schedule for number, schedule in enumerate(schedules) if number not in results}

            def run(handle: Handle, kernels: dict[int, int], asked: dict[int, Schedule] = asked) -> Results:
                return self._in_turn(handle, kernels, asked, rounds, least)

            with self._busy():
                results.update(self._retried(asked, run))
        return [results[number] for number in range(len(schedules))]

    # --- what is done on a device -------------------------------------------------------------------------------------

    def _trial(self, schedule: Schedule, is_known: Callable[[Schedule], bool]) -> Measurement | Failure | None:
        if is_known(schedule):
            return None
        begin = time.monotonic()

        def run(handle: Handle, kernels: dict[int, int]) -> Results:
            first_s = self._runner.verify(handle, kernels[0], schedule)
            if isinstance(first_s, Failure):
                return {0: first_s}
            timed = self._runner.samples(handle, kernels[0], first_s)
            return {0: timed if isinstance(timed, Failure) else timed.samples_s}

        found = self._retried({0: schedule}, run)[0]
        if isinstance(found, Failure):
            return found
        measurement = Measurement(samples_s=found, build_s=0.0, run_s=time.monotonic() - begin)
        if self._runner.best_s is None or measurement.median_s < self._runner.best_s:
            self._runner.best_s = measurement.median_s
        return measurement

    def _in_turn(
        self,
        handle: Handle,
        kernels: dict[int, int],
        asked: dict[int, Schedule],
        rounds: int,
        least: int | None,
    ) -> Results:
        """The failure of one, which spoils the session for the others, or else the samples of all."""
        slowest_s = 0.0
        for number, schedule in asked.items():
            first_s = self._runner.verify(handle, kernels[number], schedule)
            if isinstance(first_s, Failure):
                return {number: first_s}
            slowest_s = max(slowest_s, first_s)
        found = self._runner.samples_in_turn(handle, list(kernels.values()), rounds, least, slowest_s)
        if isinstance(found, Failure):
            return dict.fromkeys(kernels, found)
        return dict(zip(kernels, found, strict=True))

    # --- one attempt --------------------------------------------------------------------------------------------------

    def _retried(self, schedules: dict[int, Schedule], job: Job) -> Results:
        """What comes of a job, on other devices too where one fails."""
        attempt = functools.partial(self._attempt, schedules, job)
        return retried(schedules, attempt, self._fleet.addresses, self._blame, tracker.is_up)

    def _blame(self, address: str, fault: str) -> None:
        if not self._stopped:
            self._fleet.blame(address, fault)
            self._watch(DeviceFailed(address=address, detail=fault))

    def _attempt(self, schedules: dict[int, Schedule], job: Job, avoid: frozenset[str]) -> Ran:
        """Builds schedules in a new worker and has a device run them."""
        handle = self._workers.fork()
        try:
            kernels: dict[int, int] = {}
            for number, schedule in schedules.items():
                request = {"op": "build", "schedule": unstructure(schedule), "target": self._target}
                answer = self._workers.answer(handle, request, self.limits.build_s, "build_timeout")
                if isinstance(answer, Failure):
                    return Ran(results={number: answer})
                kernels[number] = answer["kernel"]
            offer = self._offer(avoid)
            try:
                ran = self._run_on(offer, handle, kernels, job)
            finally:
                self._fleet.release(offer)
            if ran.fault:
                self._blame(offer.address, ran.fault)
            elif ran.wrong is None:
                self._fleet.trust(offer.address)
            return ran
        finally:
            self._workers.end(handle)

    def _offer(self, avoid: frozenset[str]) -> Offer:
        """A device, another one than those to `avoid` where the tracker knows any that comes soon."""
        if avoid and set(self._fleet.addresses()) - avoid:
            with contextlib.suppress(NoDeviceError):
                return self._fleet.acquire(avoid, RETURN_S, self._is_going_on)
        return self._fleet.acquire(is_wanted=self._is_going_on)

    def _is_going_on(self) -> bool:
        return not self._stopped

    def _run_on(self, offer: Offer, handle: Handle, kernels: dict[int, int], job: Job) -> Ran:
        """Opens a session, loads the worker's kernels and does the job."""
        try:
            opened = self._runner.open(handle, offer, len(kernels), offer.address not in self._known)
        except BrokenSessionError as error:
            return Ran(results={}, address=offer.address, refused=str(error))
        if isinstance(opened, Failure):
            return Ran(results={}, address=offer.address, refused=opened.detail)
        if opened is not None and (unlike := differences(self._device.machine, opened.machine)):
            self._fleet.exclude(offer.address)
            said = ", ".join(f"{d.field} is {d.theirs}, not {d.ours}" for d in unlike)
            return Ran(results={}, address=offer.address, refused=f"it is another machine: {said}", is_other=True)
        self._known.add(offer.address)
        try:
            results: Results | Failure = self._runner.load(handle, len(kernels)) or job(handle, kernels)
        except BrokenSessionError as error:
            results = Failure(kind="run_timeout" if "expired" in str(error) else "crash", detail=str(error))
        if isinstance(results, Failure):
            results = dict.fromkeys(kernels, results)
        return Ran(results=results, address=offer.address)
