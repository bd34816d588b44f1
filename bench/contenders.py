"""Who takes part, and the parent's hold on each one's process."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.errors import MeasureError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from .opened import Order

_PATIENCE_S: Final = 300.0
_IDLE_LOOKS: Final = 3
_IDLE_PATIENCE_S: Final = 2.0
_LOOK_S: Final = 0.001


@attrs.frozen(kw_only=True)
class Contender:
    """Someone who computes: a module of `peers` in a process of its own.

    `needs` are the packages without which it is skipped, `operators` those it has (none named: all), `python` the
    interpreter of its environment (None: ours), `remedy` what installs it. `pinned` is False for who is to be timed as
    users leave it. Who `searches` has a kernel only once it has found one, in the folder `found`; whatever becomes of
    it, the others are timed.
    """

    name: str
    module: str
    needs: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    python: str | None = None
    remedy: str = "pip install 'autosched[bench]'"
    pinned: bool = True
    searches: bool = False
    found: str = ""


_METASCHEDULE_NEEDS: Final = ("tvm", "xgboost", "cloudpickle", "psutil", "tornado", "scipy")
ANSOR_VARIABLE: Final = "AUTOSCHED_ANSOR"
"""The environment variable that names another Python for Ansor."""
ANSOR_PYTHON: Final = Path(".ansor/bin/python")
"""Where ``make ansor`` puts one, seen from the folder of the project."""


def ansor_python() -> str:
    """The interpreter of Ansor's environment, which need not be there; not resolved, as a link is what makes it one."""
    return os.environ.get(ANSOR_VARIABLE) or str(ANSOR_PYTHON.absolute())


OURS: Final = Contender(name="autosched", module="ours")
EXAMPLE: Final = Contender(name="example", module="example", operators=("gemm",), pinned=False)
TORCH_OPERATORS: Final = (
    "gemm", "batch_gemm", "gemv", "bilinear", "mttkrp", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "depthwise_conv2d", "linear", "softmax", "mean", "variance", "layer_norm",
    "pointwise",
)  # fmt: skip
"""Those that PyTorch has, or composes of what it has."""
TORCH_LAYOUTS: Final = Contender(name="torch", module="torch_layouts", needs=("torch",), operators=("conv2d", "gemm"))
"""In the place of torch: eager as ever, and the layouts that its users can change to."""
PEERS: Final = {
    "torch": Contender(name="torch", module="torch_eager", needs=("torch",), operators=TORCH_OPERATORS),
    "numpy": Contender(name="numpy", module="numpy_blas", needs=("numpy",), operators=("gemm",)),
    "metaschedule": Contender(
        name="metaschedule",
        module="metaschedule",
        needs=_METASCHEDULE_NEEDS,
        operators=("conv2d", "gemm"),
        searches=True,
    ),
    "ansor": Contender(
        name="ansor",
        module="ansor",
        operators=("conv2d", "gemm"),
        python=ansor_python(),
        remedy=f"make ansor, or name its Python in {ANSOR_VARIABLE}",
        searches=True,
    ),
}
"""Whom ``--against`` can name."""


def peers_named(names: Iterable[str]) -> tuple[Contender, ...]:
    """The peers of these names; SpecError for one that is not there."""
    chosen = dict.fromkeys(names)
    for name in chosen:
        if name not in PEERS:
            raise SpecError(f"unknown peer {name!r}; allowed: {', '.join(PEERS)}", "against")
    return tuple(PEERS[name] for name in chosen)


def is_installed(contender: Contender) -> bool:
    """True where a contender's interpreter is there, and what it needs of this environment."""
    if contender.python is not None and not os.access(contender.python, os.X_OK):
        return False
    return all(importlib.util.find_spec(name) is not None for name in contender.needs)


class Child:
    """The process of a contender; it blocks in a read while others are timed."""

    def __init__(self, contender: Contender, threads: int, lent: Path) -> None:
        self.name = contender.name
        self.searches = contender.searches
        self._found = contender.found
        self._pinned = contender.pinned
        self._process = subprocess.Popen(
            [contender.python or sys.executable, "-m", f"{__package__}.child", contender.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(contender, threads, lent),
        )

    def __enter__(self) -> Child:  # noqa: PYI034 # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, order: Order, burst_s: float) -> dict[str, Any]:
        """Makes the kernels: the contender's version, and how many threads compute in each, seen for `burst_s`."""
        order = {**order, "found": self._found}
        return self.ask({"do": "open", "order": order, "pin": self._pinned, "burst_s": burst_s})

    def sample(self, kernel: str, sample_s: float) -> float:
        """Seconds per call of a kernel, the mean of calls that last `sample_s` together."""
        return float(self.ask({"do": "time", "kernel": kernel, "sample_s": sample_s})["seconds"])

    def ask(self, message: dict[str, Any], patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """The answer to a request; MeasureError where the process ends or says nothing for so long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            ready, _, _ = select.select([self._process.stdout], [], [], patience_s)
        except BrokenPipeError:
            ready = [self._process.stdout]
        line = self._process.stdout.readline() if ready else b""
        if not line:
            said = f"ended with status {self._status()}" if ready else f"said nothing for {patience_s:.0f} s"
            raise MeasureError(f"contender {self.name!r} {said}; what it complained of stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _status(self) -> int:
        """The exit status of a process that closed its output, which is killed where it lingers."""
        try:
            return self._process.wait(_IDLE_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def settle(self) -> bool:
        """Waits until no thread of the process runs; False where one still did after seconds.

        Pools of threads spin for a while after a kernel: OpenBLAS for tens of milliseconds, TVM and OpenMP for a few.
        """
        end = time.monotonic() + _IDLE_PATIENCE_S
        looks = 0
        while looks < _IDLE_LOOKS:
            if time.monotonic() > end:
                return False
            looks = 0 if _is_running(self._process.pid) else looks + 1
            time.sleep(_LOOK_S)
        return True

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _is_running(pid: int) -> bool:
    """True while some thread of a process runs or wants to."""
    try:
        states = [
            (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
            for entry in Path(f"/proc/{pid}/task").iterdir()
        ]
    except OSError:  # a thread ended while it was looked at: look again
        return True
    return "R" in states


def _environment(contender: Contender, threads: int, lent: Path) -> dict[str, str]:
    """Ours, with as many threads for every library; the package alone is lent to a peer's own environment."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TVM_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    if contender.python is not None:
        environment["PYTHONPATH"] = str(lend_package(lent))
    return environment


def lend_package(folder: Path) -> Path:
    """A folder for PYTHONPATH that holds this package and nothing else of our environment."""
    link = folder / "lent" / "autosched"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        # Not resolved: in an editable install this file is seen through a folder of links.
        link.symlink_to(Path(__file__).absolute().parent.parent)
    return link.parent


def available_peers(names: Sequence[str]) -> tuple[tuple[Contender, ...], tuple[str, ...]]:
    """The named peers that are installed, and a line for each that is not."""
    peers = peers_named(names)
    lines = tuple(
        f"{peer.name} is not installed, its rows are left out: {peer.remedy}"
        for peer in peers
        if not is_installed(peer)
    )
    return tuple(peer for peer in peers if is_installed(peer)), lines
