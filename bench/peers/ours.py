"""Our kernels, each from a spec file, called as the search calls them: bound to aligned memory that is filled once."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from ...search.buffers import GuardedBuffer
from ...search.worker import build_kernel
from ...spec.inputs import random_inputs
from ...spec.spec_file import load_spec
from ...spec.tvm_build import set_pool_threads
from ..opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...spec.spec_file import SpecFile
    from ..opened import Order


def open_contender(order: Order) -> Opened:
    """A kernel for each spec file of the order, all in one pool of threads."""
    set_pool_threads(order["threads"], order["cpus"])
    kernels: dict[str, Callable[[], object]] = {}
    results: dict[str, GuardedBuffer] = {}
    for name, path in order["specs"].items():
        spec = load_spec(path)
        buffers = _buffers(spec)
        kernels[name] = build_kernel(spec.schedule, spec.task, [buffers[p] for p in spec.task.workload.params]).call
        results[name] = buffers[spec.task.workload.outputs[0]]

    def output(kernel: str) -> Any:
        return results[kernel].array()

    return Opened(version=importlib.metadata.version("autosched"), kernels=kernels, output=output)


def _buffers(spec: SpecFile) -> dict[str, GuardedBuffer]:
    """The parameters by name, inputs filled as the reference fills them."""
    workload = spec.task.workload
    inputs = random_inputs(workload, 0, spec.task.ranges)
    buffers = {name: GuardedBuffer(workload.buffers[name]) for name in workload.params}
    for name, buffer in buffers.items():
        if name in inputs:
            buffer.load(inputs[name])
        else:
            buffer.erase()
    return buffers
