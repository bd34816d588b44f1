"""The tuner's hold on its workers: starts the zygote, has workers forked, waits for answers within limits."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Failure
from ..spec.convert import unstructure
from ..spec.errors import MeasureError
from .processes import descendants, kill_all, kill_group, marked_processes, memory_bytes, signal_name
from .scratch import scratch_errors
from .wire import STALL_S, BrokenSessionError, Channel, Message, WireError, channel_from_fd, channel_pair

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..spec.task import Task

MARK: Final = "AUTOSCHED_WORKERS"
"""Environment variable that all workers of one tuner share, by which the last ones can be found."""
_WATCH_S: Final = 0.05
_START_S: Final = 120.0
_LOG_BYTES: Final = 4096


@attrs.define(eq=False)
class Handle:
    """One worker as the tuner sees it."""

    pid: int
    channel: Channel
    pidfd: int
    log: int
    deadline: float = 0.0
    memory_check: float = 0.0

    def log_tail(self) -> str:
        """The last line that the worker, or what it ran, wrote to its standard error."""
        size = os.fstat(self.log).st_size
        text = os.pread(self.log, _LOG_BYTES, max(0, size - _LOG_BYTES)).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def close(self) -> None:
        """Closes the tuner's ends."""
        self.channel.close()
        os.close(self.pidfd)
        os.close(self.log)


class ZygoteError(MeasureError):
    """The process that forks workers is gone; a new one can be started."""


