"""FlexTensor's logs: a line for each task, ``category_name_(arguments)_target(device):[[...], {...}]``, as specs.

What a line says of an operator that is here, for "llvm", is read into a schedule for the same computation; for any
other line it is said why not. Logs hold no times and no machine, so nothing is claimed of what is read: a search tries
it (``autosched tune --spec FILE``), or a project keeps it among its files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.check import check_schedule
from ..spec.errors import SpecError, shortened
from ..spec.json_text import read_json
from ..spec.spec_file import SpecFile, text_from_file
from .flextensor_config import schedule_from_config
from .registry import get_task, operators

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ..spec.task import Task

MOST_LINES: Final = 100_000
MOST_CHARACTERS: Final = 1_000_000
"""Of one line."""

_KEY: Final = re.compile(
    r"(?P<words>\w[\w-]*?)_\((?P<args>[-\d, ]*)\)_(?P<target>[\w -]+?)\((?P<device>\d+)\)\Z", re.ASCII
)


@attrs.frozen(kw_only=True)
class Category:
    """A category of the seed: our operator, its arguments in the seed's order, and its reduce axes in that order.

    One size of a kernel stands for all of its sides: ``RS`` is both R and S. Those from `given` on may be left out.
    """

    op: str
    args: tuple[str, ...]
    reduce_order: tuple[int, ...] = ()


_STEPS: Final = ("stride", "padding", "dilation")
_TAIL: Final = (*_STEPS, "groups")
CATEGORIES: Final = {
    "gemm": Category(op="gemm", args=("N", "K", "M")),
    "gemv": Category(op="gemv", args=("N", "K")),
    "bilinear": Category(op="bilinear", args=("N", "K1", "K2", "M")),
    "mttkrp": Category(op="mttkrp", args=("N", "K1", "K2", "M")),
    "conv1d": Category(op="conv1d", args=("N", "C", "L", "K", "R", *_TAIL)),
    "conv2d": Category(op="conv2d", args=("N", "C", "H", "W", "K", "RS", *_TAIL), reduce_order=(0, 2, 1)),
    "conv3d": Category(op="conv3d", args=("N", "C", "D", "H", "W", "K", "TRS", *_TAIL), reduce_order=(0, 1, 3, 2)),
    "conv_transpose1d": Category(op="conv_transpose1d", args=("N", "C", "L", "K", "R", *_TAIL)),
    "conv_transpose3d": Category(
        op="conv_transpose3d", args=("N", "C", "D", "H", "W", "K", "TRS", *_TAIL), reduce_order=(0, 1, 3, 2)
    ),
    "conv2d_depthwise": Category(
        op="depthwise_conv2d", args=("N", "C", "H", "W", "factor", "RS", *_STEPS), reduce_order=(1, 0)
    ),
}
"""Category, or category and the beginning of the name, → what it is here. The order of a sum's axes is the seed's."""


@attrs.frozen(kw_only=True)
class LogLine:
    """A line of a log: its number from 1 and its key, and what it is here; where `spec` is None, `reason` says why."""

    number: int
    key: str
    spec: SpecFile | None = None
    reason: str = ""


def read_log(path: str | os.PathLike[str], *, threads: int | None = None) -> Iterator[LogLine]:
    """Every line of a log that is not empty, each read on its own; SpecError where the file cannot be read.

    `threads` are those of the tasks: all cores that this process may use unless given.
    """
    lines = text_from_file(str(path)).decode("utf-8", "replace").splitlines()
    if len(lines) > MOST_LINES:
        raise SpecError(f"{len(lines)} lines; at most {MOST_LINES} are read: split the file")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield read_line(line.strip(), number, threads=threads)


def read_line(line: str, number: int = 1, *, threads: int | None = None) -> LogLine:
    """What one line of a log is here."""
    key, colon, text = line.partition(":")
    shown = shortened(key, 200)
    try:
        if not colon or len(line) > MOST_CHARACTERS:
            raise SpecError(f"found no KEY:CONFIG of at most {MOST_CHARACTERS} characters")
        task, category = _task_from_key(key, threads)
        schedule = schedule_from_config(task.workload, read_json(text), category.reduce_order)
        check_schedule(schedule, task)
    except SpecError as error:
        return LogLine(number=number, key=shown, reason=str(error))
    return LogLine(number=number, key=shown, spec=SpecFile(task=task, schedule=schedule))


def task_from_key(key: str, *, threads: int | None = None) -> Task:
    """The task of a key as the seed made it; SpecError where it is none, or none that is here."""
    return _task_from_key(key, threads)[0]


def reduce_order(task: Task) -> tuple[int, ...]:
    """Where the seed has each reduce axis of a task; empty where it has the same order, or never had the task."""
    op = task.op.name if task.op is not None else ""
    return next((category.reduce_order for category in CATEGORIES.values() if category.op == op), ())


def _task_from_key(key: str, threads: int | None) -> tuple[Task, Category]:
    found = _KEY.match(key)
    if found is None:
        raise SpecError("is no key; need category_name_(arguments)_target(device)", "key")
    if found["target"] != "llvm":
        raise SpecError(
            f"target {found['target']!r}: schedules of the seed for GPUs are not read, those for llvm are", "key"
        )
    name = max((name for name in CATEGORIES if f"{found['words']}_".startswith(f"{name}_")), key=len, default=None)
    category = CATEGORIES.get(name or "")
    if category is None or category.op not in operators():
        known = ", ".join(sorted(name for name, entry in CATEGORIES.items() if entry.op in operators()))
        raise SpecError(f"no category of {found['words']!r} is read; those are: {known}", "key")
    values = [int(word) for word in found["args"].split(",") if word.strip()]
    if len(values) != len(category.args):
        raise SpecError(
            f"{len(values)} arguments of {name}; need {len(category.args)}: {', '.join(category.args)}", "key"
        )
    given: dict[str, Any] = {}
    for argument, value in zip(category.args, values, strict=True):
        given |= dict.fromkeys(argument if argument in ("RS", "TRS") else [argument], value)
    return get_task(category.op, threads=threads, **given), category
