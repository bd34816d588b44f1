"""TVM's RPC from the side that asks: a session with a device, what its Linux says of it, and kernels that run there.

Code goes to a device as LLVM's text, which the server's TVM turns into machine code: no compiler or linker is needed
here or there, and what TVM's wheels bring is enough. A few lines of such text (`PROBE`) are what this package runs on
a device beside its kernels; a plain ``python -m tvm.exec.rpc_server`` knows nothing of us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tvm
from tvm import rpc

from .check import check_schedule
from .tvm_build import TVM_ERRORS, compile_module, tvm_target, useful_line
from .tvm_lower import module_from_plan
from .tvm_run import FLUSH_BYTES, packing_of, tensor_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nest import Plan
    from .schedule import Schedule
    from .task import Task
    from .workload import Buffer

RPC_ERRORS: Final = (OSError, *TVM_ERRORS)
"""What a call raises whose session is broken, or whose function failed."""

_PATH_BYTES: Final = 256
_FILE_BYTES: Final = 2**16
_MASK_BYTES: Final = 128
"""1024 CPUs, as glibc's cpu_set_t."""
_ONE_CORE_PER_THREAD: Final = -2

PROBE: Final = r"""
declare ptr @fopen(ptr, ptr)
declare i64 @fread(ptr, i64, i64, ptr)
declare i32 @fclose(ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)

@reading = private constant [2 x i8] c"r\00"

define private i64 @word(ptr %args, i64 %n) {
  %start = mul i64 %n, 16
  %offset = add i64 %start, 8
  %place = getelementptr i8, ptr %args, i64 %offset
  %value = load i64, ptr %place
  ret i64 %value
}

define private ptr @data(ptr %args, i64 %n) {
  %word = call i64 @word(ptr %args, i64 %n)
  %tensor = inttoptr i64 %word to ptr
  %data = load ptr, ptr %tensor
  ret ptr %data
}

define private i32 @give(ptr %result, i64 %value) {
  store i64 1, ptr %result
  %place = getelementptr i8, ptr %result, i64 8
  store i64 %value, ptr %place
  ret i32 0
}

define i32 @__tvm_ffi_read(ptr %self, ptr %args, i32 %count, ptr %result) {
  %path = call ptr @data(ptr %args, i64 0)
  %into = call ptr @data(ptr %args, i64 1)
  %most = call i64 @word(ptr %args, i64 2)
  %file = call ptr @fopen(ptr %path, ptr @reading)
  %absent = icmp eq ptr %file, null
  br i1 %absent, label %none, label %some
none:
  %said = call i32 @give(ptr %result, i64 -1)
  ret i32 %said
some:
  %length = call i64 @fread(ptr %into, i64 1, i64 %most, ptr %file)
  %closed = call i32 @fclose(ptr %file)
  %given = call i32 @give(ptr %result, i64 %length)
  ret i32 %given
}

define i32 @__tvm_ffi_pin(ptr %self, ptr %args, i32 %count, ptr %result) {
  %mask = call ptr @data(ptr %args, i64 0)
  %size = call i64 @word(ptr %args, i64 1)
  %status = call i32 @sched_setaffinity(i32 0, i64 %size, ptr %mask)
  %wide = sext i32 %status to i64
  %given = call i32 @give(ptr %result, i64 %wide)
  ret i32 %given
}

define i32 @__tvm_ffi_checksum(ptr %self, ptr %args, i32 %count, ptr %result) {
entry:
  %bytes = call ptr @data(ptr %args, i64 0)
  %size = call i64 @word(ptr %args, i64 1)
  %empty = icmp eq i64 %size, 0
  br i1 %empty, label %end, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ -3750763034362895579, %entry ], [ %mixed, %loop ]
  %place = getelementptr i8, ptr %bytes, i64 %i
  %byte = load i8, ptr %place
  %wide = zext i8 %byte to i64
  %changed = xor i64 %sum, %wide
  %mixed = mul i64 %changed, 1099511628211
  %next = add i64 %i, 1
  %done = icmp eq i64 %next, %size
  br i1 %done, label %end, label %loop
end:
  %final = phi i64 [ 0, %entry ], [ %mixed, %loop ]
  %given = call i32 @give(ptr %result, i64 %final)
  ret i32 %given
}
"""
"""Functions in LLVM's text, by the binary interface of TVM's FFI: an argument is a word for its kind and one of value.

`read` gives the length of a file's beginning and fills a tensor with it, -1 where there is no such file; `pin` puts the
calling thread on the CPUs of a mask; `checksum` is FNV-1a of a tensor's bytes.
"""


