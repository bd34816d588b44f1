"""Messages between the tuner and its workers: JSON with a length before it, over a socket pair.

A worker that a candidate has damaged may say anything, so nothing is unpickled and every message is bounded.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..spec.errors import AutoschedError, MeasureError

if TYPE_CHECKING:
    from collections.abc import Sequence

Message: TypeAlias = dict[str, Any]

MAX_BYTES: Final = 64 * 2**20
STALL_S: Final = 10.0
"""A message that has begun to arrive must be whole after this long."""


class WireError(AutoschedError):
    """The other side is gone, or speaks nonsense."""


class BrokenSessionError(MeasureError):
    """The device on which a candidate ran is not there any more: gone, killed, or out of time."""


class Channel:
    """One end of a connection; `fileno` makes it selectable."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Closes this end; the other reads an end of file."""
        self._socket.close()

    def detach(self) -> int:
        """The open file of this end, which the caller closes from now on."""
        return self._socket.detach()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Sends one message, and copies of open files with it; WireError where nobody listens."""
        text = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
        framed = struct.pack(">I", len(text)) + text
        try:
            if fds:
                sent = socket.send_fds(self._socket, [framed[:4]], list(fds))
                framed = framed[sent:]
            self._socket.sendall(framed)
        except OSError as error:
            raise WireError(f"the other process is gone: {error.strerror or error}") from error

    def receive(self) -> Message:
        """Waits for the next message; WireError at the end of file and for anything that is not a message."""
        return self._message(self._exactly(4))

    def receive_fds(self, count: int) -> tuple[Message, list[int]]:
        """As `receive`, with the `count` open files that come with the message."""
        try:
            head, fds, _, _ = socket.recv_fds(self._socket, 4, count)
        except OSError as error:
            raise WireError(f"the other process is gone: {error.strerror or error}") from error
        try:
            message = self._message(head + self._exactly(4 - len(head)))
        except WireError:
            for fd in fds:
                os.close(fd)
            raise
        return message, fds

    def _message(self, head: bytes) -> Message:
        (length,) = struct.unpack(">I", head)
        if length > MAX_BYTES:
            raise WireError(f"a message of {length} bytes; allowed: {MAX_BYTES}")
        try:
            message = json.loads(self._exactly(length))
        except ValueError as error:
            raise WireError(f"what arrived is not a message: {error}") from error
        if not isinstance(message, dict):
            raise WireError(f"what arrived is a {type(message).__name__}, not a message")
        return message

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._socket.recv(length - len(parts))
            except OSError as error:
                raise WireError(f"the other process is gone: {error.strerror or error}") from error
            if not part:
                raise WireError("the other process closed the connection")
            parts += part
        return bytes(parts)


def channel_pair() -> tuple[Channel, Channel]:
    """Two connected ends; neither is inherited by programs started later."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)


def channel_from_fd(fd: int, stall_s: float | None = None) -> Channel:
    """A channel over an open socket; with `stall_s`, a receive that waits longer is a WireError."""
    sock = socket.socket(fileno=fd)
    sock.settimeout(stall_s)
    return Channel(sock)
