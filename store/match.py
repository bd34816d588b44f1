"""How near another machine is to this one: five labels, from the very same hardware to any at all.

| label | what is the same |
|---|---|
| exact | all facts of the fingerprint |
| model | architecture, vendor, family, model and instructions; cores and caches may differ |
| caches | architecture, instructions and cache sizes |
| isa | architecture and instructions |
| portable | nothing: a schedule is checked, lowered and right on any machine, but may be slow |

What is not known of a machine (0, or no instruction flags) is not the same as anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..spec.errors import SpecError
from .keys import differences, machine_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..spec.claim import Machine

EXACT: Final = "exact"
MATCHES: Final = (EXACT, "model", "caches", "isa", "portable")
"""The labels, nearest first. A time counts as measured here only where it is "exact"."""

_SAME: Final = {
    "model": ("arch", "vendor", "family", "model", "isa"),
    "caches": ("arch", "isa", "l1d_bytes", "l2_bytes", "l3_bytes"),
    "isa": ("arch", "isa"),
    "portable": (),
}
_MAY_BE_ZERO: Final = ("family", "model", "l3_bytes")
"""Zero is a value of these, too: many chips have no third cache."""


def match_of(ours: Machine, theirs: Machine) -> str:
    """The first of `MATCHES` that holds between two machines."""
    if ours == theirs:
        return EXACT
    return next(label for label, facts in _SAME.items() if _agree(ours, theirs, facts))


def check_match(label: str) -> None:
    """Raises SpecError unless `label` is one of `MATCHES`."""
    if label not in MATCHES:
        raise SpecError(f"unknown match {label!r}; allowed: {', '.join(MATCHES)}", "match")


def nearest_first(ours: Machine, others: Iterable[Machine], loosest: str = MATCHES[-1]) -> list[tuple[str, Machine]]:
    """The other machines down to the label `loosest`, each with its label, nearest first.

    Machines of one label are ordered by how many facts differ, then by key.
    """
    labelled = [(match_of(ours, machine), machine) for machine in others]
    within = MATCHES[: MATCHES.index(loosest) + 1]
    kept = [(label, machine) for label, machine in labelled if label in within and label != EXACT]
    return sorted(kept, key=lambda e: (MATCHES.index(e[0]), len(differences(ours, e[1])), machine_key(e[1])))


def _agree(ours: Machine, theirs: Machine, facts: tuple[str, ...]) -> bool:
    if "model" in facts and not (ours.family or ours.model):
        return False
    pairs = [(name, getattr(ours, name), getattr(theirs, name)) for name in facts]
    return all(a == b and (a or name in _MAY_BE_ZERO) for name, a, b in pairs)
