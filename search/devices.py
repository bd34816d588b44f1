"""The devices of a tracker as a tuner takes them: which machine they are, what can be measured there, and by whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.convert import structure
from ..spec.errors import MeasureError, SpecError
from ..spec.triple import arch_of
from ..store.machine import architecture_named
from .device import Device
from .fleet import Fleet
from .measurable import check_memory, check_reference
from .progress import DeviceFailed, Watch, unwatched

if TYPE_CHECKING:
    from ..spec.claim import Machine, Protocol
    from ..spec.task import Task
    from .remote import RemoteMeasurer
    from .tracker import Offer, Remote

ASKED: Final = 3
"""So many devices are asked what they are before that is given up."""
_SESSION_S: Final = 20.0
_ASK_S: Final = 30.0
"""The process that asks imports TVM first."""


@attrs.frozen(kw_only=True)
class Devices:
    """The devices of one key, all alike: the first one asked says what they are, and others are not used."""

    fleet: Fleet
    device: Device
    watch: Watch = unwatched

    @property
    def machine(self) -> Machine:
        """The fingerprint of a device: what is measured is stored under it."""
        return self.device.machine

    @property
    def cores(self) -> int:
        """How many CPUs the servers may use."""
        return len(self.device.cpus)

    def check(self, task: Task) -> None:
        """Raises SpecError for a task that cannot be measured there, or verified here."""
        if task.threads > self.cores:
            raise SpecError(
                f"found {task.threads}; the servers of {self.fleet.remote.key!r} may use {self.cores} CPUs: allowed: "
                f"1 to {self.cores}",
                "threads",
            )
        if task.target.kind != "llvm":
            raise SpecError(
                f"found {task.target.kind!r}; only 'llvm' can be measured so far: tune for that", "target.kind"
            )
        arch = architecture_named(self.device.triple.partition("-")[0])
        if arch_of(task.target) not in (None, arch):
            raise SpecError(
                f"found code for {arch_of(task.target)}; the devices are {arch}: leave mtriple out", "target.mtriple"
            )
        check_memory(task.workload)
        check_reference(task.workload)
        if task.target.options:
            from ..spec.tvm_target import check_target

            check_target(self.device.target(task.target))

    def bench(self, task: Task, protocol: Protocol) -> RemoteMeasurer:
        """What measures there."""
        from .remote import RemoteMeasurer

        return RemoteMeasurer(task, protocol, fleet=self.fleet, device=self.device, watch=self.watch)


def find_devices(remote: Remote, watch: Watch = unwatched) -> Devices:
    """The devices of a key; one of them is asked what it is.

    SpecError where the tracker is not there or knows no such device; MeasureError where none of them answers.
    """
    fleet = Fleet(remote)
    fleet.check()
    fault = ""
    for _ in range(ASKED):
        offer = fleet.acquire()
        try:
            device = _asked(offer)
        except MeasureError as error:
            fault = f"{offer.address}: {error}"
            fleet.blame(offer.address, str(error))
            watch(DeviceFailed(address=offer.address, detail=str(error)))
        else:
            return Devices(fleet=fleet, device=device, watch=watch)
        finally:
            fleet.release(offer)
    raise MeasureError(f"no device of the key {remote.key!r} says what it is: {fault}")


def _asked(offer: Offer) -> Device:
    """What a device says of itself, to a process that is killed if it does not answer; MeasureError."""
    question = {**attrs.asdict(offer), "timeout_s": _SESSION_S}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    with tempfile.TemporaryDirectory(prefix="autosched-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "autosched.search.ask_device"],
                input=json.dumps(question),
                capture_output=True,
                text=True,
                check=False,
                timeout=_ASK_S,
                cwd=folder,  # not in a folder whose modules would be found first
                env={**os.environ, "PYTHONPATH": path},
            )
        except subprocess.TimeoutExpired as error:
            raise MeasureError(f"it did not say what it is in {_ASK_S:g} s") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise MeasureError(f"it cannot be asked what it is: {said[-1]}") from error
    if "error" in answer:
        raise MeasureError(f"it cannot be asked what it is: {answer['error']}")
    return structure(answer["device"], Device)
