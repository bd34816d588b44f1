"""A store in another process, which answers the calls of `Store`'s methods."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from autosched.store.store import Store


class OtherProcess:
    """A process that has stores open until this one ends; errors come back as they were raised."""

    def __init__(self) -> None:
        code = "import sys; sys.path[:0] = [sys.argv[1]]; import store_process; store_process.main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, folder: str, method: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((folder, method, arguments), self._process.stdin)
        self._process.stdin.flush()
        is_error, found = pickle.load(self._process.stdout)  # noqa: S301 # of our own child
        if is_error:
            raise found
        return found

    def end(self) -> None:
        self._process.communicate(timeout=60)


class OtherStore:
    """A `Store` of the other process."""

    def __init__(self, process: OtherProcess, folder: str) -> None:
        self._process, self._folder = process, folder

    def __getattr__(self, method: str) -> Any:
        return functools.partial(self._process.call, self._folder, method)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until there are no more requests."""
    stores: dict[str, Store] = {}
    while True:
        try:
            folder, method, arguments = pickle.load(requests)  # noqa: S301 # of our own parent
        except EOFError:
            return
        store = stores.setdefault(folder, Store(folder))
        try:
            found = getattr(store, method)(*arguments)
            answer = (False, tuple(found) if isinstance(found, Iterator) else found)
        except Exception as error:  # noqa: BLE001 # the other side raises it
            answer = (True, error)
        if method == "close":
            del stores[folder]
        pickle.dump(answer, answers)
        answers.flush()


def main() -> None:
    serve(sys.stdin.buffer, sys.stdout.buffer)
