"""What a time was taken with: facts that change without making what is known worthless, kept beside each measurement.

| name | version |
|---|---|
| autosched, apache-tvm, apache-tvm-ffi | of the distributions; also llvm, which TVM's distribution has inside |
| spec | of the schedule language |
| linux, nvidia | of the kernel, of the GPU's driver |
| governor | what decides about the processor's clock, as ``performance`` |

Where one of them differs today, the stored time has drifted: a lookup says so, and `DRIFTS` are the words for what
else it does.
"""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Tool
from ..spec.errors import SpecError
from ..spec.tvm_versions import LLVM
from ..spec.versions import VERSION
from .installed import installed_versions
from .machine import this_machine

if TYPE_CHECKING:
    from ..spec.claim import Machine

TRUST, RECHECK, REJECT = DRIFTS = ("trust", "recheck", "reject")
"""What becomes of a time that has drifted: it is served all the same; it counts as a claim until it is taken again;
it is not served."""

_DISTRIBUTIONS: Final = ("autosched", "apache-tvm", "apache-tvm-ffi")
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_NVIDIA: Final = Path("/sys/module/nvidia/version")


@attrs.frozen(kw_only=True)
class Drift:
    """A fact of a measurement that is another one today."""

    field: str
    then: str
    now: str


def check_drift(word: str) -> None:
    """Raises SpecError unless `word` is one of `DRIFTS`."""
    if word not in DRIFTS:
        raise SpecError(f"unknown policy for drift {word!r}; allowed: {', '.join(DRIFTS)}", "drift")


def tools(machine: Machine) -> tuple[Tool, ...]:
    """What a time depends on that is taken now on `machine`; nothing of it is imported, what is not known is left out.

    Of another machine's kernel nothing is known here.
    """
    return (*_programs(), *(_surroundings() if machine == this_machine() else ()))


def compilers(found: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """Those that decide what becomes of a schedule on any machine: a failure holds as long as they are the same."""
    return tuple(tool for tool in found if tool.name in _DISTRIBUTIONS)


def drift_of(then: tuple[Tool, ...], now: tuple[Tool, ...]) -> tuple[Drift, ...]:
    """What is known of both times and differs, in the order of `then`."""
    today = {tool.name: tool.version for tool in now}
    return tuple(
        Drift(field=tool.name, then=tool.version, now=today[tool.name])
        for tool in then
        if today.get(tool.name, tool.version) != tool.version
    )


@functools.cache
def _programs() -> tuple[Tool, ...]:
    """What code is made with: the same as long as this process runs."""
    found = {"spec": str(VERSION), **installed_versions(_DISTRIBUTIONS)}
    llvm = LLVM.get(found.get("apache-tvm", ""))
    if llvm is not None:
        found["llvm"] = llvm
    return tuple(Tool(name=name, version=version) for name, version in found.items())


def _surroundings() -> tuple[Tool, ...]:
    """What code runs on beside the hardware. Of the kernel's name only the numbers: the rest may name a person."""
    release = re.match(r"\d+(?:\.\d+)*", platform.release() if platform.system() == "Linux" else "")
    found = {"linux": release[0] if release else "", "governor": _line(_GOVERNOR), "nvidia": _line(_NVIDIA)}
    return tuple(Tool(name=name, version=version) for name, version in found.items() if version)


def _line(path: Path) -> str:
    """The word in a file of the kernel's; empty where there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
    return text if re.fullmatch(r"[\w.-]{1,40}", text) else ""
