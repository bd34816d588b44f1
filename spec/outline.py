"""What a spec file's task looks like at a glance: enough to pass over the files of other tasks without reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs

from .errors import SpecError

if TYPE_CHECKING:
    from .json_text import Json
    from .task import Task


T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Outline:
    """The same for tasks of one key, whatever their names: threads, target, stages, inputs in the order of their text.

    Tasks of one outline may still differ.
    """

    threads: int
    kind: str
    stages: int
    inputs: tuple[str, ...]


def outline_of(task: Task) -> Outline:
    """The outline of a task."""
    inputs = (f"{buffer.dtype} {list(buffer.shape)}" for buffer in task.workload.inputs)
    return Outline(
        threads=task.threads,
        kind=task.target.kind,
        stages=len(task.workload.stages),
        inputs=tuple(sorted(inputs)),
    )


def outline_from_json(task: Json) -> Outline:
    """The outline of a task in the form in which it is written; SpecError where it is none."""
    try:
        content = _object(task)
        workload = _object(content["workload"])
        inputs = [_object(buffer) for buffer in _of(workload["inputs"], list)]
        return Outline(
            threads=_of(content["threads"], int),
            kind=_of(_object(content.get("target", {"kind": "llvm"}))["kind"], str),
            stages=len(_of(workload["stages"], list)),
            inputs=tuple(sorted(f"{buffer['dtype']} {buffer['shape']}" for buffer in inputs)),
        )
    except (KeyError, TypeError) as error:
        raise SpecError("found no threads, inputs and stages; a task has them", "task") from error


def _object(value: Json) -> dict[str, Json]:
    return _of(value, dict)


def _of(value: object, cls: type[T]) -> T:
    """`value` as it is; TypeError where it is of another class."""
    if type(value) is not cls:
        raise TypeError(f"not a {cls.__name__}")
    return value
