"""The memory that a kernel works on: guard bytes around every buffer, and outputs that start as nonsense.

Every buffer begins at a multiple of 64 bytes, in the run that is verified and in those that are timed: one layout, so
that a time does not depend on where memory happened to be. (That kernels also work on NumPy's arrays, which begin
elsewhere, is the lowering's promise and tested there.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..spec.dtypes import is_float
from ..spec.inputs import random_inputs
from ..spec.numerics import array_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..spec.task import Task
    from ..spec.workload import Buffer

ALIGN_BYTES: Final = 64
GUARD_BYTES: Final = 4096
_SAMPLED_BYTES: Final = 16 * 2**20
_STRIDE_WORDS: Final = 64
"""Of larger buffers one word in 64 is summed."""


def loaded_buffers(task: Task) -> list[GuardedBuffer]:
    """A buffer for each parameter of a task, in order: inputs with random values, outputs with nonsense."""
    workload = task.workload
    inputs = random_inputs(workload, 0, task.ranges)
    buffers = [GuardedBuffer(workload.buffers[name]) for name in workload.params]
    for buffer in buffers:
        if buffer.buffer.name in inputs:
            buffer.load(inputs[buffer.buffer.name])
        else:
            buffer.erase()
    return buffers


class GuardedBuffer:
    """A buffer's bytes between two guards, all filled with a pattern: NaN in every float type, 0xA5 in integers."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self._bytes = buffer.bytes_in_all
        self._pattern = 0xFF if is_float(buffer.dtype) else 0xA5
        # NumPy asks the kernel for huge pages where an array is large, as it does for users' arrays.
        self._memory: NDArray[np.uint8] = np.empty(self._bytes + 2 * GUARD_BYTES + ALIGN_BYTES, dtype=np.uint8)
        self._begin = GUARD_BYTES + -(self._memory.ctypes.data + GUARD_BYTES) % ALIGN_BYTES

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes between the guards."""
        return self._memory[self._begin : self._begin + self._bytes]

    def erase(self) -> None:
        """Fills buffer and guards with the pattern."""
        self._memory.fill(self._pattern)

    def load(self, array: NDArray[Any]) -> None:
        """Fills the buffer with an array's values and the guards with the pattern."""
        self.erase()
        np.copyto(self.data, np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def array(self) -> NDArray[Any]:
        """The buffer's values, shaped; not a copy."""
        return self.data.view(array_dtype(self.buffer.dtype)).reshape(self.buffer.shape)

    def is_intact(self) -> bool:
        """True while the guards hold the pattern: nothing was written close by."""
        end = self._begin + self._bytes
        return bool(
            (self._memory[: self._begin] == self._pattern).all() and (self._memory[end:] == self._pattern).all()
        )

    def checksum(self) -> int:
        """A number that changes, most likely, when values do; of every value up to 16 MB, of a sample beyond."""
        whole = len(self.data) // 8 * 8
        words = self.data[:whole].view(np.uint64)
        sampled = words if whole <= _SAMPLED_BYTES else words[::_STRIDE_WORDS]
        return int(sampled.sum(dtype=np.uint64)) ^ int(self.data[whole:].sum(dtype=np.uint64))
