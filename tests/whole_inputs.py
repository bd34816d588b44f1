"""Inputs whose sums of products are exact, so that results may be compared for equality."""

import numpy as np

from autosched.spec.workload import Workload


def whole_inputs(workload: Workload, seed: int) -> dict[str, np.ndarray]:
    """Small whole numbers for every input; drawn anew for each seed."""
    rng = np.random.default_rng(seed)
    return {b.name: rng.integers(-4, 5, b.shape).astype(b.dtype) for b in workload.inputs}
