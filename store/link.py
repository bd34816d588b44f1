"""The line to a shared server: short limits on time and size, and an outage that is told once and then spared.

Redis's own protocol, which Valkey speaks too, by the client of the extra ``autosched[server]``.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..spec.errors import StoreError, escaped, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

T = TypeVar("T")

logger = logging.getLogger("autosched.store")

LIMIT_S: Final = 0.5
"""Seconds that a question may take in all, names looked up and the connection made."""
WRITE_LIMIT_S: Final = 3.0
"""The same where something is written, which nobody waits for."""
RETRY_S: Final = 30.0
"""Seconds for which a server that failed is not asked again."""
MOST_BYTES: Final = 8 * 2**20
"""An answer that is longer ends the connection."""
_SCHEMES: Final = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}


class Link:
    """A server that may be slow, absent or hostile: whoever asks waits `LIMIT_S` at most, and gets None for trouble."""

    def __init__(self, url: str) -> None:
        self.place, plain = read_url(url)
        self._client = _client(plain, self.place)
        self._asked_again = 0.0
        self._reason = ""
        self._warned: set[str] = set()

    @property
    def trouble(self) -> str:
        """Why the server was given up for now; empty while it answers."""
        return self._reason

    def ask(self, question: Callable[[redis.Redis], T], limit_s: float = LIMIT_S) -> T | None:
        """What `question` gives; None, logged once for an outage, where the server does not answer in time."""
        import redis

        if time.monotonic() < self._asked_again:
            return None
        try:
            found = _in_time(lambda: question(self._client), limit_s)
        except redis.ResponseError as error:  # it works, and will not do this: no outage
            self.warn(str(error).partition(" ")[0], f"refused: {error}")
            return None
        except _UNREADABLE as error:
            self._give_up(f"{type(error).__name__}: {error}")
            return None
        except (redis.RedisError, OSError) as error:
            self._give_up(str(error))
            return None
        self._reason = ""
        return found

    def warn(self, what: str, message: str) -> None:
        """Logs something about the server, once for each `what`."""
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("server %s: %s", self.place, shortened(escaped(" ".join(message.split())), 300))

    def _give_up(self, reason: str) -> None:
        # What is still on its way would be taken for the answer to the next question.
        self._client.connection_pool.disconnect(inuse_connections=True)
        self._asked_again = time.monotonic() + RETRY_S
        told, self._reason = self._reason, reason or "no reason given"
        if not told:
            self._warned.discard("outage")
            self.warn("outage", f"{self._reason}; going on without it, it is asked again in {RETRY_S:.0f} s")


_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError, MemoryError)
"""What a client may come to where the bytes are not of its protocol."""


def _in_time(question: Callable[[], T], limit_s: float) -> T:
    """What a thread of its own makes of a question; TimeoutError where that takes longer.

    Looking up a name can hang for as long as the system likes, and bytes that come one by one pass any limit on one
    wait. Who is too late ends by itself: its connection is closed.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def answer() -> None:
        try:
            found.append(question())
        except BaseException as error:  # noqa: BLE001 # raised again below, in the thread that asks
            failed.append(error)

    thread = threading.Thread(target=answer, name="autosched-server", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer in {limit_s:g} s")
    return found[0]


def read_url(url: str) -> tuple[str, str]:
    """Where a URL leads, for people and without its password, and the URL for the client; StoreError for a bad one."""
    from urllib.parse import urlsplit  # on use: who names no server need not pay for it

    sample = "redis://HOST:6379/0, rediss://USER:PASSWORD@HOST:6379/0 (TLS) or unix:///PATH"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise StoreError(f"server: the URL cannot be read: {error}; write {sample}") from error
    shown = re.sub(r"//[^/]*@", "//", url)
    if parts.scheme not in _SCHEMES or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
        raise StoreError(f"server {shown!r} is no URL of a server; write {sample}")
    if parts.query or parts.fragment:
        raise StoreError(f"server {shown!r} has options; leave them out: limits are not for a URL to set")
    where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{port or 6379}"
    return where, f"{_SCHEMES[parts.scheme]}{url[len(parts.scheme) :]}"


def _client(url: str, place: str) -> redis.Redis:
    """The client of a URL, which does not connect yet."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.connection import Connection, ConnectionPool, parse_url
        from redis.retry import Retry
    except ImportError as error:
        raise StoreError(f"server {place}: its client is not installed; pip install 'autosched[server]'") from error
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise StoreError(f"server {place}: {error}") from error
    kind = _bounded(options.pop("connection_class", Connection))
    limits = {"socket_timeout": WRITE_LIMIT_S, "socket_connect_timeout": LIMIT_S, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=ConnectionPool(kind, **options, **limits, protocol=2))


@functools.cache
def _bounded(kind: type[Any]) -> type[Any]:
    """A kind of connection whose answers are limited in size."""
    return type(f"Bounded{kind.__name__}", (kind,), {"_connect": lambda self: _BoundedSocket(kind._connect(self))})  # noqa: SLF001 # the one place of the client where its socket is made


class _BoundedSocket:
    """A socket that reads `MOST_BYTES` at most for what was sent last; it is the other's otherwise."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sendall(self, *data: Any) -> Any:
        self._read = 0
        return self._inner.sendall(*data)

    def recv(self, *size: Any) -> bytes:
        data: bytes = self._inner.recv(*size)
        self._count(len(data))
        return data

    def recv_into(self, *buffer: Any) -> int:
        count: int = self._inner.recv_into(*buffer)
        self._count(count)
        return count

    def _count(self, more: int) -> None:
        self._read += more
        if self._read > MOST_BYTES:
            raise OSError(f"an answer of more than {MOST_BYTES} bytes")


def server_url(url: str | None = None) -> str | None:
    """The URL of the shared server: `url`, else AUTOSCHED_SERVER; None, or an empty text, stands for none."""
    return (os.environ.get("AUTOSCHED_SERVER") if url is None else url) or None
