"""The leaders of a slot, a task on a machine under a protocol: the best record of each accuracy class, kept to read."""

from __future__ import annotations

import functools
import statistics
from typing import TYPE_CHECKING

import attrs

from ..spec.claim import ACCURACY_CLASSES
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError
from ..spec.json_text import compact_json
from ..spec.versions import VERSION
from .entries import unseal
from .records import MEASURED, ORIGINS
from .stored import StoredRecord, read_stored, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..spec.json_text import Json


@attrs.frozen(kw_only=True)
class Leader:
    """The best record of an accuracy class, after what it is ranked by.

    A claim ranks behind whatever was timed here, one whose numbers were not looked at here behind one whose were, and
    what was only tried (`held` is False) behind what was timed in turn with the default: who leads has a baseline. Then
    the lower latency leads. Latencies with the same three digits are a tie, which goes to who did not lose to the
    default, then to the simpler schedule (`length` of its text), then to the digest: the same leader in whatever order
    records came.
    """

    accuracy: str
    claimed: bool
    held: bool
    latency_s: float
    length: int
    digest: str
    record: StoredRecord

    @property
    def lost(self) -> bool:
        """True where the default was faster when both were timed in turn."""
        in_turn = [m for m in self.record.counted if m.baseline_s]
        baseline_s = [sample for m in in_turn for sample in m.baseline_s]
        return bool(baseline_s) and self.latency_s > statistics.median(baseline_s)


def leader_from_stored(stored: StoredRecord, digest: str) -> Leader | None:
    """The record as a candidate for the lead; None where it failed or its output was never compared."""
    if stored.latency_s is None or not stored.verified:
        return None
    # Samples of a trial, taken alone, run a little faster than those taken in turn: they are not mixed.
    in_turn = [sample for m in stored.counted if m.baseline_s for sample in m.samples_s]
    latency_s = statistics.median(in_turn) if in_turn else stored.latency_s
    return Leader(
        accuracy=stored.accuracy,
        claimed=stored.origin != MEASURED,
        held=bool(in_turn),
        latency_s=latency_s,
        length=len(compact_json(unstructure(stored.schedule))),
        digest=digest,
        record=stored,
    )


def rank(leader: Leader) -> tuple[int, bool, float, bool, int, str]:
    """What leaders are ordered by, the best first."""
    digits = float(f"{leader.latency_s:.3g}")
    return ORIGINS.index(leader.record.origin), not leader.held, digits, leader.lost, leader.length, leader.digest


def leaders_of(candidates: Iterable[Leader | None]) -> tuple[Leader, ...]:
    """The leader of each accuracy class that has one, in the order of the classes."""
    best: dict[str, Leader] = {}
    for candidate in candidates:
        if candidate is not None:
            leader = best.get(candidate.accuracy)
            if leader is None or rank(candidate) < rank(leader):
                best[candidate.accuracy] = candidate
    return tuple(best[accuracy] for accuracy in ACCURACY_CLASSES if accuracy in best)


def entry_from_leaders(leaders: tuple[Leader, ...], later: tuple[Json, ...] = ()) -> Json:
    """The entry ``best/<slot>``: a list of leaders, the best first; `later` are those that only a later version reads.

    Those come first: a later version that finds two of one class takes the first and ranks both when it next writes.
    """
    return [*later, *(unstructure(leader) for leader in sorted(leaders, key=rank))]


def read_leaders(entry: Json) -> tuple[Leader, ...]:
    """Every leader of an entry ``best/<slot>`` that this version reads."""
    if type(entry) is not list:
        raise SpecError("not a list of leaders")
    return tuple(structure(leader, Leader) for leader in entry if not _is_later(leader))


def read_later_leaders(entry: Json) -> tuple[Json, ...]:
    """Every leader of an entry ``best/<slot>`` that was written in a later version of the language, as it stands."""
    return tuple(leader for leader in entry if _is_later(leader)) if type(entry) is list else ()


def _is_later(leader: Json) -> bool:
    return isinstance(leader, dict) and version_of(leader.get("record")) > VERSION


@functools.lru_cache(maxsize=256)
def read_best(allow: tuple[str, ...], key: str, sealed: str) -> tuple[StoredRecord | None] | None:
    """The best record of a sealed entry whose accuracy is allowed, in a tuple; the other leaders are not read further.

    None where a later version leads: which of the records that this one reads is the best, the entry does not say.
    The last ones are remembered by their text: reading is half of a lookup, and the same tasks are looked up again.
    """
    entry = unseal(key, sealed)
    if type(entry) is not list:
        raise SpecError("not a list of leaders")
    for number, leader in enumerate(entry):
        if type(leader) is not dict or "accuracy" not in leader or "record" not in leader:
            raise SpecError(f"leader {number} is not one")
        if _is_later(leader):
            return None
        if leader["accuracy"] in allow:
            return (read_stored(leader["record"]),)
    return (None,)
