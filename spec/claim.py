"""Claims: who measured what. Records only; nothing here reads hardware or clocks."""

from __future__ import annotations

import re
from typing import Final

import attrs

from .errors import SpecError
from .printable import check_each_printable, check_printable

FAILURE_KINDS: Final = (
    "constraint", "build_error", "build_timeout", "run_timeout", "crash", "out_of_memory", "wrong_answer", "noise",
)  # fmt: skip
ACCURACY_CLASSES: Final = ("exact", "reassociated", "winograd", "reduced")


_DATE: Final = re.compile(
    r"(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?\Z"
)


def _date(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    check_date(value, attribute.name)


def check_date(value: str, place: str) -> None:
    """Raises SpecError unless the text at `place` is an ISO 8601 date, with or without a time, or empty."""
    if not _DATE.match(value):
        raise SpecError(f"{value[:40]!r} is no date; write it as 2026-11-24T15:00:00Z, or leave it out", place)


@attrs.frozen(kw_only=True)
class Machine:
    """A hardware fingerprint, from the hardware itself; no hostname, no user, nothing a compiler made up.

    `isa` holds the sorted flags that change generated code; cache sizes are in bytes per instance, 0 where unknown.
    """

    arch: str = attrs.field(validator=check_printable)
    vendor: str = attrs.field(validator=check_printable)
    family: int
    model: int
    isa: tuple[str, ...] = attrs.field(validator=check_each_printable)
    cores: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int


@attrs.frozen(kw_only=True)
class Protocol:
    """How a time was measured; times of different protocols are never ranked together.

    One sample is the mean time of `number` calls in a row, at least `min_sample_s` long; `repeats` samples are taken.
    """

    version: int = 1
    warmup: int = 1
    number: int = 1
    repeats: int = 7
    min_sample_s: float = 0.005
    flush_cache: bool = False
    pinned: bool = True
    threads: int
    statistic: str = attrs.field(default="median", validator=check_printable)


@attrs.frozen(kw_only=True)
class Failure:
    """A candidate that could not be built, run, finished or agreed with: a value, not an exception."""

    kind: str
    detail: str

    def __attrs_post_init__(self) -> None:
        if self.kind not in FAILURE_KINDS:
            raise SpecError(f"unknown failure {self.kind!r}; allowed: {', '.join(FAILURE_KINDS)}", "kind")


@attrs.frozen(kw_only=True)
class Tool:
    """A program that took part: ``apache-tvm`` ``0.27.0.post1``."""

    name: str = attrs.field(validator=check_printable)
    version: str = attrs.field(validator=check_printable)


_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


def _digests(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for position, text in enumerate(value):
        if not _DIGEST.match(text):
            raise SpecError(
                f"{text[:40]!r} is no digest; allowed: 64 digits of 0-9a-f", f"{attribute.name}[{position}]"
            )


@attrs.frozen(kw_only=True)
class Effort:
    """How much search stands behind a schedule.

    `started_from` holds the digests of the schedules that others had found and the search began with.
    """

    strategy: str = attrs.field(validator=check_printable)
    trials: int
    seconds: float
    seed: int
    exhausted: bool = False
    started_from: tuple[str, ...] = attrs.field(default=(), validator=_digests, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Claim:
    """A measured time of one schedule on one machine: `samples_s`, beside `baseline_s` of the default schedule."""

    machine: Machine
    protocol: Protocol
    samples_s: tuple[float, ...]
    baseline_s: tuple[float, ...] = ()
    verified: bool
    accuracy: str = "reassociated"
    tools: tuple[Tool, ...] = ()
    effort: Effort | None = None
    date: str = attrs.field(default="", validator=_date)

    def __attrs_post_init__(self) -> None:
        if self.accuracy not in ACCURACY_CLASSES:
            raise SpecError(f"unknown accuracy {self.accuracy!r}; allowed: {', '.join(ACCURACY_CLASSES)}", "accuracy")
        for place in ("samples_s", "baseline_s"):
            if any(not 0 < sample < 1e9 for sample in getattr(self, place)):
                raise SpecError("a sample is not a time in seconds; allowed: greater than 0", place)
