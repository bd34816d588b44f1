"""The devices of a key, and which of them may be asked now: those that failed rest, two on one host take turns.

The tracker hands out whichever server is free, so one that is not wanted is left alone: some seconds later it offers
itself to the tracker again.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from ..spec.errors import MeasureError, SpecError
from . import tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .tracker import Offer, Remote

Answer = TypeVar("Answer")

FAULTS: Final = 2
"""So many times in a row a device may fail before it rests."""
REST_S: Final = 30.0
APPEAR_S: Final = 5.0
"""A device that was just started takes so long to be known to the tracker."""
RETURN_S: Final = 12.0
"""A server that was offered and not taken is back after 8 seconds."""
_PAUSE_S: Final = 0.2


class Fleet:
    """The devices of one key, as several threads use them."""

    def __init__(self, remote: Remote, *, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.remote = remote
        self._rest_s = rest_s
        self._clock = clock
        self._changed = threading.Condition()
        self._hosts: set[str] = set()
        self._faults: dict[str, int] = {}
        self._rest_until: dict[str, float] = {}
        self._last_fault = ""

    def check(self) -> None:
        """Raises SpecError where there is no such tracker, or it knows no device of the key."""
        end = self._clock() + min(APPEAR_S, self.remote.patience_s)
        while True:
            try:
                known = tracker.servers(self.remote)
            except tracker.TrackerError as error:
                raise SpecError(
                    f"{error}; start one there with: python -m tvm.exec.rpc_tracker --port {self.remote.port}", "rpc"
                ) from error
            if self.remote.key in known:
                return
            if self._clock() > end:
                others = ", ".join(sorted(known)) or "none at all"
                raise SpecError(
                    f"the tracker at {self.remote.address} knows no device of the key {self.remote.key!r}; its keys: "
                    f"{others}; start one with: python -m tvm.exec.rpc_server --tracker {self.remote.address} "
                    f"--key {self.remote.key}",
                    "rpc.key",
                )
            time.sleep(_PAUSE_S)

    def addresses(self) -> tuple[str, ...]:
        """The servers of the key that the tracker knows, busy or free."""
        return self._asked(lambda: tracker.servers(self.remote)).get(self.remote.key, ())

    def hosts(self) -> int:
        """On how many machines these are."""
        return len({address.rpartition(":")[0] for address in self.addresses()})

    def acquire(
        self,
        avoid: Collection[str] = (),
        patience_s: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Offer:
        """A device that is none of `avoid` and does not rest; its host is the caller's alone until `release`.

        NoDeviceError where none comes in time, or once it `is_wanted` no more.
        """
        patience_s = self.remote.patience_s if patience_s is None else patience_s
        end = self._clock() + patience_s
        while is_wanted() and (left_s := end - self._clock()) > 0:
            offer = self._asked(functools.partial(tracker.request, self.remote, left_s, is_wanted))
            if offer is None:
                break
            if offer.address in avoid or self._clock() < self._rest_until.get(offer.address, 0.0):
                time.sleep(_PAUSE_S)
            elif self._occupy(offer.host, end, is_wanted):
                return offer
        raise NoDeviceError(self._nobody(patience_s))

    def _occupy(self, host: str, end: float, is_wanted: Callable[[], bool]) -> bool:
        with self._changed:
            while host in self._hosts:
                if not is_wanted() or self._clock() > end:
                    return False
                self._changed.wait(_PAUSE_S)
            self._hosts.add(host)
            return True

    def release(self, offer: Offer) -> None:
        """Gives a device back."""
        with self._changed:
            self._hosts.discard(offer.host)
            self._changed.notify_all()

    def trust(self, address: str) -> None:
        """Notes that a device did right: earlier faults are forgotten."""
        self._faults[address] = 0

    def blame(self, address: str, fault: str) -> None:
        """Notes what a device did wrong; one that did so several times in a row rests."""
        with self._changed:
            self._last_fault = f"{address}: {fault}"
            self._faults[address] = self._faults.get(address, 0) + 1
            if self._faults[address] >= FAULTS:
                self._rest_until[address] = max(self._rest_until.get(address, 0.0), self._clock() + self._rest_s)

    def exclude(self, address: str) -> None:
        """A device that is never asked again."""
        self._rest_until[address] = math.inf

    def _nobody(self, patience_s: float) -> str:
        known: tuple[str, ...] = ()
        with contextlib.suppress(MeasureError):
            known = self.addresses()
        there = f"the tracker knows {', '.join(known)}" if known else "the tracker knows none any more"
        last = f"; the last fault was {self._last_fault}" if self._last_fault else ""
        return (
            f"no device of the key {self.remote.key!r} came from {self.remote.address} in "
            f"{patience_s:.0f} s: {there}{last}; what was measured is stored: tune again to go on"
        )

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """What the tracker answers; one that is being started again is given some seconds."""
        end = self._clock() + min(APPEAR_S, self.remote.patience_s)
        while True:
            try:
                return ask()
            except tracker.TrackerError as error:
                if self._clock() > end:
                    raise tracker.TrackerError(
                        f"{error}; what was measured is stored: start the tracker and tune again to go on"
                    ) from error
            time.sleep(_PAUSE_S)


class NoDeviceError(MeasureError):
    """No device came in time."""
