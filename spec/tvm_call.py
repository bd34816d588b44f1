"""Compiled functions for a user's own process: arrays of any kind go in, TVM's pool has the right size.

TVM keeps a pool of threads for each thread that calls it, and fixes its size when the first parallel kernel runs there.
"""

from __future__ import annotations

import contextlib
import ctypes
import operator
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tvm
import tvm_ffi

from .check import check_schedule
from .errors import LoweringError, SpecError
from .gpu import limits_of
from .numerics import array_dtype
from .triple import foreign_triple, this_arch
from .tvm_build import TVM_ERRORS, compile_module, pool_threads, set_pool_threads, tvm_target, useful_line
from .tvm_lower import module_from_plan
from .tvm_names import data_address
from .tvm_run import packing_of, tensor_over
from .tvm_target import check_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .nest import Plan
    from .schedule import Schedule
    from .task import Task
    from .workload import Buffer


class _Packed(NamedTuple):
    """What was computed once: where the constants lay, the arrays, kept so that no other takes their place, and it."""

    places: tuple[int, ...]
    constants: tuple[object, ...]
    tensors: tuple[tvm.runtime.Tensor, ...]


class BuiltFunction:
    """The compiled function of a task: ``function(inputs..., outputs...)`` fills the outputs.

    Arguments are NumPy arrays at any alignment, TVM tensors, or anything else that speaks DLPack, in the order, shapes
    and dtypes of the task's parameters, row-major and without gaps. Wrong ones raise SpecError before anything runs.
    It may be called from any thread. Code for another machine, whose triple is `foreign`, can only be exported.

    What the schedule computes once, from constants, is computed when a constant comes in an array that the last call
    did not have; `repack` makes the next call do so where an array got new values.
    """

    def __init__(
        self, executable: tvm.runtime.Executable, plan: Plan, threads: int, foreign: str | None = None
    ) -> None:
        workload = plan.workload
        self.executable = executable
        self.foreign = foreign
        self.threads = threads
        self.parameters: tuple[Buffer, ...] = tuple(workload.buffers[name] for name in workload.params)
        self._dtypes = tuple(array_dtype(buffer.dtype) for buffer in self.parameters)
        self._outputs = frozenset(workload.outputs)
        self._pairs = _that_must_lie_apart(self.parameters, self._outputs)
        self._sizes = tuple(buffer.bytes_in_all for buffer in self.parameters)
        if foreign is not None:
            return
        self._module: Any = executable.jit()  # owns the machine code
        self._function: Any = self._module.get_function("main", query_imports=True)
        self._packing = packing_of(plan, self._module)
        self._packed: _Packed | None = None
        _prepared(threads)

    def __call__(self, *arguments: object) -> None:
        if self.foreign is not None:
            raise SpecError(
                f"the code is for {self.foreign!r}, this machine is {this_arch()}; export_library(path), call it there"
            )
        if len(arguments) != len(self.parameters):
            raise SpecError(f"{len(arguments)} arguments; give {len(self.parameters)}, inputs first: {self.signature}")
        kinds = zip(arguments, self.parameters, self._dtypes, strict=True)
        tensors = [self._tensor(argument, buffer, dtype) for argument, buffer, dtype in kinds]
        self._check_apart(tensors)
        if _prepared(self.threads):
            self._run(arguments, tensors)
        else:
            _own_thread(self.threads).submit(self._run, arguments, tensors).result()

    def repack(self) -> None:
        """Forgets what was computed once: constants have new values."""
        self._packed = None

    def _run(self, arguments: Sequence[object], tensors: Sequence[tvm.runtime.Tensor]) -> None:
        if self._packing is None:
            self._function(*tensors)
            return
        chosen = [n for n, buffer in enumerate(self.parameters) if buffer.name in self._packing.constants]
        places = tuple(data_address(tensors[n]) for n in chosen)
        packed = self._packed  # one read: another thread may pack meanwhile
        if packed is None or packed.places != places:
            made = self._packing.packed([tensors[n] for n in chosen])
            packed = self._packed = _Packed(places, tuple(arguments[n] for n in chosen), made)
        self._function(*tensors, *packed.tensors)

    @property
    def signature(self) -> str:
        """The parameters as ``A: (1024, 1024) float32, ...``."""
        return ", ".join(f"{buffer.name}: {buffer.shape} {buffer.dtype}" for buffer in self.parameters)

    def export_library(self, path: str | os.PathLike[str]) -> None:
        """Writes a shared library with the entry ``main``; LoweringError where there is no C compiler to link it.

        Where the schedule computes something once, the entry ``pack`` does it: it takes the constants, then the buffers
        to fill, which ``main`` takes behind the task's parameters.
        """
        try:
            self.executable.export_library(os.fspath(path), **_linker(self.foreign))
        except (OSError, *TVM_ERRORS) as error:
            raise LoweringError(
                f"{os.fspath(path)!r} cannot be written: {useful_line(error)}; it takes a C compiler "
                f"({'gcc or clang' if self.foreign is None else f'{self.foreign}-gcc'}) and a folder that exists"
            ) from error

    def _tensor(self, argument: object, buffer: Buffer, dtype: np.dtype[Any]) -> tvm.runtime.Tensor:
        if isinstance(argument, np.ndarray):
            return self._tensor_of_array(argument, buffer, dtype)
        tensor: Any = argument
        if not isinstance(argument, tvm.runtime.Tensor):
            if not hasattr(argument, "__dlpack__"):
                raise SpecError(
                    f"found a {type(argument).__name__}; give a NumPy array, a TVM tensor or an object with DLPack",
                    buffer.name,
                )
            try:
                tensor = tvm_ffi.from_dlpack(argument)
            except (BufferError, *TVM_ERRORS) as error:
                raise SpecError(
                    f"its DLPack cannot be taken: {useful_line(error)}; copy it first", buffer.name
                ) from error
        _check_fits(tuple(tensor.shape), str(tensor.dtype), buffer)
        if tensor.device.type != "cpu":
            raise SpecError(f"lies on {tensor.device}; copy it to the CPU", buffer.name)
        if not tensor.is_contiguous():
            raise SpecError("is not contiguous; make it so first", buffer.name)
        return tensor

    def _tensor_of_array(self, array: NDArray[Any], buffer: Buffer, dtype: np.dtype[Any]) -> tvm.runtime.Tensor:
        # The dtypes themselves: NumPy makes the name of one anew each time, which takes longer than all else here.
        if array.dtype != dtype or array.shape != buffer.shape:
            _check_fits(array.shape, array.dtype.name, buffer)
            if not array.dtype.isnative:
                raise SpecError("has swapped bytes; pass .astype(...) of it", buffer.name)
        flags = array.flags
        if not flags.c_contiguous:
            raise SpecError("is not contiguous, row-major; pass numpy.ascontiguousarray(...) of it", buffer.name)
        if not flags.writeable:
            if buffer.name in self._outputs:
                raise SpecError("is an output but read-only; pass an array that can be written", buffer.name)
            array = _writable_alias(array)
        if buffer.dtype in _NO_DLPACK:
            _check_fits(array.shape, array.dtype.name, buffer)  # where NumPy has no such type, another stands for it
            return tensor_over(array, buffer.shape, buffer.dtype)
        return tvm_ffi.from_dlpack(array)

    def _check_apart(self, tensors: Sequence[tvm.runtime.Tensor]) -> None:
        """SpecError where an output shares memory with another argument, which it would overwrite."""
        begins = list(map(data_address, tensors))
        ends = list(map(operator.add, begins, self._sizes))
        for output, other in self._pairs:
            if begins[output] < ends[other] and begins[other] < ends[output]:
                names = [self.parameters[number].name for number in (other, output)]
                raise SpecError(f"shares memory with {names[0]}; give it its own", names[1])


