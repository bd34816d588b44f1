"""Looking again at what a store holds: at claims, and at what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .search.recheck import TOLERANCE
from .search.recheck import recheck as recheck_task
from .search.verify_claims import verify_claims
from .spec.errors import SpecError
from .tuning import StoreLike, open_store
from .ways import algorithms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .search.recheck import Rechecked
    from .search.verify_claims import Compared
    from .spec.task import Task


def recheck(
    store: StoreLike = None, *, ops: Collection[str] = (), tolerance: float = TOLERANCE
) -> tuple[Rechecked, ...]:
    """Times what a store serves here in turn with the default, of all tasks or of those of the operators `ops`.

    What got slower than others that are known goes into quarantine: kept, not served, until a later recheck or search
    finds it as fast again. Tasks that cannot be measured here are left out.
    """
    return tuple(rechecks(store, ops, tolerance, left_out))


def verify(store: StoreLike = None, *, ops: Collection[str] = ()) -> tuple[Compared, ...]:
    """Compares the numbers of what others claim with the reference here, without timing; right ones are "verified"."""
    return tuple(verified(store, ops, left_out))


def left_out(_: Task, __: SpecError) -> None:
    """Says nothing of a task that cannot be measured here."""


def rechecks(
    store: StoreLike, ops: Collection[str], tolerance: float, refused: Callable[[Task, SpecError], None]
) -> Iterator[Rechecked]:
    """As `recheck`, one by one; `refused` is told of tasks that cannot be measured here."""
    if not 0 < tolerance < 1:
        raise SpecError(f"found {tolerance!r}; allowed: a part between 0 and 1", "tolerance")
    opened = open_store(store)
    for task in opened.tasks_of(ops):
        try:
            yield from recheck_task(task, opened, tolerance=tolerance, algorithms=algorithms_of(task))
        except SpecError as error:
            refused(task, error)


def verified(store: StoreLike, ops: Collection[str], refused: Callable[[Task, SpecError], None]) -> Iterator[Compared]:
    """As `verify`, one by one."""
    opened = open_store(store)
    for task in opened.tasks_of(ops):
        try:
            yield from verify_claims(task, opened)
        except SpecError as error:
            refused(task, error)
