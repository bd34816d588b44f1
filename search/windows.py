"""Staged windows: a buffer that a stage reads by sliding windows, copied whole in a layout that suits its tiles.

Windows with a stride are laid out in phases, first what every first step reads, then what every second one does, so
that a vector reads neighbours. And the copy goes on for as long as a tile that its axis does not fill reads on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.expr import loads
from ..spec.linear import facts_from_extents, value_range
from ..spec.schedule import Pack, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..spec.workload import Buffer, Stage


def window_staging(buffer: Buffer, stage: Stage, phases: int, reach: Mapping[str, int]) -> Pack | None:
    """The staging of a buffer whose last dimension is read by every `phases`-th element; None where none is needed.

    `reach` has the extents, where they are more than the stage's own, up to which a tile runs along axes.
    """
    sizes = _sizes(buffer, stage, reach)
    splits: list[Split] = []
    order: list[str] = []
    dims = tuple(f"d{number}" for number in range(len(sizes)))
    for dim, extent, size in zip(dims, buffer.shape, sizes, strict=True):
        count = phases if dim == dims[-1] else 1
        split = _split(dim, extent, size, count)
        if split is None:
            order.append(dim)
            continue
        splits.append(split)
        # In front an axis of one step, which makes room, if there is one; then the phase, outside of what it is of.
        order += sorted(split.into, key=lambda name: "rpo".index(name[-1]))
    if not splits:
        return None
    name = f"{buffer.name}.windows"
    return Pack(stage=stage.name, reads=buffer.name, as_=name, dims=dims, splits=tuple(splits), order=tuple(order))


def _sizes(buffer: Buffer, stage: Stage, reach: Mapping[str, int]) -> list[int]:
    """How far each dimension is read, by tiles too, at least its extent."""
    facts = facts_from_extents({**stage.extents, **reach})
    sizes = list(buffer.shape)
    for body in stage.body:
        for load in loads(body):
            if load.buffer == buffer.name:
                ends = [value_range(position, facts)[1] + 1 for position in load.indices]
                sizes = [max(size, end) for size, end in zip(sizes, ends, strict=True)]
    return sizes


def _split(dim: str, extent: int, size: int, phases: int) -> Split | None:
    """A dimension cut into phases and made longer, as far as it has to be; None where it stays as it is."""
    steps = -(-size // phases)
    if steps * phases == extent:
        return None if phases == 1 else Split(axis=dim, into=(f"{dim}o", f"{dim}p"), factors=(steps, phases))
    into, factors = ((f"{dim}o",), (steps,)) if phases == 1 else ((f"{dim}o", f"{dim}p"), (steps, phases))
    if phases == 1 or steps > -(-extent // phases):
        into, factors = (f"{dim}r", *into), (1, *factors)
    return Split(axis=dim, into=into, factors=factors, tail="pad")
