"""Running what TVM built: arrays handed over without a copy, one call, timed calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

import tvm
import tvm_ffi

from .dtypes import size_bytes
from .once import PACK, pack_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .nest import Plan
    from .workload import Workload

Executable: TypeAlias = tvm.runtime.Executable
"""What TVM's compiler makes of a module."""

FLUSH_BYTES = 64 * 2**20
"""Written before each sample when caches are to be cold: more than the last-level cache that one core can use."""


def tensor_over(memory: NDArray[Any], shape: Sequence[int], dtype: str) -> tvm.runtime.Tensor:
    """A TVM tensor over the bytes of `memory`, which must be writable and outlive it; nothing is copied.

    DLPack from NumPy knows no bfloat16, so every dtype goes as bytes of its size and is renamed on TVM's side.
    """
    words = memory.view(f"u{size_bytes(dtype)}").reshape(tuple(shape))
    return tvm_ffi.from_dlpack(words)._create_view(tuple(shape), dtype)  # noqa: SLF001 # the only way to rename


class Packing:
    """The pack part of a compiled module: fills new buffers, which ``main`` takes, from the constants."""

    def __init__(self, module: Any, workload: Workload, name: str = PACK) -> None:
        self._function: Any = module.get_function(name, query_imports=True)
        self._made = [workload.buffers[name] for name in workload.params if name in workload.writer]
        self.constants = tuple(name for name in workload.params if name not in workload.writer)
        """The task's inputs that it reads, in the order of its arguments."""

    def packed(self, constants: Sequence[tvm.runtime.Tensor], device: Any = None) -> tuple[tvm.runtime.Tensor, ...]:
        """The buffers for ``main``, filled, behind the task's parameters in this order; on this CPU or a `device`."""
        made = tuple(tvm.runtime.empty(buffer.shape, buffer.dtype, device or tvm.cpu(0)) for buffer in self._made)
        self._function(*constants, *made)
        return made


def packing_of(plan: Plan, module: Any, name: str = PACK) -> Packing | None:
    """The pack part of a plan in its compiled module; None where nothing is computed once."""
    part = pack_part(plan)
    return None if part is None else Packing(module, part.workload, name)


class CompiledKernel:
    """A function of a plan's executable, compiled to machine code already, bound to its arguments.

    `tensors` are the arguments by name, one for each parameter of the task. A module of many functions has them as
    `name`, and what is computed once as `name` and ``_pack``.
    """

    def __init__(
        self,
        executable: Executable,
        plan: Plan,
        tensors: Mapping[str, tvm.runtime.Tensor],
        name: str = "main",
    ) -> None:
        self._name = name
        self._module: Any = executable.jit()
        self._function: Any = self._module.get_function(name, query_imports=True)  # machine code is made here
        self._tensors = tuple(tensors[param] for param in plan.workload.params)
        self._packing = packing_of(plan, self._module, PACK if name == "main" else f"{name}_{PACK}")
        self._constants = tuple(tensors[param] for param in self._packing.constants) if self._packing else ()

    def prepare(self) -> None:
        """Computes what is computed once; the first call does so where nobody did before."""
        if self._packing is not None:
            self._tensors += self._packing.packed(self._constants)
            self._packing = None

    def call(self) -> None:
        """Runs once, on the device's own clock: returns when the result is there."""
        self.prepare()
        self._function(*self._tensors)

    def timed_call(self) -> float:
        """Runs once; the seconds it took. Python's clock adds a millionth of a second."""
        begin = time.perf_counter()
        self.call()
        return time.perf_counter() - begin

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        """Seconds per call: `repeats` samples, each the mean of `number` calls in a row; one more call goes first.

        With `flush_cache` the caches are overwritten before each sample.
        """
        self.prepare()
        timed = self._module.time_evaluator(
            self._name,
            tvm.cpu(0),
            number=number,
            repeat=repeats,
            cache_flush_bytes=FLUSH_BYTES if flush_cache else 0,
        )
        return tuple(float(seconds) for seconds in timed(*self._tensors).results)
