"""Running what TVM built: arrays handed over without a copy, one call, timed calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import tvm
import tvm_ffi

from .dtypes import size_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Executable: TypeAlias = tvm.runtime.Executable
"""What TVM's compiler makes of a module."""

FLUSH_BYTES = 64 * 2**20
"""Written before each sample when caches are to be cold: more than the last-level cache that one core can use."""


def tensor_over(memory: NDArray[np.uint8], shape: Sequence[int], dtype: str) -> tvm.runtime.Tensor:
    """A TVM tensor over the bytes of `memory`, which must be writable and outlive it; nothing is copied.

    DLPack from NumPy knows no bfloat16, so every dtype goes as bytes of its size and is renamed on TVM's side.
    """
    words = memory.view(f"u{size_bytes(dtype)}").reshape(tuple(shape))
    return tvm_ffi.from_dlpack(words)._create_view(tuple(shape), dtype)  # noqa: SLF001 # the only way to rename


class CompiledKernel:
    """A function of an executable, ``main`` or `name`, compiled to machine code already, bound to its arguments."""

    def __init__(self, executable: Executable, tensors: Sequence[tvm.runtime.Tensor], name: str = "main") -> None:
        self._name = name
        self._module: Any = executable.jit()
        self._function: Any = self._module.get_function(name, query_imports=True)  # machine code is made here
        self._tensors = tuple(tensors)

    def call(self) -> None:
        """Runs once, on the device's own clock: returns when the result is there."""
        self._function(*self._tensors)

    def time_s(self, number: int, repeats: int, flush_cache: bool = False) -> tuple[float, ...]:
        """Seconds per call: `repeats` samples, each the mean of `number` calls in a row; one more call goes first.

        With `flush_cache` the caches are overwritten before each sample.
        """
        timed = self._module.time_evaluator(
            self._name,
            tvm.cpu(0),
            number=number,
            repeat=repeats,
            cache_flush_bytes=FLUSH_BYTES if flush_cache else 0,
        )
        return tuple(float(seconds) for seconds in timed(*self._tensors).results)
