"""Who computes inside whom, by the `at` of nests and the flow of data: before any loop is laid out.

A stage computed at a loop of another one, its host, is a *consumer* if it depends on what the host fills, and runs
behind it there; else it is a *producer*, and runs in front of what reads it there. Consumers are placed first, in the
order of data, then producers, last reader first: so what a consumer reads must be its host, or other consumers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from .errors import SpecError
from .schedule import At
from .workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from .workload import Stage


@attrs.frozen
class Attachments:
    """The stages of a workload and where each is attached; stages with nests of their own are not in `places`."""

    workload: Workload
    places: Mapping[str, At]

    def depends(self, stage: Stage, on: Stage) -> bool:
        """True where `stage` reads what `on` fills, directly or by way of others."""
        waiting, seen = [stage], {stage.name}
        while waiting:
            for buffer in waiting.pop().reads:
                writer = self.workload.writer.get(buffer)
                if writer is on:
                    return True
                if writer is not None and writer.name not in seen:
                    seen.add(writer.name)
                    waiting.append(writer)
        return False

    def is_consumer(self, stage: str) -> bool:
        """True where an attached stage depends on its host."""
        at = self.places.get(stage)
        return at is not None and self.depends(self.workload.stage(stage), self.workload.stage(at.stage))

    def way_to(self, stage: str, host: str) -> At | None:
        """The place in `host` inside which `stage` runs, directly or attached to others there; None elsewhere."""
        seen: set[str] = set()
        while (at := self.places.get(stage)) is not None and stage not in seen:
            if at.stage == host:
                return at
            seen.add(stage)
            stage = at.stage
        return None

    def relatives(self, stage: Stage, inside: Callable[[At], bool]) -> tuple[Stage, ...]:
        """What tells the part of an attached stage that a step is about: what it reads there, or its readers.

        `inside` says which places of its host are at its loop or further in. Raises SpecError where there are none,
        or where no order of placing them works.
        """
        at = self.places[stage.name]
        host = self.workload.stage(at.stage)

        def here(other: Stage) -> bool:
            way = self.way_to(other.name, host.name)
            return other is host or (way is not None and inside(way))

        found = self._sources(stage, host, here) if self.depends(stage, host) else self._readers(stage, host, here)
        if not found:
            message = f"{stage.name!r} and {host.name!r} do not read one another, nor does a stage at the same loop"
            raise SpecError(f"{message}; attach a stage to one that reads it, or that it reads", "at.stage")
        return found

    def _sources(self, stage: Stage, host: Stage, here: Callable[[Stage], bool]) -> tuple[Stage, ...]:
        writers = {name: self.workload.writer[name] for name in stage.reads if name in self.workload.writer}
        for buffer, writer in writers.items():
            if writer is not host and here(writer) and not self.is_consumer(writer.name):
                message = f"{stage.name!r} reads {buffer!r}, which is computed there for {host.name!r} or others"
                raise SpecError(f"{message}; attach all of them to the last one, or inline {buffer!r}", "at")
        return tuple(dict.fromkeys([writer for writer in writers.values() if here(writer)]))

    def _readers(self, stage: Stage, host: Stage, here: Callable[[Stage], bool]) -> tuple[Stage, ...]:
        readers = dict.fromkeys(reader for output in stage.outputs for reader in self.workload.readers(output.name))
        for reader in readers:
            if self.way_to(reader.name, stage.name) is not None:
                message = f"{reader.name!r} is computed in {stage.name!r}, which it reads and which is itself attached"
                raise SpecError(f"{message}; attach both to {host.name!r}", "at.stage")
        return tuple(reader for reader in readers if here(reader))
