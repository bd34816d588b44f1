"""A computation without a spatial axis: a whole reduction to one number is tuned, stored, built and run like others."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from tvm import te

import autosched as at
from autosched.cli import main

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
    from tvm import te

    def total(N):
        A = te.placeholder((N,), name="A")
        k = te.reduce_axis((0, N), name="k")
        return [A, te.compute((), lambda: te.sum(A[k], axis=k), name="S")]
"""


def total(steps: int) -> list[te.Tensor]:
    a = te.placeholder((steps,), name="A")
    k = te.reduce_axis((0, steps), name="k")
    return [a, te.compute((), lambda: te.sum(a[k], axis=k), name="S")]


@pytest.mark.system
def test_a_whole_reduction_is_tuned_and_found(tmp_path: Path) -> None:
    """By the command line, from its function in a file; the same computation in Python hits."""
    task, store, values = at.Task.from_te(total, args=(640,)), tmp_path / "store", np.ones(640, dtype=np.float32)
    source = tmp_path / "sums.py"
    source.write_text(textwrap.dedent(SOURCE))
    words = ["tune", f"{source}:total", "640", "--trials", "2", "-q", "--store", str(store)]
    outcome = CliRunner().invoke(main, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.stderr
    again = at.lookup_or_tune(task, store, trials=2)
    assert again.source == "store"
    assert again.task.workload.buffers["S"].shape == ()
    found = at.lookup(task, store)
    assert found is not None
    result = np.zeros((), dtype=np.float32)
    found.build()(values, result)
    assert result == 640.0
