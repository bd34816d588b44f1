"""A shared server of one's own for tests: Valkey or Redis, whichever is installed, on a port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

redis = pytest.importorskip("redis", reason="the client of autosched[server] is not installed")

if TYPE_CHECKING:
    from pathlib import Path

BINARY = shutil.which("valkey-server") or shutil.which("redis-server")


class RealServer:
    """A server process that can be killed and started again; its data are in `folder` and outlive it."""

    def __init__(self, folder: Path) -> None:
        if BINARY is None:
            pytest.skip("neither valkey-server nor redis-server is installed: apt-get install redis-server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, protocol=2)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [str(BINARY), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                self.client.ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        self.kill()
        self.client.close()
