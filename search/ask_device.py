"""``python -m autosched.search.ask_device``: asks one device what it is, in a process that can be killed.

One JSON object comes in on standard input (host, port, match key, seconds), one goes out: the device, or an error.
"""

from __future__ import annotations

import json
import os
import sys

from ..spec.builder import build, compute, placeholder
from ..spec.convert import unstructure
from ..spec.errors import AutoschedError
from ..spec.schedule import Schedule
from ..spec.task import Target, TargetOption, Task
from ..spec.without_torch import leave_torch_out
from .device import Device, device_from_files
from .processes import die_with_parent


def ask(host: str, port: int, match_key: str, timeout_s: float) -> Device:
    """The device at an address; MeasureError or one of TVM's where it does not say."""
    from ..spec.tvm_rpc import DeviceSession, device_kernel

    session = DeviceSession(host, port, match_key, timeout_s)
    cpu, triple = session.cpu()
    options = (TargetOption(name="mcpu", value=cpu), TargetOption(name="mtriple", value=triple))
    session.load_probe(device_kernel(Schedule(), _smallest_task(Target(options=options))).code)
    return device_from_files(session.read, cpu, triple)


def _smallest_task(target: Target) -> Task:
    """Something to compile: the head of any code for the device is that of `PROBE` too."""
    X = placeholder((1,), name="X")
    return Task(workload=build([X, compute((1,), lambda i: X[i], name="Y")]), target=target, threads=1)


def main() -> None:
    """Answers the one question."""
    leave_torch_out()  # before TVM is imported, here and in `ask`
    from ..spec.tvm_rpc import RPC_ERRORS, reason

    question = json.loads(sys.stdin.read())
    try:
        answer = {"device": unstructure(ask(**question))}
    except AutoschedError as error:
        answer = {"error": str(error)}
    except RPC_ERRORS as error:
        answer = {"error": reason(error)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # the session may be one that hangs when it is closed


if __name__ == "__main__":
    die_with_parent(os.getppid())
    main()
