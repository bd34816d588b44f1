"""Work that goes on beside its caller's, in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Background(Generic[T]):
    """A function that runs from now on; nobody has to wait for it, not even the end of the process."""

    def __init__(self, run: Callable[[], T]) -> None:
        self._run = run
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._found.append(self._run())
        except BaseException as error:  # noqa: BLE001 # told to who asks for the result
            self._error = error

    def result(self) -> T:
        """What it returns, once it does; what it raises is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]
