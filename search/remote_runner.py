"""Runs one worker's candidates on a device: opening the session, loading the code, and deadlines that know the way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure
from ..spec.convert import structure
from .device import Device
from .runner import Runner

if TYPE_CHECKING:
    from ..spec.schedule import Schedule
    from .tracker import Offer
    from .workers import Handle

_OPEN_S: Final = 15.0
_BYTES_PER_S: Final = 1e6
"""What the way to a device carries, at the very least."""


@attrs.define(kw_only=True)
class RemoteRunner(Runner):
    """As on this machine, with several threads: one worker and one device to each."""

    _settling: threading.Lock = attrs.field(factory=threading.Lock)

    def open(self, handle: Handle, offer: Offer, kernels: int, describe: bool) -> Device | Failure | None:
        """Opens a session for a worker's kernels; what the device is, where that is asked for.

        The server ends the session by itself after a time, since a kernel that hangs there does not see us go.
        """
        request = {
            "op": "open",
            "host": offer.host,
            "port": offer.port,
            "match_key": offer.match_key,
            "session_s": self._opening_s() + 3 * kernels * self._first_deadline_s(),
            "cpus": self.cpus,
            "describe": describe,
        }
        answer = self.workers.answer(handle, request, self._opening_s(), "run_timeout")
        if isinstance(answer, Failure):
            return answer
        if "refused" in answer:
            return Failure(kind="crash", detail=str(answer["refused"]))
        return None if answer["device"] is None else structure(answer["device"], Device)

    def load(self, handle: Handle, kernels: int) -> Failure | None:
        """Has the device make machine code of a worker's kernels."""
        deadline_s = self.limits.build_s * kernels
        answer = self.workers.answer(handle, {"op": "load"}, deadline_s, "run_timeout")
        return answer if isinstance(answer, Failure) else None

    def verify(self, handle: Handle, kernel: int, schedule: Schedule) -> float | Failure:
        """As on this machine; again, where another candidate's output was kept meanwhile, to compare all with."""
        while True:
            agreed = self.agreed
            answer = self._compared(handle, kernel)
            if isinstance(answer, Failure):
                return answer
            with self._settling:
                if agreed == self.agreed:
                    return self._settled(handle, schedule, answer)

    def _opening_s(self) -> float:
        return _OPEN_S + self._transfer_s()

    def _first_deadline_s(self) -> float:
        return super()._first_deadline_s() + 2 * self._transfer_s()

    def _transfer_s(self) -> float:
        buffers = self.reference.task.workload.buffers
        return sum(buffers[name].bytes_in_all for name in self.reference.task.workload.params) / _BYTES_PER_S
