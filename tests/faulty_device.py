"""A builder for devices of which some go wrong: what, and which, is written in a file that the environment names.

A line is ``FAULT ADDRESS GROUP``: servers at ``host:port`` (``*``: all) show the fault, their process group is GROUP. A
fault whose name ends in ``_once`` happens once.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from autosched.spec.tvm_rpc import DeviceKernel, DeviceSession, device_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autosched.search.buffers import GuardedBuffer
    from autosched.spec.schedule import Schedule
    from autosched.spec.task import Task

BUILDER = "faulty_device:build"
FAULTS = "AUTOSCHED_TEST_FAULTS"

ABORT = """
declare void @abort()
define i32 @__tvm_ffi_die(ptr %self, ptr %args, i32 %count, ptr %result) {
  call void @abort()
  ret i32 0
}
"""


class FaultyKernel(DeviceKernel):
    """A kernel that asks, before each timed call, whether its device is to go wrong now."""

    def load(self, session: DeviceSession) -> None:
        super().load(session)
        self._session = session

    def timed_call(self) -> float:
        seconds = super().timed_call()
        fault, group = self._fault()
        if fault.startswith("kill"):
            os.killpg(group, signal.SIGKILL)
            super().timed_call()
        elif fault.startswith("hang"):
            time.sleep(1000)
        elif fault.startswith("crash"):
            head = [line for line in self.code.splitlines() if line.startswith("target ")]
            self._session.load("\n".join([*head, ABORT])).get_function("die")()
        elif fault.startswith("lie"):
            self._wrong()
        return seconds

    def _wrong(self) -> None:
        """The device's last buffer, the output, is filled with the first one's values."""
        first, *_, last = self._session.tensors.values()
        first.copyto(last)

    def _fault(self) -> tuple[str, int]:
        file = Path(os.environ[FAULTS])
        host, port = self._session.address
        for line in file.read_text().splitlines():
            fault, address, group = line.split()
            if address in ("*", f"{host}:{port}"):
                if fault.endswith("_once"):
                    file.write_text("")
                return fault, int(group)
        return "", 0


def build(schedule: Schedule, task: Task, buffers: Sequence[GuardedBuffer]) -> FaultyKernel:
    made = device_kernel(schedule, task)
    made.__class__ = FaultyKernel
    assert isinstance(made, FaultyKernel)
    return made
