"""What a nest touches: each access of its body by loops, the cache lines of any part of it, and its register tile.

The analytic model reckons times from these numbers, and ``autosched show --cost`` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import attrs

from .dtypes import size_bytes
from .expr import Axis, Binary, Const, Expr, Load, axes_in, substitute, transform
from .linear import joined_digits, linear, value_range
from .nest import NESTS_KEPT

if TYPE_CHECKING:
    from .linear import Facts
    from .nest import BoundLoop, Plan, StageNest
    from .workload import Buffer, Workload

LINE_BYTES: Final = 64
"""Bytes of a cache line."""


@attrs.frozen(kw_only=True, eq=False)
class Access:
    """One buffer access of a nest: how far each dimension moves with a step of each loop.

    `steps` has one mapping a dimension, loop name → elements; `shape` is the buffer's, row-major. `seldom` has the
    loops, digits of runs, that move a dimension by one element every so many steps. Compared by identity.
    """

    buffer: str
    element_bytes: int
    shape: tuple[int, ...]
    steps: tuple[Mapping[str, int], ...]
    seldom: tuple[Mapping[str, int], ...]

    @cached_property
    def _dimensions(self) -> tuple[tuple[int, tuple[tuple[str, int, int], ...]], ...]:
        """The innermost first: its size, and the loops that move it, each with how far and every how many steps."""
        found = []
        for steps, seldom, size in zip(reversed(self.steps), reversed(self.seldom), reversed(self.shape), strict=True):
            often = ((loop, abs(step), 1) for loop, step in steps.items())
            found.append((size, (*often, *((loop, 1, every) for loop, every in seldom.items()))))
        return tuple(found)

    @cached_property
    def _moving(self) -> frozenset[str]:
        return frozenset(loop for steps in (*self.steps, *self.seldom) for loop in steps)

    def moves_with(self, loop: str) -> bool:
        """True where a step of `loop` changes the element accessed."""
        return loop in self._moving

    def dimensions_moved_by(self, loop: str) -> int:
        """How many dimensions a loop moves: several where it is a fused one."""
        return sum(loop in steps for steps in (*self.steps, *self.seldom))

    def stride(self, loop: str) -> int:
        """Elements between two steps of `loop` in memory, mostly."""
        total, size = 0, 1
        for steps, extent in zip(reversed(self.steps), reversed(self.shape), strict=True):
            total += steps.get(loop, 0) * size
            size *= extent
        return total

    def least_stride(self, loop: str) -> int:
        """Elements by which a step of `loop` goes on in memory, mostly: a fused loop moves its fastest dimension."""
        size = 1
        for steps, extent in zip(reversed(self.steps), reversed(self.shape), strict=True):
            if steps.get(loop):
                return abs(steps[loop]) * size
            size *= extent
        return 0

    def lines(self, extents: Mapping[str, int]) -> float:
        """Cache lines touched while the loops in `extents` run.

        The innermost dimensions make one run in memory as far as they are touched whole.
        """
        run, outer, joined = 1.0, 1.0, True
        for size, moves in self._dimensions:
            reach, count = 1, 1
            for loop, step, every in moves:
                if loop in extents:
                    moved = (extents[loop] - 1) // every
                    reach += step * moved
                    count *= moved + 1
            touched = min(reach, count, size)
            if joined:
                # Lines between widely spaced elements are not touched.
                run *= min(reach, size, touched * (LINE_BYTES // self.element_bytes))
                joined = touched == size
            elif touched > 1:
                outer *= touched
        return outer * max(1.0, run * self.element_bytes / LINE_BYTES)


def accesses_of(nest: StageNest, workload: Workload) -> tuple[Access, ...]:
    """What the body touches: its loads, then the output."""
    stage = nest.stage
    return _accesses(nest, tuple(workload.buffers[name] for name in (*stage.reads, *(o.name for o in stage.outputs))))


@lru_cache(maxsize=NESTS_KEPT)
def _accesses(nest: StageNest, buffers: tuple[Buffer, ...]) -> tuple[Access, ...]:
    known = {buffer.name: buffer for buffer in buffers}
    output = tuple(Axis(axis.name) for axis in nest.stage.axes)
    found = (*dict.fromkeys(nest.stage.loads), *(Load(each.name, output) for each in nest.stage.outputs))
    return tuple(_access(load, known[load.buffer], nest.axis_values, nest.facts) for load in found)


def _access(load: Load, buffer: Buffer, values: Mapping[str, Expr], facts: Facts) -> Access:
    steps: list[dict[str, int]] = []
    seldom: list[dict[str, int]] = []
    for position in load.indices:
        _, terms = joined_digits(linear(_unclamped(substitute(position, values), facts), facts), facts)
        moved: dict[str, int] = {}
        every: dict[str, int] = {}
        for atom, coefficient in terms.items():
            if isinstance(atom, Axis):
                moved[atom.name] = moved.get(atom.name, 0) + coefficient
                continue
            for name in axes_in(atom):
                step, often = _step(atom, name, facts)
                if step:
                    moved[name] = moved.get(name, 0) + coefficient * step
                elif often:
                    every[name] = max(1, often // abs(coefficient))
        steps.append(moved)
        seldom.append({name: often for name, often in every.items() if name not in moved})
    return Access(
        buffer=buffer.name,
        element_bytes=size_bytes(buffer.dtype),
        shape=buffer.shape,
        steps=tuple(steps),
        seldom=tuple(seldom),
    )


def _step(atom: Expr, name: str, facts: Facts) -> tuple[int, int]:
    """How a step along an axis moves a digit, a clamp, or what else is no multiple of axes: by so much, or seldom.

    Of an axis that moves it by less than one the first is 0, and the second every how many steps it moves by one.
    """
    if isinstance(atom, Binary) and atom.op in ("floordiv", "floormod") and isinstance(atom.b, Const):
        size, along = int(atom.b.text), abs(linear(atom.a, facts)[1].get(Axis(name), 0))
        if along and atom.op == "floormod":
            return along % size, 0
        if along:
            return along // size, size // along
    extent = facts.axes[name][1] + 1
    low, high = value_range(atom, facts)  # about as many values as the loop has steps, at most its own range
    return max(1, (high - low + 1) // extent) if extent > 1 else 1, 0


def _unclamped(position: Expr, facts: Facts) -> Expr:
    """A position without what keeps a padded axis inside: that matters to a few surplus steps at its end alone."""

    def visit(node: Expr) -> Expr:
        if isinstance(node, Binary) and node.op == "min" and isinstance(node.b, Const):
            surplus = value_range(node.a, facts)[1] - int(node.b.text)
            return node.a if surplus <= int(node.b.text) else node
        return node

    return transform(position, visit)


def touched_bytes(accesses: Sequence[Access], extents: Mapping[str, int]) -> float:
    """Bytes of the cache lines that all `accesses` touch while the loops in `extents` run."""
    return sum(access.lines(extents) for access in accesses) * LINE_BYTES


def register_tile(nest: StageNest) -> dict[str, int]:
    """Loops that are unrolled inside the innermost serial loop, those of vectors and intrinsics apart."""
    tile: dict[str, int] = {}
    for loop in reversed(nest.outside):
        if loop.to == "vectorize" or (loop.extent == 1):
            continue
        if loop.to != "unroll":
            break
        for part in loop.parts:
            tile[part.name] = part.extent
    return tile


def outer_loops(plan: Plan, nest: StageNest) -> list[BoundLoop]:
    """The bound loops of other stages around an attached nest, outermost first."""
    found: list[BoundLoop] = []
    while nest.at is not None:
        parent = plan.by_stage[nest.at.stage]
        found = [*parent.bound[: parent.bound_position(nest.at.loop) + 1], *found]
        nest = parent
    return found