def built_function(schedule: Schedule, task: Task) -> BuiltFunction:
    """The compiled function of a task by a schedule.

    SpecError where the schedule does not fit, or this TVM cannot build for the target; LoweringError where it fails to.
    """
    check_target(task.target)
    if limits_of(task.target) is not None:
        raise SpecError(
            f"found {task.target.kind!r}; functions are built for the CPU so far; lower --cuda prints kernels",
            "target.kind",
        )
    plan = check_schedule(schedule, task)
    executable = compile_module(module_from_plan(plan), tvm_target(task.target, task.threads))
    return BuiltFunction(executable, plan, task.threads, foreign_triple(task.target))


def _that_must_lie_apart(parameters: Sequence[Buffer], outputs: frozenset[str]) -> tuple[tuple[int, int], ...]:
    """Each output with every other parameter, by their numbers; two outputs once."""
    return tuple(
        (number, other)
        for number, output in enumerate(parameters)
        for other, buffer in enumerate(parameters)
        if output.name in outputs and other != number and not (buffer.name in outputs and other < number)
    )


def _linker(foreign: str | None) -> dict[str, Any]:
    """What TVM is told to link with: for another machine the cross compiler that is called after its triple."""
    return {} if foreign is None else {"fcompile": tvm.support.cc.cross_compiler(f"{foreign}-gcc")}


def export_library(schedule: Schedule, task: Task, path: str | os.PathLike[str]) -> None:
    """Writes the compiled function as a shared library with the entries ``main`` and, where there is one, ``pack``."""
    built_function(schedule, task).export_library(path)


_NO_DLPACK = frozenset({"bfloat16"})
"""NumPy's arrays of these cannot be handed over as they are."""


def _check_fits(shape: tuple[int, ...], dtype: str, buffer: Buffer) -> None:
    if tuple(shape) != buffer.shape or dtype != buffer.dtype:
        raise SpecError(f"found {tuple(shape)} {dtype}, need {buffer.shape} {buffer.dtype}", buffer.name)


def _writable_alias(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory without NumPy's mark: DLPack refuses read-only arrays, and an input is only read."""
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    alias: NDArray[Any] = np.ctypeslib.as_array(memory).view(array.dtype).reshape(array.shape)
    return alias


# --- threads ----------------------------------------------------------------------------------------------------------

_local = threading.local()
_lock = threading.Lock()


def _prepared(threads: int) -> bool:
    """Gives the calling thread's pool `threads` threads; False where it was started smaller and stays so."""
    if getattr(_local, "too_small_for", None) == threads:
        return False
    if getattr(_local, "threads", None) == threads and pool_threads() == threads:
        return True
    before = os.sched_getaffinity(0)
    try:
        set_pool_threads(threads)
    except LoweringError:
        _local.too_small_for = threads
        return False
    finally:
        os.sched_setaffinity(0, before)
    _local.threads = threads
    return True


@lru_cache(maxsize=4)
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="autosched", initializer=_prepare_own_thread, initargs=(threads,))


def _own_thread(threads: int) -> ThreadPoolExecutor:
    """A thread of ours with a pool of the right size, for callers whose pool was started too small by someone else."""
    with _lock:
        return _executor(threads)


def _prepare_own_thread(threads: int) -> None:
    """Lets this thread use all CPUs that the process's threads may, then starts its pool."""
    allowed = set(os.sched_getaffinity(0))
    for entry in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            allowed |= os.sched_getaffinity(int(entry.name))
    os.sched_setaffinity(0, allowed)
    set_pool_threads(threads)
