"""What Linux offers to hold processes: death with the parent, memory limits, families of processes and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def die_with_parent(parent: int) -> None:
    """Makes the kernel kill this process when its parent `parent` ends; kills it now where that happened before."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes descendants whose parents end children of this process, so that none of them is lost from sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def limit_memory(extra_bytes: int) -> None:
    """Bounds the writable memory of this process to what it has now and `extra_bytes` more.

    RLIMIT_DATA and not RLIMIT_AS: the latter also counts address space that is only reserved, of which threads and
    libraries take gigabytes.
    """
    limit = _status_bytes(os.getpid(), ("VmData:",)) + extra_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def memory_bytes(pid: int) -> int:
    """Memory that a process has touched and no file backs, what it got from its parent included; 0 if it is gone."""
    return _status_bytes(pid, ("RssAnon:", "RssShmem:"))


def _status_bytes(pid: int, fields: tuple[str, ...]) -> int:
    """The sum of some fields of /proc/PID/status."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 # often asked
            return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(fields))
    except (OSError, IndexError):
        return 0


def children(pid: int) -> tuple[int, ...]:
    """The children of a process at this moment; without those that ended and were not waited for."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 # many times a second
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as listed:  # noqa: PTH123
                found += [int(child) for child in listed.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or the process is gone: the slow way knows
        with contextlib.suppress(psutil.Error):
            found = [child.pid for child in psutil.Process(pid).children()]
    return tuple(child for child in found if _is_running(child))


def descendants(pid: int) -> tuple[int, ...]:
    """The children of a process, their children and so on."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return tuple(found)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False


def marked_processes(name: str, value: str) -> tuple[int, ...]:
    """The processes whose environment holds `name` = `value`, and so everything that such a process started.

    A last resort: it finds what was left behind when a whole chain of parents was killed.
    """
    mark = f"{name}={value}".encode()
    found: list[int] = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 # thousands of entries, and Path objects are slow
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as environ:  # noqa: PTH123
                if mark in environ.read().split(b"\0"):
                    found.append(int(entry))
    return tuple(found)


def kill_all(pids: Iterable[int]) -> None:
    """Kills each process; one that is gone already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """Kills the process group that `pid` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def signal_name(number: int) -> str:
    """``SIGSEGV`` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
