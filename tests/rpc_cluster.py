"""A TVM RPC tracker and servers on this machine, as real as those elsewhere; each a process group of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from autosched.search import tracker
from autosched.search.tracker import Remote

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

KEY = "test-board"
_PATIENCE_S = 60.0


class Cluster:
    """A tracker with servers of one key; what is started here ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.remote = Remote("127.0.0.1", free_port(), KEY, patience_s=30.0)

    def __enter__(self) -> Self:
        self.start_tracker()
        return self

    def __exit__(self, *_: object) -> None:
        for name in tuple(self._processes):
            self.kill(name)

    def start_tracker(self) -> None:
        self._start("tracker", "tvm.exec.rpc_tracker", self.remote.port)
        _wait_for(lambda: tracker.servers(self.remote) is not None)

    def start_server(self, host: str = "127.0.0.1") -> str:
        """The address of one more server, once the tracker knows it; at ``127.0.0.2`` it passes for another host."""
        port = free_port()
        address = f"{host}:{port}"
        options = ("--host", host, "--custom-addr", host, "--tracker", self.remote.address, "--key", KEY)
        self._start(address, "tvm.exec.rpc_server", port, *options)
        _wait_for(lambda: address in self.servers())
        return address

    def servers(self) -> tuple[str, ...]:
        return tracker.servers(self.remote).get(KEY, ())

    def group(self, name: str) -> int:
        """The process group of a server or of the tracker."""
        return self._processes[name].pid

    def sessions(self, name: str) -> int:
        """How many sessions a server has opened."""
        return self._log(name).read_text().count("start serving")

    def kill(self, name: str) -> None:
        """Kills a server or the tracker at once, with all its processes."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name.replace(':', '-')}.log"

    def _start(self, name: str, module: str, port: int, *options: str) -> None:
        with self._log(name).open("wb") as log:
            command = [sys.executable, "-m", module, "--host", "127.0.0.1", f"--port={port}", f"--port-end={port + 1}"]
            self._processes[name] = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_for(is_there: object) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if is_there():  # type: ignore[operator]
                return
        except tracker.TrackerError:
            pass
        assert time.monotonic() < end, "it did not start"
        time.sleep(0.1)
