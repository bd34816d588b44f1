"""The exceptions of autosched: each message says what was found, what is allowed and what to do."""

from __future__ import annotations

import re
from typing import Final

UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What does not belong on a terminal: control characters, line separators, overrides of direction (Unicode Standard
Annex 9, section 2), halves of surrogate pairs."""

MAX_MESSAGE: Final = 2000
"""Characters of a message: a list of thousands of names tells nobody anything."""


def escaped(text: str) -> str:
    r"""`text` with such characters as escapes, ``\x1b`` and ``\u202e``: how text from elsewhere is shown to people."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str, most: int) -> str:
    """`text` in at most so many characters: what is longer ends in three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


class AutoschedError(Exception):
    """Base of every error that autosched raises on purpose."""


class SpecError(AutoschedError, ValueError):
    """A record, text or file that does not say a valid workload, task or schedule.

    `path` names the place, as in ``schedule.nests[1].splits[0].factors``; it is empty where the whole input is meant.
    Both may quote a stranger's text: what does not belong on a terminal is escaped in them, and they have an end.
    """

    def __init__(self, message: str, path: str = "") -> None:
        message, path = shortened(escaped(message), MAX_MESSAGE), shortened(escaped(path), MAX_MESSAGE)
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def under(self, prefix: str) -> SpecError:
        """The same error, seen from a record that holds the faulty one at `prefix`."""
        if not self.path:
            return SpecError(self.message, prefix)
        joint = "" if self.path.startswith("[") else "."
        return SpecError(self.message, f"{prefix}{joint}{self.path}")


class LoweringError(AutoschedError):
    """A computation that cannot be read into a workload, or a schedule that cannot be lowered."""


class MeasureError(AutoschedError):
    """The measuring harness itself failed; a candidate that fails is a `Failure` value instead."""


class StoreError(AutoschedError):
    """A store that cannot be opened, read or written."""
