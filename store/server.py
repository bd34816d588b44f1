"""A shared server as a layer: what colleagues and other machines measured, asked where the user's store knows nothing.

Entries, in hashes of the server; a slot is ``<task>/<machine>/<protocol>``, three keys of 64 digits:

| key | field | value |
|---|---|---|
| ``autosched:1:best:<slot>`` | the schedule's digest | a checksum, a line break, the text of a spec file |
| ``autosched:1:machines:<task>`` | ``<machine>/<protocol>`` | a checksum, a line break, the machine as JSON |

What comes from there is read as a stranger's file is: bounded, checked, every key reckoned anew, and a claim.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.claim import Machine, Protocol
from ..spec.convert import structure, unstructure
from ..spec.errors import SpecError
from ..spec.json_text import compact_json, read_json
from ..spec.rename import schedule_digest
from ..spec.spec_file import SpecFile, spec_from_text, text_from_spec
from .claims import claims_from_record, record_from_claim
from .keys import machine_key, protocol_key, slot, task_key
from .leaders import leader_from_stored, rank
from .link import WRITE_LIMIT_S, Link
from .recent import best_of
from .records import CLAIMED, MEASURED, Record, united
from .stored import record_from_stored, stored_from_record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import redis

    from ..spec.task import Task
    from .near import Near
    from .stored import StoredRecord

PREFIX: Final = "autosched:1:"
KEPT: Final = 8
"""Schedules that are kept of a task on a machine under a protocol: the fastest as claimed."""
MOST_SESSIONS: Final = 8
"""Claims that are kept of a schedule: the latest."""
MOST_READ: Final = 64
"""Fields of a hash that are looked at."""
MOST_BYTES: Final = 256 * 1024
"""Bytes of one value; a longer spec is not shared, and a longer value not read."""
_ATTEMPTS: Final = 3


class Server:
    """A server of Redis or Valkey. It is asked within short limits, and trouble is one warning and a miss."""

    name = "server"

    def __init__(self, url: str) -> None:
        self._link = Link(url)

    @classmethod
    @functools.lru_cache(maxsize=4)
    def of(cls, url: str) -> Server:
        """The layer of a URL, the same one each time: who was found dead is not asked again for every task."""
        return cls(url)

    @property
    def place(self) -> str:
        """Host and port, or the path of a socket; no user and no password."""
        return self._link.place

    def best(self, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str]) -> Record | None:
        key = f"{PREFIX}best:{slot(task, machine, protocol)}"
        found = self._link.ask(lambda client: _fields(client, key))
        stored = self._read(key, found or {}, task, machine, protocol)
        return best_of((record_from_stored(each, task, machine, protocol) for each in stored.values()), allow)

    def machines(self, task: Task, protocol: Protocol) -> Sequence[Machine]:
        key = f"{PREFIX}machines:{task_key(task)}"
        there: dict[str, Machine] = {}
        for field, value in (self._link.ask(lambda client: _fields(client, key)) or {}).items():
            name, _, how = field.partition("/")
            if how != protocol_key(protocol):
                continue
            try:
                machine = structure(read_json(_opened(key, field, value)), Machine)
                if machine_key(machine) != name:
                    raise SpecError("is another machine than its key says")
            except SpecError as error:
                self._link.warn(f"{key} {field}", f"a machine is passed over: {error}")
                continue
            there[name] = machine
        return tuple(there[name] for name in sorted(there))

    def near(self, task: Task, machine: Machine, most: int) -> Sequence[Near]:
        from .near import nearest

        others = self.machines(task, Protocol(threads=task.threads))
        return nearest(task, machine, ((task, other) for other in others), most)

    def status(self) -> str:
        found: Any = self._link.ask(lambda client: client.dbsize())
        return f"{found} entries" if found is not None else f"cannot be asked: {self._link.trouble or 'it refused'}"

    def put(self, record: Record) -> None:
        """Shares what was timed here, verified and in turn with the default; nothing else is worth telling."""
        sessions = [m for m in record.counted if m.origin == MEASURED and m.verified and m.baseline_s]
        if not sessions:
            return
        stored = stored_from_record(attrs.evolve(record, measurements=tuple(sessions), failed=None))
        self._link.ask(lambda client: self._share(client, record, stored), WRITE_LIMIT_S)

    # --- what is there ------------------------------------------------------------------------------------------------

    def _read(
        self, key: str, fields: Mapping[str, bytes], task: Task, machine: Machine, protocol: Protocol
    ) -> dict[str, StoredRecord]:
        """Digest → the record of each field that is what its key says; the others are logged once."""
        stored: dict[str, StoredRecord] = {}
        for digest, value in fields.items():
            try:
                stored[digest] = _stored(_opened(key, digest, value), digest, task, machine, protocol)
            except SpecError as error:
                self._link.warn(f"{key} {digest}", f"an entry is passed over: {error}")
        return stored

    def _share(self, client: redis.Redis, record: Record, new: StoredRecord) -> bool:
        """Unites a record with what is there, in one transaction; keeps the fastest and mends what is damaged."""
        task, machine, protocol = record.task, record.machine, record.protocol
        key = f"{PREFIX}best:{slot(task, machine, protocol)}"
        machines, place = f"{PREFIX}machines:{task_key(task)}", f"{machine_key(machine)}/{protocol_key(protocol)}"
        digest = schedule_digest(record.schedule, task.names)
        for _ in range(_ATTEMPTS):
            with client.pipeline() as pipe:
                pipe.watch(key)
                fields = _fields(pipe, key)
                stored = self._read(key, fields, task, machine, protocol)
                stored[digest] = _latest(united(stored[digest], new) if digest in stored else new)
                kept = _fastest(stored)
                text = _text(record_from_stored(stored[digest], task, machine, protocol))
                if digest not in kept or len(text) > MOST_BYTES:
                    return False
                pipe.multi()
                pipe.hset(key, digest, _sealed(key, digest, text))
                if gone := sorted(fields.keys() - kept):
                    pipe.hdel(key, *gone)
                pipe.hset(machines, place, _sealed(machines, place, compact_json(unstructure(machine))))
                if _executed(pipe):
                    return True
        return False


def _fields(client: redis.Redis, key: str) -> dict[str, bytes]:
    """The fields of a hash, `MOST_READ` at most; their values as they are."""
    found: Any = client.hgetall(key)
    fields = {field.decode("ascii", "replace"): value for field, value in found.items()}
    return {field: fields[field] for field in sorted(fields)[:MOST_READ]}


def _executed(pipe: Any) -> bool:
    """Ends a transaction; False where another has written there meanwhile."""
    from redis import WatchError

    try:
        pipe.execute()
    except WatchError:
        return False
    return True


def _stored(text: bytes, digest: str, task: Task, machine: Machine, protocol: Protocol) -> StoredRecord:
    """What a spec file's text claims of a task on a machine; SpecError where it is about something else."""
    spec = spec_from_text(text)
    if task_key(spec.task) != task_key(task):
        raise SpecError("is of another task than its key says")
    if schedule_digest(spec.schedule, spec.task.names) != digest:
        raise SpecError("has another schedule than its field says")
    there = (machine_key(machine), protocol_key(protocol))
    claims = [c for c in spec.claims if (machine_key(c.machine), protocol_key(c.protocol)) == there and c.samples_s]
    if not claims:
        raise SpecError("claims nothing of this machine")
    records = (stored_from_record(record_from_claim(spec.task, spec.schedule, claim)) for claim in claims)
    return functools.reduce(united, records)


