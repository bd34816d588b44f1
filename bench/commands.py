"""autosched run as its users run it, a process for each command: what it says, how long it takes, what it imports."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAVY: Final = ("tvm", "tvm_ffi", "numpy", "torch")
"""What a command that measures nothing must not import."""
_LIMIT_S: Final = 1800.0


@attrs.frozen(kw_only=True)
class Ran:
    """A command that ended well: what it wrote to standard output, and its wall time from start to end."""

    output: str
    wall_s: float

    def json(self) -> dict[str, Any]:
        """The JSON object that it wrote."""
        found: dict[str, Any] = json.loads(self.output)
        return found


def run_command(words: Sequence[str], *, cwd: Path | None = None) -> Ran:
    """Runs ``autosched`` with these words; MeasureError where it does not succeed."""
    return _run([*_program(), *words], words, cwd)[0]


def heavy_imports(words: Sequence[str]) -> tuple[str, ...]:
    """Which of `HEAVY` a command imports, by Python's own account."""
    _, errors = _run([sys.executable, "-X", "importtime", *_program()[1:], *words], words, None)
    return imported(errors, HEAVY)


def imported(importtime: str, names: Sequence[str]) -> tuple[str, ...]:
    """Which packages of `names` occur in the account that ``python -X importtime`` gives.

    import time:       186 |        186 |   zipimport
    """
    lines = (line.rpartition("|")[2].strip() for line in importtime.splitlines() if line.startswith("import time:"))
    seen = {line.partition(".")[0] for line in lines}
    if "encodings" not in seen:
        raise MeasureError("python -X importtime said nothing; nothing is known of the imports")
    return tuple(name for name in names if name in seen)


def _program() -> list[str]:
    """How autosched is started: by its script, as users do, else as a module."""
    script = Path(sysconfig.get_path("scripts"), "autosched")
    return [sys.executable, str(script)] if script.is_file() else [sys.executable, "-m", "autosched.cli"]


def _run(command: list[str], words: Sequence[str], cwd: Path | None) -> tuple[Ran, str]:
    begin = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise MeasureError(f"autosched {' '.join(words)} did not end in {_LIMIT_S:.0f} s") from error
    wall_s = time.perf_counter() - begin
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise MeasureError(f"autosched {' '.join(words)} exited with {done.returncode}: {said[-1][:300]}")
    return Ran(output=done.stdout, wall_s=wall_s), done.stderr
