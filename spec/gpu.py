"""What a GPU can hold: limits of a target, from the options of its record and from a table by kind and architecture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .task import Option, Target


@attrs.frozen(kw_only=True)
class GpuLimits:
    """The most that a kernel may ask of a GPU.

    `threads_by_axis` and `blocks_by_axis` are for x, y and z; `shared_bytes` is what code may declare for a block, and
    `dynamic_shared_bytes` what a launch may give it (0 where there is no such thing). `registers` are those of a
    thread, of 4 bytes; `vector_bytes` move at once.
    """

    threads: int
    threads_by_axis: tuple[int, int, int]
    blocks_by_axis: tuple[int, int, int]
    shared_bytes: int
    dynamic_shared_bytes: int
    registers: int
    vector_bytes: int = 16


_PORTABLE: Final = GpuLimits(
    threads=256,
    threads_by_axis=(256, 256, 64),
    blocks_by_axis=(65535, 65535, 65535),
    shared_bytes=16 * 1024,
    dynamic_shared_bytes=0,
    registers=255,
)
_CUDA: Final = GpuLimits(
    threads=1024,
    threads_by_axis=(1024, 1024, 64),
    blocks_by_axis=(2**31 - 1, 65535, 65535),
    shared_bytes=48 * 1024,
    dynamic_shared_bytes=48 * 1024,
    registers=255,
)
GPUS: Final[Mapping[str, GpuLimits]] = {
    "cuda": _CUDA,
    "rocm": attrs.evolve(_CUDA, shared_bytes=64 * 1024, dynamic_shared_bytes=0),
    "opencl": _PORTABLE,
    "metal": attrs.evolve(_PORTABLE, threads_by_axis=(256, 256, 256), shared_bytes=32 * 1024),
    "vulkan": _PORTABLE,
    "webgpu": _PORTABLE,
}
"""Kind of target → what every GPU of the kind has: CUDA C++ programming guide, OpenCL's and WebGPU's minima."""

DYNAMIC_SHARED_KIB: Final[Mapping[int, int]] = {
    70: 96, 72: 96, 75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 110: 227, 120: 99, 121: 99,
}  # fmt: skip
"""Compute capability → KiB of shared memory that a launch may give a block (CUDA guide, table of technical specs)."""

_ARCH: Final = re.compile(r"sm_([0-9]+)[a-z]?")


def capability(arch: str) -> int | None:
    """The compute capability that an architecture of NVIDIA's names: 80 of ``sm_80``, 90 of ``sm_90a``."""
    found = _ARCH.fullmatch(arch)
    return int(found[1]) if found else None


def limits_of(target: Target) -> GpuLimits | None:
    """The limits of a GPU target, None for a CPU: what its options say goes before what is known of its kind."""
    limits = GPUS.get(target.kind)
    if limits is None:
        return None
    options = {option.name: option.value for option in target.options}
    if target.kind == "cuda" and (number := capability(str(options.get("arch", "")))) is not None:
        dynamic = DYNAMIC_SHARED_KIB.get(number, 48) * 1024
        limits = attrs.evolve(limits, dynamic_shared_bytes=dynamic)
    threads = _number(options, "max_threads_per_block", limits.threads)
    x, y, z = limits.threads_by_axis
    return attrs.evolve(
        limits,
        threads=threads,
        threads_by_axis=(min(x, threads), min(y, threads), min(z, threads)),
        shared_bytes=_number(options, "max_shared_memory_per_block", limits.shared_bytes),
    )


def _number(options: Mapping[str, Option], name: str, otherwise: int) -> int:
    value = options.get(name)
    return value if type(value) is int and value > 0 else otherwise
