"""Whether an algorithm computes what its task asks for: by the NumPy evaluator, at sampled points; nothing is built.

Measuring a schedule finds out as well. This is for schedules that come from elsewhere and may be served as claims
before anybody measures them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..spec.errors import SpecError
from ..spec.evaluate import evaluate_points, random_inputs
from ..spec.tolerance import tolerance
from .measurable import affordable_points, check_memory, check_reference
from .verify import compare, sample_points

if TYPE_CHECKING:
    from ..spec.algorithm import Algorithm
    from ..spec.task import Task

POINTS: Final = 64


def check_agrees(algorithm: Algorithm, task: Task, seed: int = 0) -> None:
    """Raises SpecError where an algorithm's results differ from those of `task` by more than its class allows.

    Also where that cannot be told: the computation is too large for this machine or for the evaluator.
    """
    workload, own = task.workload, algorithm.workload
    check_memory(workload)
    for each in (workload, own):
        check_reference(each)
    inputs = random_inputs(workload, seed, task.ranges)
    for output in workload.outputs:
        shape = workload.buffers[output].shape
        points = sample_points(shape, POINTS, seed)
        count = min(affordable_points(each, output, len(points)) for each in (workload, own))
        points = points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(np.int64)]
        wanted, found = (evaluate_points(each, inputs, output, points) for each in (workload, own))
        wrong = compare(output, found, wanted, *tolerance(workload, output, algorithm.accuracy))
        if wrong is not None:
            place = ", ".join(map(str, points[wrong.positions[0]]))
            raise SpecError(
                f"{algorithm.name!r} computes another result than the task: {output}[{place}] is {wrong.found[0]:.9g}, "
                f"the task's is {wrong.expected[0]:.9g}; leave it out, or mend it",
                "schedule.algorithm",
            )
