"""What a tuner reports while it works: records for whoever watches, a terminal or a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from ..spec.claim import Failure
from ..spec.schedule import Schedule


@attrs.frozen(kw_only=True)
class SearchStarted:
    """A search begins, or goes on: `known` of the `total` trials asked for were made before."""

    known: int
    total: int


@attrs.frozen(kw_only=True)
class TrialEnded:
    """Trial `number` of `total` has a time or a failure; `best_s` is the least median so far, if there is one."""

    number: int
    total: int
    schedule: Schedule
    outcome: float | Failure
    best_s: float | None


@attrs.frozen(kw_only=True)
class FinalistsTimed:
    """The best `count` schedules were timed in turn with the default: median seconds of the fastest and the default."""

    count: int
    best_s: float
    default_s: float | None


@attrs.frozen(kw_only=True)
class MachineDrifted:
    """The default takes `ratio` times as long as before: the machine has changed, for a moment or for longer.

    `again` trials may have been disturbed by that and are measured again.
    """

    ratio: float
    again: int


@attrs.frozen(kw_only=True)
class SearchEnded:
    """The search took `wall_s` seconds, `busy_s` of them with building and running; the rest is overhead."""

    wall_s: float
    busy_s: float


@attrs.frozen(kw_only=True)
class DeviceFailed:
    """A device at ``host:port`` broke a session, refused one, or was the only one to answer wrong."""

    address: str
    detail: str


Event: TypeAlias = SearchStarted | TrialEnded | FinalistsTimed | MachineDrifted | DeviceFailed | SearchEnded
Watch: TypeAlias = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Watches nothing."""
