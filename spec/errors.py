"""The exceptions of autosched: each message says what was found, what is allowed and what to do."""

from __future__ import annotations


class AutoschedError(Exception):
    """Base of every error that autosched raises on purpose."""


class SpecError(AutoschedError, ValueError):
    """A record, text or file that does not say a valid workload, task or schedule.

    `path` names the place, as in ``schedule.nests[1].splits[0].factors``; it is empty where the whole input is meant.
    """

    def __init__(self, message: str, path: str = "") -> None:
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