def _latest(stored: StoredRecord) -> StoredRecord:
    """A record with its latest sessions alone."""
    return attrs.evolve(stored, measurements=stored.measurements[-MOST_SESSIONS:])


def _fastest(stored: Mapping[str, StoredRecord]) -> set[str]:
    """The digests of the schedules that are kept. All are claims to whoever reads them, so none is ranked as more."""
    leaders = [leader_from_stored(_claimed(record), digest) for digest, record in stored.items()]
    return {leader.digest for leader in sorted(filter(None, leaders), key=rank)[:KEPT]}


def _claimed(stored: StoredRecord) -> StoredRecord:
    return attrs.evolve(stored, measurements=tuple(attrs.evolve(m, origin=CLAIMED) for m in stored.measurements))


def _text(record: Record) -> str:
    return text_from_spec(SpecFile(task=record.task, schedule=record.schedule, claims=claims_from_record(record)))


def _sealed(key: str, field: str, text: str) -> str:
    return f"{_checksum(key, field, text.encode())}\n{text}"


def _opened(key: str, field: str, value: bytes) -> bytes:
    """The text in a value; SpecError where it is not what was put under this key and field."""
    if len(value) > MOST_BYTES:
        raise SpecError(f"{len(value)} bytes; at most {MOST_BYTES} are read")
    checksum, _, text = value.partition(b"\n")
    if checksum != _checksum(key, field, text).encode():
        raise SpecError("its checksum is wrong")
    return text


def _checksum(key: str, field: str, text: bytes) -> str:
    return hashlib.sha256(f"{key}\n{field}\n".encode() + text).hexdigest()
