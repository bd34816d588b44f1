"""Work that goes on beside its caller's, in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_background(run: Callable[[], T]) -> Future[T]:
    """What `run`, which begins now, comes to. Nobody has to wait for it, as for an executor's at the process' end."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(run())
        except BaseException as error:  # noqa: BLE001 # raised again for who asks for the result
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
