"""The process that workers are forked from: it has imported TVM and holds the task's data, and never runs a kernel.

Started as ``python -m autosched.search.zygote FD FOLDER``. Importing TVM takes a second, forking ten milliseconds; a
fork taken before any thread exists is a safe one. It adopts whatever a candidate leaves behind, and ends with
everything below it, and the files in FOLDER, when the tuner does, however that ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.convert import structure
from ..spec.errors import AutoschedError
from ..spec.task import Task
from ..spec.without_torch import leave_torch_out
from .processes import (
    adopt_orphans,
    children,
    descendants,
    die_with_parent,
    kill_all,
    kill_group,
    limit_memory,
    memory_bytes,
)
from .wire import Channel, Message, WireError, channel_from_fd, channel_pair

if TYPE_CHECKING:
    from .worker import Site, Worker

_DYING_S: Final = 2.0
"""A worker that closed its connection is given so long to die of what it was dying of."""
_BURIAL_S: Final = 2.0
"""What workers left behind is killed and waited for at most so long."""


class Zygote:
    """Forks workers on request and buries them; at the end it removes the tuner's files, which are in `folder`."""

    def __init__(self, channel: Channel, folder: Path) -> None:
        self._channel = channel
        self._folder = folder
        self._site: Site | None = None
        self._memory_bytes = 0
        self._workers: set[int] = set()
        self._worker_type: type[Worker]

    def serve(self) -> None:
        """Answers the tuner until it closes the connection or dies; then ends all workers."""
        try:
            while True:
                message = self._channel.receive()
                answer, fds = self._answer(message)
                self._channel.send(answer, fds)
                for fd in fds:
                    os.close(fd)
        except WireError:
            pass  # the tuner is gone
        finally:
            for pid in tuple(self._workers):
                self._end(pid, 0.0)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, message: Message) -> tuple[Message, list[int]]:
        match message["op"]:
            case "task":
                return self._take_task(message), []
            case "outputs":
                return self._reload_outputs(message["agreed"]), []
            case "fork":
                return self._fork()
            case "end":
                return self._end(message["pid"], message["grace_s"]), []
        return {"error": f"unknown request {message['op']!r}"}, []

    def _take_task(self, message: Message) -> Message:
        from .reference import load_inputs, load_outputs
        from .worker import Site, named

        os.chdir(self._folder)
        self._memory_bytes = message["memory_bytes"]
        try:
            task = structure(message["task"], Task)
            builder = named(message["builder"])
            self._worker_type = named(message["worker"])
            pulse = self._worker_type.pulse(task)
        except (AutoschedError, ImportError, AttributeError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        self._site = Site(
            task=task,
            folder=self._folder,
            builder=builder,
            inputs=load_inputs(task, self._folder),
            outputs=load_outputs(task, self._folder),
            pulse=pulse,
        )
        gc.collect()
        gc.freeze()  # else every worker copies the pages of all objects when it first collects
        return {"base_bytes": memory_bytes(os.getpid())}

    def _reload_outputs(self, agreed: int) -> Message:
        from .reference import load_outputs

        assert self._site is not None
        outputs = load_outputs(self._site.task, self._site.folder, agreed)
        self._site = attrs.evolve(self._site, outputs=outputs, agreed=agreed)
        return {"base_bytes": memory_bytes(os.getpid())}

    def _fork(self) -> tuple[Message, list[int]]:
        ours, theirs = channel_pair()
        log = os.memfd_create("log")
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(zygote, theirs, log)
        theirs.close()
        self._workers.add(pid)
        return {"pid": pid}, [ours.detach(), log]

    def _become_worker(self, zygote: int, channel: Channel, log: int) -> None:
        """Never returns: what the child does must not reach the zygote's own code."""
        status = 1
        try:
            os.setsid()
            die_with_parent(zygote)
            self._channel.close()
            for fd in (1, 2):
                os.dup2(log, fd)
            limit_memory(self._memory_bytes)
            assert self._site is not None
            gc.disable()  # it lives for a candidate: what a collection frees is less than the pages that it copies
            self._worker_type(channel, self._site).serve()
            status = 0
        finally:
            # A traceback is printed by hand: leaving through the interpreter would run the zygote's cleanup.
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(status)

    def _end(self, pid: int, grace_s: float) -> Message:
        """Kills a worker and all that it started; says how it had ended, and what it had left running."""
        if pid not in self._workers:
            return {"error": f"{pid} is no worker"}
        was_dead = _wait_until_dead(pid, grace_s)
        strays = set(descendants(pid))
        kill_group(pid)
        kill_all({pid, *strays})
        _, status, usage = os.wait4(pid, 0)
        self._workers.discard(pid)
        strays |= self._bury_orphans()
        died_of = os.WTERMSIG(status) if was_dead and os.WIFSIGNALED(status) else 0
        return {
            "was_dead": was_dead,
            "signal": died_of,
            "exit": os.WEXITSTATUS(status) if was_dead and os.WIFEXITED(status) else 0,
            "strays": len(strays),
            "peak_bytes": usage.ru_maxrss * 1024,
        }

    def _bury_orphans(self) -> set[int]:
        """Kills and waits for all children that are no workers: what workers had started and left."""
        found: set[int] = set()
        end = time.monotonic() + _BURIAL_S
        while time.monotonic() < end:
            orphans = set(children(os.getpid())) - self._workers
            found |= orphans
            for orphan in orphans:
                kill_all(descendants(orphan))
            kill_all(orphans)
            with contextlib.suppress(ChildProcessError):
                while self._reap_orphan():
                    pass
            if not orphans:
                break
            select.select([], [], [], 0.001)  # what was killed takes a moment to die
        return found

    def _reap_orphan(self) -> bool:
        """Waits for one child that is dead and no worker; a dead worker keeps its status until it is asked for."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_pid in self._workers:
            return False
        os.waitpid(ended.si_pid, 0)
        return True


def _wait_until_dead(pid: int, grace_s: float) -> bool:
    end = time.monotonic() + grace_s
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= end:
            return False
        select.select([], [], [], 0.002)
    return True


def main(fd: int, folder: Path) -> None:
    """Serves the tuner at the other end of the socket `fd`, whose files are in `folder`."""
    from . import worker  # noqa: F401 # TVM is imported before the first request, while the tuner thinks

    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the tuner's to handle
    Zygote(channel_from_fd(fd), folder).serve()


if __name__ == "__main__":
    leave_torch_out()
    main(int(sys.argv[1]), Path(sys.argv[2]))
