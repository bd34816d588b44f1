"""Who is to blame when a trial on a device fails: the device, the candidate, or nobody yet.

A session that breaks may be the fault of either, so the trial is made again elsewhere, a bounded number of times. A
wrong answer counts if a second device gives it too, where there is one. A device that opens no session, or is not
there, says nothing of the candidate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..spec.claim import Failure
from ..spec.errors import MeasureError
from .fleet import NoDeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

BREAKS: Final = 2
"""A candidate whose sessions break so often on servers that are still there is a failure."""
LOSSES: Final = 3
"""So is one at whose sessions so many broke in all, those included whose server went with them."""
REFUSALS: Final = 6
"""After so many sessions that could not be opened, no device is thought to be of use."""
_MAY_BE_THE_DEVICE: Final = ("crash", "run_timeout")

Samples: TypeAlias = tuple[float, ...]
Results: TypeAlias = "dict[int, Samples | Failure]"
"""What came of some schedules, by their numbers."""


@attrs.frozen(kw_only=True)
class Ran:
    """One attempt: what came of it, and on which device; `refused` says why that gave no session.

    Without an address no device had a part in it; one that `is_other` than asked for is not asked again.
    """

    results: Results
    address: str | None = None
    refused: str = ""
    is_other: bool = False

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed."""
        return tuple(found for found in self.results.values() if isinstance(found, Failure))

    @property
    def broke(self) -> Failure | None:
        """How the session broke; None where it did not, or there was none."""
        if self.address is None:
            return None
        return next((failure for failure in self.failures if failure.kind in _MAY_BE_THE_DEVICE), None)

    @property
    def wrong(self) -> Failure | None:
        """The wrong answer; None where all that was answered was right."""
        return next((failure for failure in self.failures if failure.kind == "wrong_answer"), None)

    @property
    def fault(self) -> str:
        """What the device is suspected of; empty where of nothing."""
        return self.refused or (self.broke.detail if self.broke is not None else "")


def retried(
    numbers: Collection[int],
    attempt: Callable[[frozenset[str]], Ran],
    addresses: Callable[[], Collection[str]],
    blame: Callable[[str, str], None],
    is_up: Callable[[str], bool],
) -> Results:
    """What comes of the schedules with these `numbers`, attempted until the devices cannot be to blame.

    `attempt` is told which devices had their chance; `addresses` are those that the tracker knows; `blame` is told of a
    device that alone gave a wrong answer; `is_up` says whether anything still listens at an address.
    MeasureError where no device is of use.
    """
    broken: list[tuple[str, Failure]] = []
    stayed = (
        0  # a plain server whose process for a session crashed listens on, and takes no other; a killed one is gone
    )
    wrong: tuple[str, Failure, Results] | None = None
    refused = 0
    avoid: frozenset[str] = frozenset()
    while True:
        try:
            ran = attempt(avoid)
        except NoDeviceError:
            if wrong is not None:
                return wrong[2]
            if not stayed:
                raise
            return dict.fromkeys(numbers, _failure_of(broken, "; no device was free afterwards"))
        if ran.address is None:
            return ran.results
        if ran.refused:
            refused += not ran.is_other
            if refused >= REFUSALS:
                raise MeasureError(f"no device could be used, tried {refused} times: {ran.address}: {ran.refused}")
        elif ran.broke is not None:
            broken.append((ran.address, ran.broke))
            stayed += is_up(ran.address)
            if stayed >= BREAKS or len(broken) >= LOSSES:
                return dict.fromkeys(numbers, _failure_of(broken))
            avoid |= {ran.address}
        elif wrong is None and ran.wrong is not None and set(addresses()) - {ran.address}:
            wrong = ran.address, ran.wrong, ran.results
            avoid = frozenset({ran.address})
        else:
            if wrong is not None and ran.wrong is None:
                blame(wrong[0], f"it alone gave a wrong answer: {wrong[1].detail}")
            return ran.results


def _failure_of(broken: Sequence[tuple[str, Failure]], more: str = "") -> Failure:
    """The failure of a candidate whose sessions broke, each on a device that is named."""
    said = "; ".join(f"{address}: {failure.detail}" for address, failure in broken)
    count = f"{len(broken)} session{'s' * (len(broken) > 1)} broke"
    return Failure(kind=broken[-1][1].kind, detail=f"{count}: {said}{more}")
