"""The tasks of FlexTensor's evaluation (ASPLOS'20) by name: ``yolo/yolo3`` is the fourth convolution of YOLO-v1.

A suite is a table, ``tables/SUITE.OPERATOR.csv``: a line for each task with its name, the operator's arguments, and the
network's own name of the layer where there is one. Names are the seed's. Nothing is read before it is asked for, and
no operator is loaded.
"""

from __future__ import annotations

import csv
import functools
import itertools
from pathlib import Path
from typing import Final

import attrs

from ..spec.errors import SpecError
from ..spec.near_words import did_you_mean

FLEXTENSOR: Final = "flextensor110"
"""The cases of the paper's figures, in its twelve groups: ``flextensor110/C2D/yolo3``."""
GROUPS: Final = {
    "GMV": "gemv",
    "GMM": "gemm",
    "BIL": "bilinear",
    "C1D": "conv1d",
    "T1D": "conv1d_transposed",
    "C2D": "yolo",
    "T2D": "yolo_transposed",
    "C3D": "conv3d_yolo",
    "T3D": "conv3d_yolo_transposed",
    "GRP": "grouped_g4",
    "DIL": "dilation",
    "DEP": "depthwise",
}
"""Group of the paper → the suite that it is."""

_TABLES: Final = Path(__file__).with_name("tables")


@attrs.frozen(kw_only=True)
class NamedTask:
    """An operator with its arguments, those with defaults of their own left out; `layer` is "" where it has none."""

    suite: str
    name: str
    op: str
    args: tuple[tuple[str, int], ...]
    layer: str = ""

    @property
    def full_name(self) -> str:
        """``SUITE/NAME``, which is there once."""
        return f"{self.suite}/{self.name}"

    @property
    def words(self) -> tuple[str, ...]:
        """The task as it is written on a command line."""
        return (self.op, *(f"{name}={value}" for name, value in self.args))


def suites() -> tuple[str, ...]:
    """The names of all suites, sorted, the collection of the paper's groups first."""
    return (FLEXTENSOR, *sorted(_operators()))


def operator_of(suite: str) -> str | None:
    """The operator of a suite's tasks, without reading them; None where the suite has several."""
    return None if suite == FLEXTENSOR else _operators()[_table_name(suite)]


def tasks_of(suite: str) -> tuple[NamedTask, ...]:
    """The tasks of a suite, in the seed's order; SpecError where there is no such suite."""
    if suite == FLEXTENSOR:
        return tuple(itertools.chain.from_iterable(tasks_of(f"{FLEXTENSOR}/{group}") for group in GROUPS))
    table = _table_name(suite)
    return tuple(attrs.evolve(task, suite=suite) for task in _read(table, _operators()[table]))


def all_tasks() -> tuple[NamedTask, ...]:
    """The tasks of all tables: each once, though some suites share tasks under other names."""
    return tuple(itertools.chain.from_iterable(map(tasks_of, sorted(_operators()))))


def named_task(full_name: str) -> NamedTask:
    """The task called ``SUITE/NAME``; SpecError where there is none."""
    suite, _, name = full_name.rpartition("/")
    found = {task.name: task for task in tasks_of(suite)}
    if name not in found:
        known = ", ".join(itertools.islice(found, 3))
        raise SpecError(f"no task {name!r}{did_you_mean(name, found)} among its {len(found)}: {known}, …", suite)
    return found[name]


def _table_name(suite: str) -> str:
    """The suite itself, or that of a group of the paper; SpecError where it is neither."""
    collection, slash, group = suite.partition("/")
    table = GROUPS.get(group, group) if slash and collection == FLEXTENSOR else suite
    if table not in _operators() or (slash and group not in GROUPS):
        known = [*suites(), *(f"{FLEXTENSOR}/{group}" for group in GROUPS)]
        hint = did_you_mean(suite, known) or "; `autosched tasks` lists them"
        raise SpecError(f"no suite {suite!r}{hint}")
    return table


@functools.cache
def _operators() -> dict[str, str]:
    """Table → its operator, as the names of the files say."""
    names = (path.name.split(".") for path in _TABLES.glob("*.csv"))
    return {suite: op for suite, op, _ in names}


@functools.cache
def _read(suite: str, op: str) -> tuple[NamedTask, ...]:
    with (_TABLES / f"{suite}.{op}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        NamedTask(
            suite=suite,
            name=row.pop("name"),
            layer=row.pop("layer", ""),
            op=op,
            args=tuple((name, int(value)) for name, value in row.items()),
        )
        for row in rows
    )
