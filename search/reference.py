"""What a task's outputs must be: inputs and expected values, computed once and shared with the workers as files."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ..spec.evaluate import evaluate, evaluate_points, random_inputs, tolerance
from ..spec.numerics import array_dtype
from .buffers import GuardedBuffer
from .measurable import affordable_points
from .verify import Mismatch, compare, sample_points, unwritten

if TYPE_CHECKING:
    from pathlib import Path

    from ..spec.task import Task

Array = NDArray[Any]

WHOLE_POINTS: Final = 2**23
"""Up to so many evaluations of stage bodies the evaluator computes every output whole; about a second."""
SAMPLED_POINTS: Final = 192


@attrs.frozen(kw_only=True)
class OutputReference:
    """What one output is compared with: all its values, or those at `points` and an output that `agreed` with them."""

    name: str
    rtol: float
    atol: float
    expected: Array
    points: NDArray[np.int64] | None
    agreed: Array | None

    def mismatch(self, found: Array, looser: float = 1.0) -> tuple[Mismatch | None, bool]:
        """Where `found` is wrong; True with it where only the agreed output says so, which may be wrong itself.

        `looser`: how many times further off it may be, by the accuracy class of its algorithm.
        """
        rtol, atol = looser * self.rtol, looser * self.atol
        if self.points is None:
            return compare(self.name, found, self.expected, rtol, atol), False
        at = np.ravel_multi_index(tuple(self.points.T), found.shape) if found.ndim else np.zeros(1, dtype=np.int64)
        wrong = compare(self.name, found.reshape(-1)[at], self.expected, rtol, atol)
        if wrong is not None:
            return attrs.evolve(wrong, positions=tuple(int(at[i]) for i in wrong.positions)), False
        if not (self.expected.dtype.kind == "f" and np.isnan(self.expected).any()):
            wrong = unwritten(self.name, found)
        if wrong is None and self.agreed is not None:
            # Two right answers may lie on either side of the exact one.
            wrong = compare(self.name, found, self.agreed, self.rtol + rtol, self.atol + atol)
            return wrong, wrong is not None
        return wrong, False


class Reference:
    """The tuner's side: makes the files, and settles disputes between two candidates.

    Nothing is computed before `write`, which may be called in a thread of its own: NumPy lets others run meanwhile.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        *,
        seed: int = 0,
        whole_points: int = WHOLE_POINTS,
        sampled_points: int = SAMPLED_POINTS,
    ) -> None:
        self.task = task
        self.folder = folder
        self.is_whole = sum(stage.points for stage in task.workload.stages) <= whole_points
        self._seed = seed
        self._sampled_points = sampled_points

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """The arrays by name."""
        return random_inputs(self.task.workload, self._seed, self.task.ranges)

    def write(self) -> Reference:
        """Makes inputs and expected values, and writes the files; itself."""
        workload = self.task.workload
        for number, buffer in enumerate(workload.inputs):
            array = np.ascontiguousarray(self.inputs[buffer.name], dtype=array_dtype(buffer.dtype))
            np.save(self.folder / f"input{number}.npy", array.reshape(-1).view(np.uint8))
        whole = evaluate(workload, self.inputs, precise=True) if self.is_whole else {}
        outputs = []
        for number, name in enumerate(workload.outputs):
            rtol, atol = tolerance(workload, name)
            outputs.append({"name": name, "rtol": rtol, "atol": atol})
            if self.is_whole:
                np.save(self.folder / f"expected{number}.npy", whole[name])
                continue
            points = sample_points(workload.buffers[name].shape, self._sampled_points, self._seed)
            affordable = affordable_points(workload, name, len(points))
            if affordable < len(points):  # some of each kind: they are sorted by place
                points = points[np.linspace(0, len(points) - 1, affordable).astype(np.int64)]
            np.save(self.folder / f"points{number}.npy", points)
            np.save(self.folder / f"expected{number}.npy", self._at(name, points))
        (self.folder / "reference.json").write_text(json.dumps({"outputs": outputs}), encoding="utf-8")
        return self

    def _at(self, output: str, points: NDArray[np.int64]) -> Array:
        return evaluate_points(self.task.workload, self.inputs, output, points)

    def settles_for(
        self, output: str, positions: list[int], found: list[float], accuracy: str = "reassociated"
    ) -> bool:
        """True if the values `found` at flat `positions` of an output are right by the evaluator, for their class."""
        shape = self.task.workload.buffers[output].shape
        points = np.stack(np.unravel_index(np.array(positions, dtype=np.int64), shape), axis=1)
        rtol, atol = tolerance(self.task.workload, output, accuracy)
        expected = self._at(output, points.astype(np.int64))
        return compare(output, np.array(found, dtype=np.float64), expected.astype(np.float64), rtol, atol) is None


def agreed_path(folder: Path, agreed: int, number: int) -> Path:
    """Where a worker leaves output number `number` of a candidate that passed the points; `agreed` counts those."""
    return folder / f"agreed{agreed}-{number}.npy"


def load_inputs(task: Task, folder: Path) -> dict[str, GuardedBuffer]:
    """The input buffers, filled; the workers' side."""
    found = {}
    for number, buffer in enumerate(task.workload.inputs):
        found[buffer.name] = GuardedBuffer(buffer)
        found[buffer.name].load(np.load(folder / f"input{number}.npy", allow_pickle=False))
    return found


def load_outputs(task: Task, folder: Path, agreed: int = 0) -> dict[str, OutputReference]:
    """What to compare each output with, the kept outputs of number `agreed` too; the workers' side."""
    listed = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["outputs"]
    found = {}
    for number, entry in enumerate(listed):
        points = folder / f"points{number}.npy"
        kept = agreed_path(folder, agreed, number)
        buffer = task.workload.buffers[entry["name"]]
        raw = np.load(kept, allow_pickle=False) if kept.exists() else None
        found[entry["name"]] = OutputReference(
            **entry,
            expected=np.load(folder / f"expected{number}.npy", allow_pickle=False),
            points=np.load(points, allow_pickle=False) if points.exists() else None,
            agreed=None if raw is None else raw.view(array_dtype(buffer.dtype)).reshape(buffer.shape),
        )
    return found
