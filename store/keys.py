"""Keys: everything that changes which schedule is fastest, and nothing else.

A key is the sha256 of the JSON text of a record whose fields are documented here, names in canonical form: equal
requests from different programs share a key. What may change without making the stored knowledge worthless stands
beside the key, in the records: version of the spec language, TVM, LLVM, driver, kernel, dates.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.canonical import IDENTITY_VERSION
from ..spec.errors import SpecError
from ..spec.rename import schedule_digest
from ..spec.task import Option, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..spec.claim import Machine, Protocol
    from ..spec.schedule import Schedule

KEY_DIGITS: Final = 64
"""Length of every key: a sha256 in hexadecimal."""


@attrs.frozen(kw_only=True)
class Key:
    """What a stored answer is an answer to: the request, and the machine it was asked on."""

    identity_version: int
    """Version of the canonical form of workloads; raised when equal workloads get another identity than before."""
    workload: str
    """Identity of the workload: what is computed, whatever its buffers, axes and stages are called."""
    target_kind: str
    """TVM's target kind, as ``llvm``."""
    target_options: tuple[tuple[str, Option], ...]
    """The options of the target that the user set, sorted by name."""
    threads: int
    """Number of threads that the code may use."""
    constants: tuple[str, ...]
    """Canonical names of the inputs that keep their value from call to call, sorted."""
    ranges: tuple[tuple[str, int, int], ...]
    """Canonical name, least and greatest value of the integer inputs whose values are bounded, sorted by name."""
    machine: str
    """`machine_key` of the hardware."""

    @property
    def task(self) -> str:
        """The request's part as 64 hexadecimal digits: what `task_key` gives, the machine is not in it."""
        return _digest({name: getattr(self, name) for name in _TASK_FIELDS})


_TASK_FIELDS: Final = tuple(field.name for field in attrs.fields(Key) if field.name != "machine")


@attrs.frozen(kw_only=True)
class Difference:
    """A field in which two records differ, with the value of each as text."""

    field: str
    ours: str
    theirs: str


def key_from_task(task: Task, machine: Machine) -> Key:
    """The key of a task on a machine; SpecError where the task speaks of a parameter that its workload lacks."""
    return _key(task, machine_key(machine))


def task_key(task: Task) -> str:
    """The key under which all that is known of a task is kept: 64 hexadecimal digits, the machine is not in it."""
    return _key(task, "").task


@functools.lru_cache(maxsize=64)
def machine_key(machine: Machine) -> str:
    """The machine's key: all facts of its fingerprint."""
    return _digest(_plain(machine))


@functools.lru_cache(maxsize=64)
def protocol_key(protocol: Protocol) -> str:
    """The protocol's key: only times of equal protocols are ranked together."""
    return _digest(_plain(protocol))


def slot(task: Task, machine: Machine, protocol: Protocol) -> str:
    """Where the store keeps what can be ranked together: the keys of task, machine and protocol, ``/`` between them."""
    return f"{task_key(task)}/{machine_key(machine)}/{protocol_key(protocol)}"


def record_key(task: Task, machine: Machine, protocol: Protocol, schedule: Schedule) -> str:
    """The key of the record of one schedule, whose names are those of `task`."""
    return f"record/{slot(task, machine, protocol)}/{schedule_digest(schedule, task.names)}"


def differences(ours: Key | Machine | Protocol, theirs: Key | Machine | Protocol) -> tuple[Difference, ...]:
    """The fields in which two records of one class differ, in the class's order: why a lookup missed."""
    if type(ours) is not type(theirs):
        raise TypeError(f"a {type(ours).__name__} is compared with a {type(theirs).__name__}; give two of one class")
    pairs = [(f.name, getattr(ours, f.name), getattr(theirs, f.name)) for f in attrs.fields(type(ours))]
    return tuple(Difference(field=name, ours=_shown(a), theirs=_shown(b)) for name, a, b in pairs if a != b)


def _key(task: Task, machine: str) -> Key:
    options = sorted(((option.name, option.value) for option in task.target.options), key=lambda option: option[0])
    ranges = sorted((_parameter(task, r.buffer, "ranges"), int(r.low), int(r.high)) for r in task.ranges)
    _check_once([name for name, _ in options], "target.options")
    _check_once([name for name, _, _ in ranges], "ranges")
    return Key(
        identity_version=IDENTITY_VERSION,
        workload=task.identity,
        target_kind=task.target.kind,
        target_options=tuple(options),
        threads=int(task.threads),
        constants=tuple(sorted({_parameter(task, name, "constants") for name in task.constants})),
        ranges=tuple(ranges),
        machine=machine,
    )


# Equal records must have equal keys, but 1, 1.0 and True are equal in Python and different in JSON.
_CASTS: Final[Mapping[str, type[int | float | bool]]] = {"int": int, "float": float, "bool": bool}


def _plain(record: Machine | Protocol) -> dict[str, object]:
    """Field → value, numbers of exactly the type that the class declares."""
    plain: dict[str, object] = {}
    for field in attrs.fields(type(record)):
        value, cast = getattr(record, field.name), _CASTS.get(str(field.type))
        plain[field.name] = value if cast is None else cast(value)
    return plain


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _digest(content: Mapping[str, object]) -> str:
    """The sha256 of the JSON text with sorted names: this very text is what keys are made of, for good."""
    return hashlib.sha256(_ENCODER.encode(content).encode()).hexdigest()


def _parameter(task: Task, name: str, place: str) -> str:
    """The canonical name of a parameter."""
    if name not in task.workload.params:
        raise SpecError(f"{name!r} is not a parameter; parameters: {', '.join(task.workload.params)}", place)
    return task.names.buffers[name]


def _check_once(names: list[str], place: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{', '.join(twice)} is given twice; give one value", place)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_shown(item) for item in value) or "none"
    return str(value)