class DeviceSession:
    """A session with a TVM RPC server, at `address`: a process of its own there, which ends with this one."""

    def __init__(self, host: str, port: int, match_key: str, timeout_s: float) -> None:
        self.address = (host, port)
        self._session: Any = rpc.connect(host, port, match_key, session_timeout=timeout_s)
        self._device: Any = self._session.cpu()
        self._loaded = 0
        self._probe: Any = None
        self.tensors: dict[str, Any] = {}
        """Buffers on the device, by the names of the task."""

    @property
    def device(self) -> Any:
        """TVM's object for the device's CPU."""
        return self._device

    def cpu(self) -> tuple[str, str]:
        """The device's CPU as the LLVM there calls it, and its triple: ``znver4``, ``x86_64-linux-gnu``."""
        name, triple = (f"target.llvm_get_system_{what}" for what in ("cpu", "triple"))
        return str(self._session.get_function(name)()), str(self._session.get_function(triple)())

    def load(self, text: str) -> Any:
        """The module of LLVM's text, on the device."""
        name = f"code{self._loaded}.ll"
        self._loaded += 1
        self._session.upload(bytearray(text.encode()), target=name)
        return self._session.load_module(name)

    def load_probe(self, code: str) -> None:
        """Loads our functions, for the same CPU as some other `code`."""
        head = [line for line in code.splitlines() if line.startswith(("target datalayout", "target triple"))]
        self._probe = self.load("\n".join([*head, PROBE]))

    def read(self, path: str) -> bytes | None:
        """The beginning of a file of the device, at most 64 KiB; None where there is none, or it may not be read."""
        name = np.zeros(_PATH_BYTES, dtype=np.uint8)
        name[: len(path)] = np.frombuffer(path.encode("ascii"), dtype=np.uint8)
        into = tvm.runtime.empty((_FILE_BYTES,), "uint8", self._device)
        length = int(self._probe.get_function("read")(tvm.runtime.tensor(name, self._device), into, _FILE_BYTES))
        return None if length < 0 else into.numpy()[:length].tobytes()

    def start_threads(self, cpus: Sequence[int]) -> None:
        """Gives the session's pool a thread for each of `cpus`, and pins each thread to its own.

        RuntimeError where the device does not do so.
        """
        listed = self._session.get_function("ffi.Array")(*map(str, cpus))
        self._session.get_function("runtime.config_threadpool")(_ONE_CORE_PER_THREAD, len(cpus), listed)
        mask = np.zeros(_MASK_BYTES, dtype=np.uint8)
        mask[cpus[0] // 8] = 1 << cpus[0] % 8  # TVM pins the threads that it starts; this is the one that calls them
        status = self._probe.get_function("pin")(tvm.runtime.tensor(mask, self._device), _MASK_BYTES)
        threads = int(self._session.get_function("runtime.NumThreads")())
        if int(status) != 0 or threads != len(cpus):
            raise RuntimeError(f"{threads} threads were started where {len(cpus)} pinned ones were asked for")

    def allocate(self, buffer: Buffer) -> None:
        """Makes the device's buffer of that name."""
        self.tensors[buffer.name] = tvm.runtime.empty(buffer.shape, buffer.dtype, self._device)

    def send(self, buffer: Buffer, memory: Any) -> None:
        """Fills the device's buffer with the bytes of `memory`."""
        tensor_over(memory, buffer.shape, buffer.dtype).copyto(self.tensors[buffer.name])

    def fetch(self, buffer: Buffer, memory: Any) -> None:
        """Fills `memory` with the bytes of the device's buffer."""
        self.tensors[buffer.name].copyto(tensor_over(memory, buffer.shape, buffer.dtype))

    def checksum(self, buffer: Buffer) -> int:
        """A number that changes when the bytes of the device's buffer do."""
        return int(self._probe.get_function("checksum")(self.tensors[buffer.name], buffer.bytes_in_all))

    def is_alive(self) -> bool:
        """True while the other side answers."""
        try:
            self._session.get_function("runtime.NumThreads")
        except RPC_ERRORS:
            return False
        return True


class DeviceKernel:
    """A plan's code for a device, made here; once loaded there, a kernel on the device's buffers and by its clock."""

    def __init__(self, executable: tvm.runtime.Executable, plan: Plan) -> None:
        self.code = str(executable.mod.inspect_source("ll"))
        self._plan = plan

    def load(self, session: DeviceSession) -> None:
        """Has the device make machine code of it."""
        self._module: Any = session.load(self.code)
        self._device = session.device
        self._function: Any = self._module.get_function("main")
        self._tensors = tuple(session.tensors[param] for param in self._plan.workload.params)
        self._packing = packing_of(self._plan, self._module)
        self._constants = tuple(session.tensors[name] for name in self._packing.constants) if self._packing else ()

    def prepare(self) -> None:
        """Computes what is computed once."""
        if self._packing is not None:
            self._tensors += self._packing.packed(self._constants, self._device)
            self._packing = None

    def call(self) -> None:
        """Runs once and returns when the device says that it is done."""
        self.prepare()
        self._function(*self._tensors)

    def timed_call(self) -> float:
        """Seconds of a call on the device; it calls once more before."""
        return self.time_s(1, 1)[0]

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        """Seconds per call on the device: `repeats` samples, each the mean of `number` calls; one more call first."""
        self.prepare()
        flush_bytes = FLUSH_BYTES if flush_cache else 0
        timed = self._module.time_evaluator(
            "main", self._device, number=number, repeat=repeats, cache_flush_bytes=flush_bytes
        )
        return tuple(float(seconds) for seconds in timed(*self._tensors).results)


def device_kernel(schedule: Schedule, task: Task) -> DeviceKernel:
    """The code of a schedule for the CPU that the task's target names.

    SpecError where the schedule does not fit, LoweringError where the compiler refuses it.
    """
    plan = check_schedule(schedule, task)
    executable = compile_module(module_from_plan(plan), tvm_target(task.target, task.threads), check_arguments=False)
    return DeviceKernel(executable, plan)


def reason(error: BaseException) -> str:
    """What a broken session says of itself, in one line."""
    if "kShutdown" in str(error):
        return "the server ended the session"
    return useful_line(error)
