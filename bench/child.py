"""A contender's process: ``python -m autosched.bench.child NAME`` answers a JSON line for each that it reads.

It ends when its standard input closes. Between requests it waits in a read, so that it takes nothing from the others.
Standard library only, so that it also runs in a peer's own environment.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from .threads import burst, pin_working, working_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from .opened import Opened

WARM_S: Final = 0.02
"""Before each sample a kernel is called for so long: others have used the caches, and threads sleep."""


class Server:
    """Answers requests about one contender."""

    def __init__(self, name: str) -> None:
        self._module: Any = importlib.import_module(f".peers.{name}", __package__)
        self._opened: Opened | None = None
        self._numbers: dict[str, int] = {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        operations = {"open": self.open, "search": self.search, "time": self.time, "save": self.save}
        return operations[message["do"]](message)

    def search(self, message: dict[str, Any]) -> dict[str, Any]:
        """Has a contender that tunes search, on the CPUs of the order; what it finds stays in a folder."""
        os.sched_setaffinity(0, message["order"]["cpus"])
        found: dict[str, Any] = self._module.search(message["order"], message["folder"], message["trials"])
        return found

    def open(self, message: dict[str, Any]) -> dict[str, Any]:
        """Makes the kernels and pins the threads that compute, or counts them where they are left free."""
        order, burst_s = message["order"], message["burst_s"]
        os.sched_setaffinity(0, order["cpus"])
        self._opened = opened = self._module.open_contender(order)
        if message["pin"]:
            threads = {n: pin_working(call, order["cpus"], burst_s) for n, call in opened.kernels.items()}
        else:
            threads = {n: len(working_threads(call, burst_s)) for n, call in opened.kernels.items()}
        return {"version": opened.version, "threads": threads}

    def time(self, message: dict[str, Any]) -> dict[str, Any]:
        """One sample of a kernel: seconds per call, the mean of calls that last `sample_s` together."""
        name, sample_s = message["kernel"], message["sample_s"]
        call = self._kernels[name]
        if name not in self._numbers:
            self._numbers[name] = calls_per_sample(call, sample_s)
        burst(call, WARM_S)
        return {"seconds": timed(call, self._numbers[name])}

    def save(self, message: dict[str, Any]) -> dict[str, Any]:
        """Calls a kernel and writes its output as a file of NumPy's."""
        import numpy as np

        name = message["kernel"]
        self._kernels[name]()
        assert self._opened is not None
        np.save(message["path"], self._opened.output(name))
        return {}

    @property
    def _kernels(self) -> Any:
        assert self._opened is not None, "the first request is to open"
        return self._opened.kernels


def timed(call: Callable[[], object], number: int) -> float:
    """Seconds per call of `number` calls in a row. Every contender is timed by this loop, whatever clock it has."""
    begin = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - begin) / number


def calls_per_sample(call: Callable[[], object], sample_s: float) -> int:
    """Calls in a row that last `sample_s`."""
    burst(call, WARM_S)
    number, call_s = 1, timed(call, 1)
    while number * call_s < sample_s / 10:
        number = 2 * number
        call_s = timed(call, number)
    return max(1, math.ceil(sample_s / call_s))


def main() -> None:
    """Serves until standard input closes; whatever a library prints goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        server = Server(sys.argv[1])
        for line in sys.stdin:
            answers.write(json.dumps(server.answer(json.loads(line))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