class Workers:
    """A zygote and its workers, for one task; none of them is waited for after `end`, by the monotonic clock."""

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        builder: str,
        worker: str,
        memory_bytes: int,
        end: float = math.inf,
    ) -> None:
        self._task = task
        self._builder = builder
        self._worker = worker
        self._asking = threading.Lock()  # one question at a time, whichever thread asks
        self._memory_bytes = memory_bytes
        self._end = end
        self._mark = secrets.token_hex(8)
        self._base_bytes = 0
        self._handles: set[Handle] = set()
        with scratch_errors():
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the workers
        ours, theirs = channel_pair()
        fd = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "autosched.search.zygote", str(fd), str(folder)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C and kill -9 of the tuner's group must not reach it: it tidies up
            cwd="/",  # with -m Python looks here first for every module: not in the folder of a stranger's file
            env=self._environment(),
        )
        theirs.close()
        self._channel = channel_from_fd(ours.detach(), _START_S)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            MARK: self._mark,
            "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry),
            "OPENBLAS_NUM_THREADS": "1",  # its threads would exist before the fork, and beside the kernel's
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }

    def share_task(self) -> None:
        """Has the zygote load the task and the files of the folder."""
        answer = self._ask(
            {
                "op": "task",
                "task": unstructure(self._task),
                "builder": self._builder,
                "worker": self._worker,
                "memory_bytes": self._memory_bytes,
            }
        )
        self._base_bytes = answer["base_bytes"]

    def share_outputs(self, agreed: int) -> None:
        """Has the zygote load the kept outputs of number `agreed`, for the workers forked from now on."""
        self._base_bytes = self._ask({"op": "outputs", "agreed": agreed})["base_bytes"]

    def _ask(self, message: Message) -> Message:
        try:
            with self._asking:
                self._channel.send(message)
                answer = self._channel.receive()
        except WireError as error:
            raise self._zygote_error() from error
        if "error" in answer:
            raise MeasureError(f"the workers cannot start: {answer['error']}")
        return answer

    def _zygote_error(self) -> ZygoteError:
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return ZygoteError(
            f"the process that starts workers ended (exit status {self._process.returncode}): "
            f"{lines[-1] if lines else 'it said nothing'}"
        )

    def fork(self) -> Handle:
        """A new worker, waiting for requests."""
        try:
            with self._asking:
                self._channel.send({"op": "fork"})
                message, fds = self._channel.receive_fds(2)
        except WireError as error:
            raise self._zygote_error() from error
        sock, log = fds
        handle = Handle(
            pid=message["pid"],
            channel=channel_from_fd(sock, STALL_S),
            pidfd=os.pidfd_open(message["pid"]),
            log=log,
        )
        self._handles.add(handle)
        return handle

    def request(self, handle: Handle, message: Message, deadline_s: float) -> None:
        """Sends a request, to be answered within `deadline_s` and before the end; a dead worker shows in `wait`."""
        handle.deadline = min(time.monotonic() + deadline_s, self._end)
        with contextlib.suppress(WireError):
            handle.channel.send(message)

    def wait(self, handles: Collection[Handle], timeout_kind: str) -> dict[Handle, Message | Failure]:
        """What the next of some workers answer, at least one of them; the others go on.

        A worker that is over its time or its memory, or is dead, gets a failure; its caller then ends it.
        """
        speaking = {handle.channel.fileno(): handle for handle in handles}
        dead = {handle.pidfd: handle for handle in handles}
        poll = select.poll()
        for fd in (*speaking, *dead):
            poll.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(1000 * _WATCH_S)]
            # The last words of a dead worker come first. Its connection may stay open: what it started has it too.
            found = {speaking[fd]: self._receive(speaking[fd]) for fd in ready if fd in speaking}
            for fd in ready:
                if fd in dead and dead[fd] not in found:
                    found[dead[fd]] = self._failure_of_dead(dead[fd])
            for handle in handles:
                if handle not in found and (failure := self._over_limits(handle, timeout_kind)):
                    found[handle] = failure
            if found:
                return found

    def answer(self, handle: Handle, message: Message, deadline_s: float, timeout_kind: str) -> Message | Failure:
        """Sends one request to one worker and waits for the answer."""
        self.request(handle, message, deadline_s)
        return self.wait([handle], timeout_kind)[handle]

    def _receive(self, handle: Handle) -> Message | Failure:
        try:
            answer = handle.channel.receive()
            if "failed" in answer:
                return Failure(**answer["failed"])
        except (WireError, TypeError, ValueError):
            return self._failure_of_dead(handle)
        if "broken" in answer:
            raise BrokenSessionError(str(answer["broken"]))
        if "harness" in answer:
            raise MeasureError(str(answer["harness"]))
        return answer

    def _over_limits(self, handle: Handle, timeout_kind: str) -> Failure | None:
        now = time.monotonic()
        if now > handle.deadline:
            return Failure(kind=timeout_kind, detail="no answer within the limit; it was killed")
        if now > handle.memory_check:
            handle.memory_check = now + _WATCH_S
            family = (handle.pid, *descendants(handle.pid))
            used = sum(max(0, memory_bytes(pid) - self._base_bytes) for pid in family)
            if used > self._memory_bytes:
                detail = f"used {used / 2**20:.0f} MiB; allowed: {self._memory_bytes / 2**20:.0f} MiB"
                return Failure(kind="out_of_memory", detail=detail)
        return None

    def _failure_of_dead(self, handle: Handle) -> Failure:
        """What a worker died of; its connection broke, or it spoke nonsense."""
        tail = handle.log_tail()
        end = self.end(handle, grace_s=2.0)
        said = f": {tail}" if tail else ""
        if any(word in tail for word in ("bad_alloc", "MemoryError", "Cannot allocate memory")):
            return Failure(kind="out_of_memory", detail=f"memory was refused{said}")
        if not end["was_dead"]:
            return Failure(kind="crash", detail=f"it broke its connection{said}")
        if end["signal"]:
            return Failure(kind="crash", detail=f"killed by {signal_name(end['signal'])}{said}")
        return Failure(kind="crash", detail=f"it ended with exit status {end['exit']}{said}")

    def give_up(self) -> None:
        """What is being waited for, by any thread, is waited for no longer: it fails as if it were over its time."""
        for handle in tuple(self._handles):
            handle.deadline = 0.0

    def end(self, handle: Handle, grace_s: float = 0.0) -> Message:
        """Kills a worker with all that it started; says how many processes that were."""
        if handle not in self._handles:
            return {"strays": 0}
        self._handles.discard(handle)
        handle.close()
        return self._ask({"op": "end", "pid": handle.pid, "grace_s": grace_s})

    def close(self) -> None:
        """Ends the zygote and everything below it."""
        for handle in self._handles:
            handle.close()
        self._channel.close()  # to the zygote this means: tidy up
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        if self._process.returncode != 0:
            self._sweep()
        self._handles.clear()

    def _sweep(self) -> None:
        """Kills what a zygote that did not end by itself may have left."""
        for handle in self._handles:
            kill_group(handle.pid)
        for _ in range(10):
            left = marked_processes(MARK, self._mark)
            if not left:
                return
            kill_all(left)
            time.sleep(0.01)
