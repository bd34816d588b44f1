"""TVM's RPC tracker, spoken to by plain sockets: which devices it has under a key, and asking it for one of them.

A message is JSON behind its length, four bytes, least significant first. Nothing waits longer than it is told to.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec.errors import MeasureError, SpecError
from ..spec.printable import check_printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAGIC: Final = 0x2F271
_REQUEST: Final = 4
_SUMMARY: Final = 6
_SUCCESS: Final = 0
_ANSWER_S: Final = 5.0
"""A tracker answers at once; only a request for a device may wait."""
_MAX_BYTES: Final = 16 * 2**20
_POLL_S: Final = 0.2


def _check_port(_: object, __: object, value: int) -> None:
    if type(value) is not int or not 0 < value < 2**16:
        raise SpecError(f"found port {value!r}; allowed: 1 to 65535", "rpc")


def _check_text(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not re.fullmatch(r"\S+", value):
        raise SpecError(f"found {value!r}; allowed: a word without spaces", f"rpc.{attribute.name}")


@attrs.frozen
class Remote:
    """Where candidates are measured: on devices that a TVM RPC tracker at `host`:`port` has under `key`.

    A device that does not come within `patience_s`, for it is busy or gone, is not waited for any longer.
    """

    host: str = attrs.field(validator=[_check_text, check_printable])
    port: int = attrs.field(validator=_check_port)
    key: str = attrs.field(validator=[_check_text, check_printable])
    patience_s: float = attrs.field(default=60.0, kw_only=True)

    @property
    def address(self) -> str:
        """``host:port`` of the tracker."""
        return f"{self.host}:{self.port}"


def remote_from_text(address: str, key: str) -> Remote:
    """The devices of `key` at the tracker ``HOST:PORT``; SpecError where it is no such text."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise SpecError(f"found {address!r}; allowed: HOST:PORT of a TVM RPC tracker, as 192.168.1.5:9190", "rpc")
    return Remote(host.strip("[]"), int(port), key)


@attrs.frozen(kw_only=True)
class Offer:
    """A server that the tracker keeps for us: it is connected to with the match key, within some seconds."""

    host: str
    port: int
    match_key: str

    @property
    def address(self) -> str:
        """``host:port`` of the server."""
        return f"{self.host}:{self.port}"


class TrackerError(MeasureError):
    """The tracker cannot be reached, or does not answer like one."""


def servers(remote: Remote) -> dict[str, tuple[str, ...]]:
    """The addresses of the servers that the tracker knows, busy or free, by their key; TrackerError."""
    with _connected(remote) as sock:
        _send(sock, [_SUMMARY])
        content = _answered(_receive(sock, remote), remote)
    found: dict[str, list[str]] = {}
    try:
        for server in content["server_info"]:
            host, port = server["addr"]
            found.setdefault(str(server["key"]).removeprefix("server:"), []).append(f"{host}:{int(port)}")
    except (KeyError, TypeError, ValueError) as error:
        raise TrackerError(f"{remote.address} speaks as no TVM tracker that is known: {error!r}") from error
    return {key: tuple(sorted(addresses)) for key, addresses in sorted(found.items())}


def request(remote: Remote, patience_s: float, is_wanted: Callable[[], bool] = lambda: True) -> Offer | None:
    """A server of the key, as soon as one is free; None after `patience_s`, or once it `is_wanted` no more.

    TrackerError where the tracker is not there.
    """
    end = time.monotonic() + patience_s
    with _connected(remote) as sock:
        _send(sock, [_REQUEST, remote.key, "", 1])
        sock.settimeout(_POLL_S)
        while True:
            try:
                sock.recv(1, socket.MSG_PEEK)  # what there is to read is read below
                break
            except TimeoutError:
                if time.monotonic() > end or not is_wanted():
                    return None
            except OSError as error:
                raise _gone(remote, error) from error
        sock.settimeout(_ANSWER_S)
        value = _answered(_receive(sock, remote), remote)
    try:
        host, port, match_key = value
        return Offer(host=str(host), port=int(port), match_key=str(match_key))
    except (TypeError, ValueError) as error:
        raise TrackerError(f"{remote.address} speaks as no TVM tracker that is known: it offers {value!r}") from error


def is_up(address: str) -> bool:
    """True where something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _connected(remote: Remote) -> Iterator[socket.socket]:
    try:
        sock = socket.create_connection((remote.host, remote.port), timeout=_ANSWER_S)
    except OSError as error:
        raise _gone(remote, error) from error
    with sock:
        try:
            sock.sendall(struct.pack("<i", _MAGIC))
            (magic,) = struct.unpack("<i", _exactly(sock, 4, remote))
        except OSError as error:
            raise _gone(remote, error) from error
        if magic != _MAGIC:
            raise TrackerError(f"what answers at {remote.address} is no TVM tracker")
        yield sock


def _send(sock: socket.socket, message: list[Any]) -> None:
    text = json.dumps(message).encode()
    with contextlib.suppress(OSError):  # who is gone does not answer either
        sock.sendall(struct.pack("<i", len(text)) + text)


def _receive(sock: socket.socket, remote: Remote) -> Any:
    (length,) = struct.unpack("<i", _exactly(sock, 4, remote))
    if not 0 <= length <= _MAX_BYTES:
        raise TrackerError(f"{remote.address} announces a message of {length} bytes; allowed: {_MAX_BYTES}")
    try:
        return json.loads(_exactly(sock, length, remote))
    except ValueError as error:
        raise TrackerError(f"what {remote.address} says is no JSON: {error}") from error


def _answered(answer: Any, remote: Remote) -> Any:
    if not isinstance(answer, list) or len(answer) != 2 or answer[0] != _SUCCESS:
        raise TrackerError(f"{remote.address} answers {str(answer)[:80]!r}, as no TVM tracker that is known")
    return answer[1]


def _exactly(sock: socket.socket, length: int, remote: Remote) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        try:
            part = sock.recv(length - len(parts))
        except OSError as error:
            raise _gone(remote, error) from error
        if not part:
            raise TrackerError(f"the tracker at {remote.address} closed the connection")
        parts += part
    return bytes(parts)


def _gone(remote: Remote, error: OSError) -> TrackerError:
    return TrackerError(f"no tracker answers at {remote.address}: {error.strerror or error}")
