"""What ``autosched show --cost`` prints: the numbers that the checks and the analytic model go by, stage by stage.

    predicted 1.02 ms on AuthenticAMD family 26 model 68
    C.acc: 950 us on 2 threads: compute 880 us, L2 210 us, L3 64 us, memory 9.1 us
      1073741824 steps, 8 copies of the body, tile ii 8 x ji 32, buffer 4 MiB
      par    256 x  1.03 MiB
      kb       4 x   263 KiB

A line of a loop has its steps, and the bytes of the cache lines that one step touches. Of a task for a GPU, what each
kernel takes:

    kernel of C.acc: 16 blocks of 64 threads, 4096 bytes shared, 256 bytes local, 64 registers, in a thread
      A.sh: 131072 steps, shared buffer 2 KiB
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .cli_report import duration
from .search.analytic import stage_costs
from .search.hardware import hardware_from_machine
from .search.skipping import share_of_steps
from .spec.check import check_schedule
from .spec.dtypes import size_bytes
from .spec.footprint import accesses_of, outer_loops, register_tile, touched_bytes
from .spec.gpu import limits_of
from .spec.kernel import buffer_bytes, kernel_text, kernels
from .spec.once import main_part
from .spec.schedule import BLOCKS
from .store.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .search.analytic import StageCost
    from .spec.claim import Machine
    from .spec.kernel import Kernel
    from .spec.nest import Plan, StageNest
    from .spec.spec_file import SpecFile


def text_from_costs(spec: SpecFile, machine: Machine | None = None) -> str:
    """The predicted cost of every stage on a machine, this one where none is given."""
    plan = check_schedule(spec.schedule, spec.task)
    if limits_of(spec.task.target) is not None:
        return "\n\n".join("\n".join(_kernel_lines(plan, kernel)) for kernel in kernels(plan))
    machine = machine or this_machine()
    main = main_part(plan)
    costs = stage_costs(main, hardware_from_machine(machine, spec.task.threads))
    total = duration(sum(cost.seconds for cost in costs))
    lines = [f"predicted {total} on {machine.vendor} family {machine.family} model {machine.model}"]
    for nest, cost in zip(main.nests, costs, strict=True):
        lines += ["", *_stage_lines(plan, nest, cost)]
    for name in plan.once:
        lines += ["", f"{name}: computed once, outside of the time above"]
    return "\n".join(lines)


def _kernel_lines(plan: Plan, kernel: Kernel) -> Iterator[str]:
    """What a kernel takes of the GPU, and the steps and buffers of its stages; no time is predicted for GPUs yet."""
    yield f"kernel of {kernel.root.stage.name}: {', '.join(kernel_text(plan, kernel))}"
    for nest in kernel.nests:
        yield f"  {nest.stage.name}: {', '.join(_notes(plan, nest))}"


def _stage_lines(plan: Plan, nest: StageNest, cost: StageCost) -> Iterator[str]:
    bounds = {"compute": cost.compute_s, "L2": cost.l2_s, "L3": cost.l3_s, "memory": cost.memory_s}
    said = ", ".join(f"{name} {duration(seconds)}" for name, seconds in bounds.items())
    threads = f"{cost.threads} thread{'s' * (cost.threads != 1)}"
    yield f"{nest.stage.name}: {duration(cost.seconds)} on {threads}: {said}"
    yield f"  {', '.join(_notes(plan, nest))}"
    yield from _loop_lines(plan, nest)


def _notes(plan: Plan, nest: StageNest) -> Iterator[str]:
    """Steps in all, copies by unrolling, the register tile, and the size of a temporary buffer."""
    steps = 1
    outer = outer_loops(plan, nest)
    if nest.shared and not nest.consumer:  # all threads around it fill it together, each once
        outer = [loop for loop in outer if not loop.on_gpu or loop.to in BLOCKS]
    for loop in (*outer, *nest.bound):
        steps *= loop.extent
    yield f"{steps} step{'s' * (steps != 1)}"
    if nest.nest.skip is not None:
        yield f"{share_of_steps(nest, plan.workload):.0%} of them done"
    if nest.copies > 1:
        yield f"{nest.copies} copies of the body"
    tile = {loop.name: loop.extent for loop in nest.loops if loop.name in register_tile(nest)}
    if nest.vector is not None:
        tile[nest.vector.name] = nest.vector.extent
    if tile:
        yield f"tile {' x '.join(f'{name} {extent}' for name, extent in tile.items())}"
    if nest.nest.tensorize is not None:
        uses = steps // math.prod(loop.extent for loop in nest.tensorized)
        yield f"{uses} use{'s' * (uses != 1)} of {nest.nest.tensorize.intrinsic}"
    if nest.nest.scope != "global":
        yield f"{nest.nest.scope} buffer {amount(buffer_bytes(plan, nest))}"
        return
    for output in nest.stage.outputs:
        if output.name not in plan.workload.params:
            elements = 1
            for extent in nest.stage.shape:
                elements *= extent
            yield f"buffer {amount(elements * size_bytes(output.dtype))}"


def _loop_lines(plan: Plan, nest: StageNest) -> Iterator[str]:
    """Each loop's steps, and the bytes of the cache lines that one step touches."""
    accesses = accesses_of(nest, plan.workload)
    width = max((len(loop.name) for loop in nest.bound), default=0)
    extents: dict[str, int] = {}
    lines: list[str] = []
    for loop in reversed(nest.bound):
        touched = amount(touched_bytes(accesses, extents))
        lines.append(f"  {loop.name.ljust(width)} {loop.extent:6} x {touched:>10}")
        extents |= {part.name: part.extent for part in loop.parts}
    yield from reversed(lines)


def amount(count: float) -> str:
    """A number of bytes with three digits and its unit."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"
