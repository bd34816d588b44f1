"""The worker of a candidate that runs on a device: built and compared here, run and timed there.

It is a disposable process like any other worker: a call that hangs is ended with it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from ..spec.convert import structure, unstructure
from ..spec.task import Target
from ..spec.tvm_rpc import RPC_ERRORS, DeviceKernel, DeviceSession, device_kernel, reason
from .device import device_from_files
from .wire import BrokenSessionError
from .worker import CandidateError, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .buffers import GuardedBuffer
    from .pulse import Pulse
    from .wire import Message


def build_for_device(schedule: Schedule, task: Task, buffers: Sequence[GuardedBuffer]) -> DeviceKernel:
    """The builder of candidates for a device; the buffers here are only where outputs are fetched to."""
    del buffers
    return device_kernel(schedule, task)


class RemoteWorker(Worker):
    """Serves requests about candidates on one device, with one session."""

    _session: DeviceSession
    _kernels: list[Any]

    @staticmethod
    def pulse(task: Task) -> Pulse | None:
        """None: the machine that is here is not the one that runs kernels."""
        del task
        return None

    def answers(self) -> dict[str, Callable[[Message], Message]]:
        return {**super().answers(), "open": self.open, "load": self.load}

    def build(self, message: Message) -> Message:
        task = attrs.evolve(self._site.task, target=structure(message["target"], Target))
        self._site = attrs.evolve(self._site, task=task)
        return super().build(message)

    def open(self, message: Message) -> Message:
        """Opens a session with a device that is ready for what was built: threads pinned, inputs there.

        What goes wrong is the device's fault and comes back as ``refused``. With ``describe``, says what it is.
        """
        try:
            self._session = DeviceSession(message["host"], message["port"], message["match_key"], message["session_s"])
            self._session.load_probe(self._kernels[0].code)
            self._session.start_threads(message["cpus"])
            for buffer in self._buffers:
                self._session.allocate(buffer.buffer)
                self._session.send(buffer.buffer, buffer.data)
            if not message["describe"]:
                return {"device": None}
            return {"device": unstructure(device_from_files(self._session.read, *self._session.cpu()))}
        except RPC_ERRORS as error:
            return {"refused": reason(error)}

    def load(self, message: Message) -> Message:
        """Has the device make machine code of everything that was built."""
        del message
        for kernel in self._kernels:
            self._run(partial(kernel.load, self._session))
        return {"loaded": len(self._kernels)}

    def _start_pool(self, cpus: tuple[int, ...], pinned: bool) -> None:
        """The threads are the session's, there since it was opened."""

    def _erase_results(self) -> None:
        super()._erase_results()
        for result in self._results.values():
            self._run(partial(self._session.send, result.buffer, result.data))

    def _checksums(self) -> dict[str, int]:
        inputs = self._site.inputs.items()
        return {name: self._run(partial(self._session.checksum, buffer.buffer)) for name, buffer in inputs}

    def _disputed(self, looser: float) -> Message | None:
        for result in self._results.values():
            self._run(partial(self._session.fetch, result.buffer, result.data))
        return super()._disputed(looser)

    def _run(self, run: Callable[[], Any]) -> Any:
        """As on this machine, but an error may mean that the device is gone."""
        try:
            return super()._run(run)
        except (CandidateError, OSError) as error:
            if self._session.is_alive():
                raise
            raise BrokenSessionError(reason(error.__cause__ or error)) from error
