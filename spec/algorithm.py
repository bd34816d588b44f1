"""The algorithm of a schedule: another workload for the same task, computed in the place of the task's own.

A matrix product of three factors may be taken in two steps, a transposed convolution by its phases, a convolution of
small kernels by Winograd's. The task's workload stays what results are compared with, counted by and stored under.
"""

from __future__ import annotations

from typing import Final

import attrs

from .errors import SpecError
from .printable import check_printable
from .workload import Workload

ALGORITHM_ACCURACY: Final = ("reassociated", "winograd")
"""The accuracy classes of algorithms: sums in another order; or rounding that grows, by as much as `tolerance` says."""


@attrs.frozen(kw_only=True)
class Algorithm:
    """A workload with the task's parameters (order, names, shapes, dtypes) that computes what the task asks for.

    before: ``D[i, j] += A[i, k, l] * B[k, j] * C[l, j]``
    after: ``T[i, k, j] += A[i, k, l] * C[l, j]``, ``D[i, j] += T[i, k, j] * B[k, j]``

    `name` is for people. `accuracy` is the loosest class of its results; whoever measures the schedule holds them to
    it. That it computes the same is nothing a check can see: outputs are compared, as those of every schedule.
    """

    name: str = attrs.field(validator=check_printable)
    accuracy: str = "reassociated"
    workload: Workload

    def __attrs_post_init__(self) -> None:
        if self.accuracy not in ALGORITHM_ACCURACY:
            allowed = ", ".join(ALGORITHM_ACCURACY)
            raise SpecError(f"found {self.accuracy!r}; allowed for an algorithm: {allowed}", "accuracy")

    @property
    def is_loose(self) -> bool:
        """True where results round more than the task's own may: it is for those who ask for it."""
        return self.accuracy != ALGORITHM_ACCURACY[0]
