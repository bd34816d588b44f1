"""Every distinct task of FlexTensor's evaluation (ASPLOS'20), its arguments as they stand, and the shape of its result.

A line of data/flextensor_shapes.txt has an operator, its arguments and the shape; the task of gatedpixelcnn has none
there, as its parts do not fit together in the seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from autosched.nn.registry import get_task
from autosched.spec.check_task import check_task

LINES: Final = (Path(__file__).parent / "data" / "flextensor_shapes.txt").read_text(encoding="utf-8").splitlines()
OPERATORS: Final = sorted({line.split()[0] for line in LINES})


def test_all_are_there() -> None:
    assert len(LINES) == 1055
    assert len(OPERATORS) == 18


@pytest.mark.parametrize("op", OPERATORS)
def test_each_is_accepted_and_has_its_shape(op: str) -> None:
    for line in LINES:
        call, _, shape = line.partition("  ")
        name, *words = call.split()
        if name != op:
            continue
        args = {word.split("=")[0]: int(word.split("=")[1]) for word in words}
        task = get_task(op, threads=1, **args)
        last = task.workload.buffers[task.workload.outputs[-1]]
        assert shape in ("", ",".join(map(str, last.shape))), line
        if task.ranges:
            check_task(task)


def test_a_layer_whose_parts_do_not_fit_together_has_no_connection_around_it() -> None:
    layer = {"N": 1, "H": 256, "W": 256, "C": 3, "K": 256, "R": 3, "S": 3}
    workload = get_task("gatedpixelcnn", **layer).workload
    assert [workload.buffers[name].shape for name in workload.outputs] == [(1, 254, 254, 256)] * 2
