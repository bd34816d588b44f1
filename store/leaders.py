"""The leaders of a slot, a task on a machine under a protocol: the best record of each accuracy class, kept to read."""

from __future__ import annotations

import contextlib
import functools
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.canonical import names_text
from ..spec.claim import ACCURACY_CLASSES
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError
from ..spec.json_text import compact_json
from ..spec.rename import schedule_from_canonical
from ..spec.versions import VERSION
from .entries import unseal
from .records import MEASURED, ORIGINS
from .stored import StoredRecord, read_stored, record_from_stored, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..spec.canonical import Names
    from ..spec.claim import Machine, Protocol
    from ..spec.json_text import Json
    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .records import Record

_NAMED: Final = "named"
"""The key of a leader's schedule in the names of the task as the store has it, after these names."""


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


def entry_from_leaders(leaders: tuple[Leader, ...], later: tuple[Json, ...] = (), names: Names | None = None) -> Json:
    """The entry ``best/<slot>``: a list of leaders, the best first; `later` are those that only a later version reads.

    Those come first: a later version that finds two of one class takes the first and ranks both when it next writes.
    With the `names` of a workload, each leader's schedule stands there in these too, as `_NAMED`: who asks with them,
    as most do who put it there, need not have it renamed, which takes longer than all else of a lookup.
    """
    return [*later, *(_named(leader, names) for leader in sorted(leaders, key=rank))]


def _named(leader: Leader, names: Names | None) -> Json:
    entry = unstructure(leader)
    assert isinstance(entry, dict)
    if names is not None:
        # One that does not fit its task stays without: who asks for it is told, who puts another is not kept from it.
        with contextlib.suppress(SpecError):
            schedule = schedule_from_canonical(leader.record.schedule, names)
            entry[_NAMED] = {"names": names.plain, "schedule": unstructure(schedule)}
    return entry


def is_named_well(entry: Json, names: Names) -> bool:
    """True where what stands beside the leaders of an entry in these names is the same as in canonical ones.

    What stands there in other names, those that the task had before it learned its operator, serves nobody else.
    """
    plain = names.plain
    for leader in entry if type(entry) is list else []:
        named = leader.get(_NAMED) if type(leader) is dict and not _is_later(leader) else None
        if type(named) is dict and named.get("names") == plain and leader != _named(_leader(leader), names):
            return False
    return True


def read_leaders(entry: Json) -> tuple[Leader, ...]:
    """Every leader of an entry ``best/<slot>`` that this version reads."""
    if type(entry) is not list:
        raise SpecError("not a list of leaders")
    return tuple(_leader(leader) for leader in entry if not _is_later(leader))


def _leader(entry: Json) -> Leader:
    if type(entry) is dict and _NAMED in entry:
        entry = {key: value for key, value in entry.items() if key != _NAMED}
    return structure(entry, Leader)


def read_later_leaders(entry: Json) -> tuple[Json, ...]:
    """Every leader of an entry ``best/<slot>`` that was written in a later version of the language, as it stands."""
    return tuple(leader for leader in entry if _is_later(leader)) if type(entry) is list else ()


def _is_later(leader: Json) -> bool:
    return isinstance(leader, dict) and version_of(leader.get("record")) > VERSION


def _check_stages(schedule: Schedule, names: Json) -> None:
    """Raises SpecError where a schedule is about stages that are neither of its workload nor made by itself."""
    if schedule.algorithm is not None or not isinstance(names, dict) or not isinstance(names["stages"], dict):
        return
    made = (getattr(staging, "as_", "") for staging in schedule.stagings)
    known = {*names["stages"], *made}
    strange = [part.stage for part in (*schedule.stagings, *schedule.nests) if part.stage not in known]
    if strange:
        raise SpecError(f"a leader's schedule names stage {strange[0]!r}, which its task does not have")


def best_record(
    asked: tuple[Task, Machine, Protocol], allow: tuple[str, ...], key: str, sealed: str
) -> tuple[Record | None] | None:
    """The best record of a sealed entry whose accuracy is allowed, in the names of the asked task, in a tuple.

    None where a later version leads: which of the records that this one reads is the best, the entry does not say.
    """
    found = read_best(allow, key, sealed, asked[0].names.text)
    if found is None:
        return None
    if found.stored is None:
        return (None,)
    schedule = found.stored.schedule if found.is_named else None
    return (record_from_stored(found.stored, *asked, schedule),)


@attrs.frozen(kw_only=True)
class Served:
    """The record that an entry serves, None where it has none of an allowed accuracy.

    `is_named`: its schedule is in the names that were asked for, not in canonical ones.
    """

    stored: StoredRecord | None
    is_named: bool = False


@functools.lru_cache(maxsize=256)
def read_best(allow: tuple[str, ...], key: str, sealed: str, names: str) -> Served | None:
    """What `best_record` serves to who asks with `names`, a text; the leaders behind it are not read further.

    The last ones are remembered by their text: reading is half of a lookup, and the same tasks are looked up again.
    What else the text says is forgotten at once, so that the next one is read into memory that is still in the cache.
    """
    entry = unseal(key, sealed, quick=True)
    if type(entry) is not list:
        raise SpecError("not a list of leaders")
    for number, leader in enumerate(entry):
        if type(leader) is not dict or "accuracy" not in leader or "record" not in leader:
            raise SpecError(f"leader {number} is not one")
        if _is_later(leader):
            return None
        if leader["accuracy"] in allow:
            return _served(leader, names)
    return Served(stored=None)


def _served(leader: dict[str, Json], names: str) -> Served:
    """A leader's record, with the schedule that stands beside it where that is in `names`."""
    record, named = leader["record"], leader.get(_NAMED)
    if type(named) is not dict or names_text(named.get("names")) != names:
        return Served(stored=read_stored(record))
    if type(record) is not dict or "schedule" not in named:
        raise SpecError("a leader without its record, or without its schedule in other names")
    stored = read_stored({**record, "schedule": named["schedule"]})
    _check_stages(stored.schedule, named["names"])
    return Served(stored=stored, is_named=True)
