"""Figures of the compiler on spec files: ``python -m autosched.bench.compiling FOLDER ROUNDS`` prints JSON.

A fresh process, so that nothing of the suite's own is warm or in the way. Files take turns, so that none is read or
lowered with the caches still full of itself.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from ..spec.canonical import Names, renamed
from ..spec.check import check_schedule
from ..spec.json_text import read_json
from ..spec.rename import schedule_from_canonical, schedule_to_canonical
from ..spec.spec_file import SpecFile, spec_from_text, text_from_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..spec.json_text import Json
    from ..spec.workload import Workload

Argument = TypeVar("Argument")


@attrs.frozen(kw_only=True)
class FileTimes:
    """Seconds for one spec file, an entry a round.

    `read_s`: JSON text to checked record. `fresh_s`: the same, of a text in which every stage, buffer and axis has a
    name that this process never saw. `lower_s`: check and lowering to TVM's schedule.
    """

    nodes: int
    stages: int
    read_s: list[float]
    fresh_s: list[float]
    lower_s: list[float]


def count_nodes(value: Json) -> int:
    """JSON nodes: every object, list, text, number, true, false and null; keys are not counted."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count_nodes, inner))


def spec_renamed(spec: SpecFile, suffix: str) -> SpecFile:
    """The spec with every stage, buffer and axis called otherwise: equal, and another text throughout."""
    workload = spec.task.workload
    task = attrs.evolve(spec.task, workload=renamed(workload, _with_suffix(workload, suffix)), constants=(), ranges=())
    schedule = schedule_from_canonical(schedule_to_canonical(spec.schedule, spec.task.names), task.names)
    return SpecFile(task=task, schedule=schedule)


def _with_suffix(workload: Workload, suffix: str) -> Names:
    return Names(
        buffers={name: name + suffix for name in workload.buffers},
        stages={stage.name: stage.name + suffix for stage in workload.stages},
        axes={stage.name: {axis: axis + suffix for axis in stage.extents} for stage in workload.stages},
        outputs={stage.name: tuple(output.name for output in stage.outputs) for stage in workload.stages},
    )


def times_of(texts: Sequence[str], rounds: int) -> tuple[FileTimes, ...]:
    """The times of each spec file, all of them once a round; the first round warms up and is left out."""
    from ..spec.tvm_lower import lower_plan

    specs = [spec_from_text(text) for text in texts]
    fresh = [[text_from_spec(spec_renamed(spec, f"_{number}")) for spec in specs] for number in range(rounds + 1)]

    def lower(spec: SpecFile) -> None:
        lower_plan(check_schedule(spec.schedule, spec.task))

    read = [[_seconds(spec_from_text, text) for text in texts] for _ in range(rounds + 1)]
    read_fresh = [[_seconds(spec_from_text, text) for text in each] for each in fresh]
    lowered = [[_seconds(lower, spec) for spec in specs] for _ in range(rounds + 1)]
    return tuple(
        FileTimes(
            nodes=count_nodes(read_json(text)),
            stages=len(spec.task.workload.stages),
            read_s=[each[number] for each in read[1:]],
            fresh_s=[each[number] for each in read_fresh[1:]],
            lower_s=[each[number] for each in lowered[1:]],
        )
        for number, (text, spec) in enumerate(zip(texts, specs, strict=True))
    )


def _seconds(call: Callable[[Argument], object], argument: Argument) -> float:
    begin = time.perf_counter()
    call(argument)
    return time.perf_counter() - begin


def main() -> None:
    """Prints the times of the spec files in the folder that the command line names."""
    folder, rounds = sys.argv[1:]
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob("*.json"))]
    sys.stdout.write(json.dumps([attrs.asdict(found) for found in times_of(texts, int(rounds))]) + "\n")


if __name__ == "__main__":
    main()
