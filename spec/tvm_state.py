"""The state of a lowering: TVM's schedule, and which of its loops and blocks stand for which of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .nest import Plan
from .tvm_names import blocks_of, buffer_of

if TYPE_CHECKING:
    from .nest import StageNest


@attrs.define
class Lowering:
    """The state of one lowering: TVM's schedule and the loops it has for each of ours, by stage and name.

    `owners` has the stage of each block that is not called as its stage is: of a reduction that starts apart. `starts`
    has the block that starts it.
    """

    plan: Plan
    sch: Any
    loops: dict[tuple[str, str], Any]
    owners: dict[str, str] = attrs.field(factory=dict)
    starts: dict[str, Any] = attrs.field(factory=dict)

    def do(self, primitive: str, *args: Any, **options: Any) -> Any:
        """Applies one of TVM's schedule primitives.

        Past its run-time type checker, which takes longer than the primitives: 4 of 6 ms for a matrix product.
        """
        method = getattr(type(self.sch), primitive)
        return getattr(method, "__wrapped__", method)(self.sch, *args, **options)

    def block(self, nest: StageNest) -> Any:
        """TVM's block of a stage."""
        return self.do("get_sblock", nest.stage.name)

    def buffers(self) -> dict[str, Any]:
        """TVM's buffers by our names: those in other memories than the global one have other names there."""
        found: dict[str, Any] = {}
        blocks = blocks_of(self.sch.mod["main"].body)
        for block in blocks:
            name = str(block.name_hint)
            if (nest := self.plan.by_stage.get(self.owners.get(name, name))) is not None:
                outputs = zip(nest.stage.outputs, block.writes, strict=True)
                found |= {output.name: buffer_of(region) for output, region in outputs}
        inputs = [buffer_of(region) for block in blocks for region in block.reads]
        found |= {str(buffer.name): buffer for buffer in inputs if str(buffer.name) not in found}
        return found
