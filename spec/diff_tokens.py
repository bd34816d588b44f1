"""Tokens for what schedules speak of: the same for the same thing, whatever it is called.

A stage or axis of the workload has its canonical name, ``s0``, ``a1``. What a schedule makes is named after what it is
made of: ``a1[0/2]`` is the outer of two pieces, ``(a1 a2)`` a fused axis, ``acc(s0)`` the stage that accumulates s0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .expr import rename
from .expr_text import text_from_expr
from .schedule import Accumulate, Inline, Pack, Partial, Reindex
from .workload import output_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .canonical import Names
    from .nest import StageNest
    from .schedule import At, Split, Staging


class Tokens:
    """The tokens of one spec, staging by staging: `stages` and `buffers` by name, `axes` by stage and name."""

    def __init__(self, names: Names) -> None:
        self.stages = dict(names.stages)
        self.buffers = dict(names.buffers)
        self.axes = {stage: dict(axes) for stage, axes in names.axes.items()}
        self.outputs = dict(names.outputs)
        self.stagings: dict[str, Staging] = {}

    def apply(self, staging: Staging) -> tuple[str, dict[str, str]]:
        """The token of a staging, and those of the axes that it speaks of; afterwards its stage is known."""
        axes = dict(self.axes[staging.stage]) if not isinstance(staging, Pack) else {}
        token = self._unique(self._made(staging))
        self.stagings[token] = staging
        if isinstance(staging, Inline):
            return token, axes
        if isinstance(staging, Pack):
            axes = {name: f"d{number}" for number, name in enumerate(staging.dims)}
        if isinstance(staging, Accumulate):
            for fuse in staging.fuses:
                axes[fuse.as_] = f"({' '.join(axes[name] for name in fuse.fuse)})"
        axes |= _pieces(staging.splits, axes)
        self.stages[staging.as_] = token
        count = len(self.outputs[staging.stage]) if isinstance(staging, Accumulate | Partial) else 1
        self.outputs[staging.as_] = output_names(staging.as_, count)
        self.buffers |= zip(self.outputs[staging.as_], output_names(token, count), strict=True)
        self.axes[staging.as_] = axes
        if isinstance(staging, Partial):
            self.axes[staging.stage] |= {name: axes[name] for name in staging.keep}
        return token, axes

    def _made(self, staging: Staging) -> str:
        stage = self.stages[staging.stage]
        match staging:
            case Inline():
                return f"inline({stage})"
            case Accumulate():
                return f"acc({stage})"
            case Partial():
                return f"partial({stage})"
            case Reindex(reads=reads, load=load):
                if load is None:
                    return f"reindex({self.buffers[reads]} {stage})"
                read = rename(load, self.axes[staging.stage], self.buffers)
                return f"reindex({text_from_expr(read)} {stage})"
            case Pack(reads=reads):
                return f"pack({self.buffers[reads]} {stage})"

    def _unique(self, token: str) -> str:
        while token in self.stagings:
            token += "'"
        return token

    def loops(self, nest: StageNest) -> dict[str, str]:
        """Loop name → token, of a nest on the rewritten workload."""
        axes = self.axes[nest.stage.name]
        return {axis.name: axes[axis.name] for axis in nest.axes} | _pieces(nest.nest.splits, axes)

    def place(self, at: At, parent: StageNest) -> str:
        """The token of a place in the nest of its stage."""
        loops = self.loops(parent)
        bound = next(bound for bound in parent.bound if bound.name == at.loop)
        return f"{self.stages[at.stage]}: {' '.join(loops[part.name] for part in bound.parts)}"


def _pieces(splits: Sequence[Split], axes: dict[str, str]) -> dict[str, str]:
    """The tokens of what splits make."""
    return {
        name: f"{axes[split.axis]}[{number}/{len(split.into)}]" if len(split.into) > 1 else axes[split.axis]
        for split in splits
        for number, name in enumerate(split.into)
    }
